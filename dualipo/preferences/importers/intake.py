"""Takes the clips of a data set into a label set: finds, checks, hashes and copies them.

Nothing in a data set is trusted: a path is resolved and must stay inside the root, links included
(fault 50); an address is refused and never fetched (fault 51); a clip's header is checked against
the limits of `store/containers.py` before anything is copied (fault 22), and then every clip is
decoded once, so that a run never meets one that cannot be (fault 19). An image becomes a clip of
one frame, images in order a clip of so many.
"""

import hashlib
import io
import os
import re
import shutil
import uuid
from collections.abc import Collection
from pathlib import Path

import numpy as np

from dualipo.errors import MediaError
from dualipo.preferences.importers import images
from dualipo.preferences.importers.row import Footage, Unfit
from dualipo.store import atomic, file_kinds
from dualipo.store.clips import ClipStore, Shown, encode_clip, examine, probe
from dualipo.store.containers import LIMITS, Header

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|(?:data|file|concat|subfile|crypto|pipe):|//", re.I)


class Intake:
    """A finder of footage that returns its sha256; with `staging` it also keeps a copy there."""

    def __init__(
        self,
        root: Path,
        store: ClipStore,
        *,
        staging: Path | None,
        link: bool = False,
        strip_prefix: str = "",
    ) -> None:
        self.root = root.resolve()
        self.store = store
        self.staging = staging
        self.link = link
        self.strip_prefix = strip_prefix
        self.new: set[str] = set()
        self.headers: dict[str, Header] = {}  # of what a player shows
        self.corrections: dict[str, tuple[str, ...]] = {}
        self._seen: dict[Footage, str] = {}
        self._bad: dict[Footage, MediaError] = {}

    def take(self, footage: Footage) -> str:
        """Return the clip's sha256; raise Unfit or MediaError where the clip cannot be taken."""
        if footage in self._bad:
            raise self._bad[footage]
        if footage not in self._seen:
            try:
                sha256 = self._take(footage)
            except MediaError as bad:
                self._bad[footage] = bad
                raise
            if footage.sha256 not in ("", sha256):
                raise Unfit(
                    f"{footage.paths[0]}: its content is not what its label names. Restore it."
                )
            if footage.image:
                return sha256  # an image's bytes would be kept in memory as a key
            self._seen[footage] = sha256
        return self._seen[footage]

    @property
    def num_same(self) -> int:
        """The number of paths that name a clip whose content another path names, too."""
        return len(self._seen) - len({*self._seen.values()})

    def publish(self, clips: Collection[str]) -> None:
        """Move those of the staged clips that labels name into the store, each one whole."""
        assert self.staging is not None
        for sha256 in sorted(self.new.intersection(clips)):
            with atomic.publish(self.store.path(sha256), name="clip") as temporary:
                os.replace(self._aside(sha256), temporary)

    def resolve(self, name: str) -> Path:
        """Resolve a path of the data set; raise Unfit where it leaves the root or is an address."""
        if _ADDRESS.match(name):
            raise Unfit(f"{name!r} is an address, and nothing is ever fetched. Give a local file.")
        name = name.removeprefix(self.strip_prefix) if self.strip_prefix else name
        try:
            path = (self.root / name).resolve()
            path.is_file()  # raises where the name is too long for the file system
        except (OSError, ValueError, RuntimeError) as error:
            fact = getattr(error, "strerror", None) or error
            raise Unfit(f"{name[:60]!r} cannot be a path ({fact}). Correct it.") from None
        if not path.is_relative_to(self.root):
            raise Unfit(f"{name!r} leads out of {self.root}. Put the clip below it.")
        return path

    def _take(self, footage: Footage) -> str:
        if footage.image:
            return self._encoded(images.read(io.BytesIO(footage.image), "an image"))
        paths = [self.resolve(name) for name in footage.paths]
        path = next((path for path in paths if path.is_file()), None)
        if path is not None and not os.access(path, os.R_OK):
            raise Unfit(f"The clip {footage.paths[0]!r} may not be read (permission denied).")
        if path is None and any(path.exists() for path in paths):
            raise Unfit(f"The clip {footage.paths[0]!r} is no file.")
        if path is not None and _is_image(path):
            return self._encoded(images.read(path, footage.paths[0]))
        if path is not None:
            return self._copied(path)
        if not footage.frames:
            raise Unfit(
                f"The clip {footage.paths[0]!r} does not exist."
                if footage.paths
                else "The row names no clip."
            )
        if len(footage.frames) > LIMITS.max_frames:
            raise Unfit(
                f"The clip has {len(footage.frames)} frames, but the limit is {LIMITS.max_frames}."
            )
        stills = [self._still(name) for name in self._frames(footage)]
        frames = [still.frames_FHWC[0] for still in stills]
        if len({frame.shape for frame in frames}) > 1:
            raise Unfit("The frames of the clip have different sizes.")
        corrections = {correction for still in stills for correction in still.corrections}
        rate = images.FRAMES_PER_SECOND
        return self._encoded(Shown(np.stack(frames), rate, tuple(sorted(corrections))))

    def _still(self, name: str) -> Shown:
        path = self.resolve(name)
        if not path.is_file():
            raise Unfit(f"The frame {name!r} does not exist.")
        if not os.access(path, os.R_OK):
            raise Unfit(f"The frame {name!r} may not be read (permission denied).")
        return images.read(path, name)

    def _frames(self, footage: Footage) -> list[str]:
        """Return the frames' paths in the first folder that holds the first frame."""
        first = footage.frames[0]
        holding = (
            each for each in footage.frame_folders if self.resolve(f"{each}{first}").is_file()
        )
        folder = next(holding, footage.frame_folders[0])
        return [f"{folder}{name}" for name in footage.frames]

    def _encoded(self, shown: Shown) -> str:
        """Keep an image, or several, as a stored clip."""
        content = encode_clip(shown.frames_FHWC, shown.fps)
        sha256 = hashlib.sha256(content).hexdigest()
        num_frames, height, width = shown.frames_FHWC.shape[:3]
        self.headers[sha256] = Header(num_frames, height, width, shown.fps, len(content))
        self.corrections[sha256] = shown.corrections
        if self._is_wanted(sha256):
            with atomic.storage_errors(self._aside(sha256), num_bytes=len(content)):
                self._aside(sha256).write_bytes(content)
            self.new.add(sha256)
        return sha256

    def _copied(self, path: Path) -> str:
        probe(path)
        if self.staging is None:
            sha256 = atomic.sha256_file(path)
            self._examine(path, sha256)
            return sha256
        copy = self.staging / f"{uuid.uuid4().hex}.part"
        with atomic.storage_errors(copy, num_bytes=path.stat().st_size):
            self._duplicate(path, copy)
        try:
            sha256 = atomic.sha256_file(copy)
            self._examine(copy, sha256, name=path)  # it may have changed while it was copied
            if self._is_wanted(sha256):
                os.replace(copy, self._aside(sha256))
                self.new.add(sha256)
        finally:
            copy.unlink(missing_ok=True)
        return sha256

    def _examine(self, path: Path, sha256: str, *, name: Path | None = None) -> None:
        """Decode a clip, each content once, and note what a player shows; `name` is for errors."""
        if sha256 not in self.headers:
            self.headers[sha256], self.corrections[sha256] = examine(path, name=name)

    def _duplicate(self, path: Path, copy: Path) -> None:
        if self.link:
            try:
                os.link(path, copy)
                return
            except OSError as refusal:
                raise MediaError(
                    f"{path}: it cannot be linked ({refusal.strerror}). Leave out --link."
                ) from None
        shutil.copyfile(path, copy)

    def _is_wanted(self, sha256: str) -> bool:
        stored = self.store.path(sha256).exists()
        return self.staging is not None and sha256 not in self.new and not stored

    def _aside(self, sha256: str) -> Path:
        assert self.staging is not None
        return self.staging / f"{sha256}.mp4"


def _is_image(path: Path) -> bool:
    """Tell whether a file holds an image, or is named as one and holds no known film."""
    kind = file_kinds.kind_of(path)
    return kind in file_kinds.IMAGES or (not kind and path.suffix.lower() in IMAGE_SUFFIXES)
