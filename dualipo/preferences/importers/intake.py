"""Takes the clips of a data set into a label set: finds, checks, hashes and copies them.

Nothing in a data set is trusted: a path is resolved and must stay inside the root, links included
(fault 50); an address is refused and never fetched (fault 51); a clip's header is checked against
the limits of `store/clips.py` before anything is copied (fault 22). An image becomes a clip of one
frame, images in order a clip of so many. Left out: decoding clips, which the critic does.
"""

import hashlib
import io
import os
import re
import shutil
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from dualipo.errors import MediaError
from dualipo.preferences.importers.row import Footage, Unfit
from dualipo.store import atomic
from dualipo.store.clips import LIMITS, ClipStore, Frames, Header, encode_clip, probe

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
FRAMES_PER_SECOND = 8.0  # the rate of VideoFeedback's frames; a clip of one image needs none

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
        self.headers: dict[str, Header] = {}
        self._seen: dict[Footage, str] = {}

    def take(self, footage: Footage) -> str:
        """Return the clip's sha256; raise Unfit or MediaError where the clip cannot be taken."""
        if footage not in self._seen:
            sha256 = self._take(footage)
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

    def publish(self) -> None:
        """Move the staged clips into the store, each one whole or not at all."""
        assert self.staging is not None
        for sha256 in sorted(self.new):
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
            return self._encoded([self._image(io.BytesIO(footage.image), "an image")])
        paths = [self.resolve(name) for name in footage.paths]
        path = next((path for path in paths if path.is_file()), None)
        if path is not None and path.suffix.lower() in IMAGE_SUFFIXES:
            return self._encoded([self._image(path, footage.paths[0])])
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
        frames = self._frames(footage)
        return self._encoded([self._image(self.resolve(name), name) for name in frames])

    def _frames(self, footage: Footage) -> list[str]:
        """Return the frames' paths in the first folder that holds the first frame."""
        first = footage.frames[0]
        holding = (
            each for each in footage.frame_folders if self.resolve(f"{each}{first}").is_file()
        )
        folder = next(holding, footage.frame_folders[0])
        return [f"{folder}{name}" for name in footage.frames]

    def _image(self, source: Path | io.BytesIO, name: str) -> Frames:
        try:
            with Image.open(source, formats=("JPEG", "PNG", "WEBP")) as image:
                if image.width * image.height > LIMITS.max_pixels:
                    raise Unfit(
                        f"{name}: it has {image.width}x{image.height} pixels, but the limit is "
                        f"{LIMITS.max_pixels}. Make it smaller."
                    )
                return np.asarray(image.convert("RGB"))
        except Unfit:
            raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise Unfit(
                f"{name}: it is not a readable image ({error}). Save it as JPEG, PNG or WebP."
            ) from None

    def _encoded(self, frames: list[Frames]) -> str:
        if len({frame.shape for frame in frames}) > 1:
            raise Unfit("The frames of the clip have different sizes.")
        content = encode_clip(np.stack(frames), FRAMES_PER_SECOND)
        sha256 = hashlib.sha256(content).hexdigest()
        height, width = frames[0].shape[:2]
        self.headers[sha256] = Header(len(frames), height, width, FRAMES_PER_SECOND, len(content))
        if self._is_wanted(sha256):
            with atomic.storage_errors(self._aside(sha256), num_bytes=len(content)):
                self._aside(sha256).write_bytes(content)
            self.new.add(sha256)
        return sha256

    def _copied(self, path: Path) -> str:
        header = probe(path)
        if self.staging is None:
            sha256 = atomic.sha256_file(path)
            self.headers[sha256] = header
            return sha256
        copy = self.staging / f"{uuid.uuid4().hex}.part"
        with atomic.storage_errors(copy, num_bytes=path.stat().st_size):
            self._duplicate(path, copy)
        sha256 = atomic.sha256_file(copy)
        self.headers[sha256] = header
        if self._is_wanted(sha256):
            probe(copy)  # the file may have changed while it was copied
            os.replace(copy, self._aside(sha256))
            self.new.add(sha256)
        else:
            copy.unlink()
        return sha256

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
