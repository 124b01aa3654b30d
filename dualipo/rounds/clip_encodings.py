"""Encodings of clips and captions by a pipeline, kept in a folder that several tunings share.

    FOLDER/<key>/  encodings.json            the sha256 of every file below
                   clips-0000.safetensors    up to SHARD_CLIPS latents by their clip's hash
                   texts-0000.safetensors    text embeddings by their caption's id
                   reference-*.safetensors   the reference's errors (generator/reference.py)

The key is what an encoding depends on: the pipeline's autoencoder and text encoder, and the size,
rate and length of clips. Each clip and each caption is encoded alone, so its encoding does not
depend on which preferences needed it first. A file counts once `encodings.json` has its hash; what
a kill left without one is written anew. One process encodes at a time, and others wait for it.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dualipo import interrupt
from dualipo.config import Generator
from dualipo.errors import DataError, MediaError, ModelError, RunLocked
from dualipo.generator.footage import read_clip
from dualipo.generator.sample import encode_texts
from dualipo.rounds.run import BASE_GENERATOR, BASE_ROUND, Run
from dualipo.seeds import derive
from dualipo.store import atomic, stored, tensors
from dualipo.store.clips import ClipStore, probe
from dualipo.store.lock import Lock
from dualipo.store.stored import Place

SHARD_CLIPS = 64
MAX_BAD_SHARE = 0.05
_INDEX = "encodings.json"
_LOOK_EVERY = 1.0  # seconds between two looks at a lock that another process holds
_HEAD = 1 << 20  # bytes of a weights' file that are read for its identity: all names and shapes
_SHOWN = 3
# What an encoding depends on beside the weights.
_SIZES = ("num_frames", "height", "width", "fps", "max_sequence_length", "torch_dtype")


@dataclass(frozen=True)
class Encoded:
    """Stored encodings by their places; `bad` has the reason for each clip that is unusable."""

    folder: Path
    latents: Mapping[str, Place]
    texts: Mapping[str, Place]
    bad: Mapping[str, str]


def encode(
    run: Run, folder: Path, *, clips: Sequence[str], store: ClipStore, captions: Mapping[str, str]
) -> Encoded:
    """Encode the clips and captions (caption by id) that `folder` does not hold yet."""
    own = folder / _key(run)
    atomic.make_folder(own)
    bad = unusable(clips, store, settings=run.config.generator)
    lock = _wait_for(own / "LOCK", run)
    try:
        known = _verified(own)
        wanted = [clip for clip in clips if clip not in bad]
        missing = [clip for clip in wanted if clip not in known["clips"]]
        texts = {key: text for key, text in captions.items() if key not in known["texts"]}
        run.progress.stage("encode", round=BASE_ROUND, attempt=0, total=len(missing) + len(texts))
        for shard in _shards(missing):
            known["clips"] |= _encode_clips(run, own, shard, store, bad)
        for keys in _shards([*texts]):
            known["texts"] |= _encode_texts(run, own, {key: texts[key] for key in keys})
    finally:
        lock.release()
    _require_few_bad(bad, len(clips))
    return Encoded(own, known["clips"], known["texts"], bad)


def caption_id(caption: str) -> str:
    """Return the name of a caption's text embedding."""
    return f"{derive('caption', caption):016x}"


def _shards(keys: Sequence[str]) -> Iterable[Sequence[str]]:
    return (keys[start : start + SHARD_CLIPS] for start in range(0, len(keys), SHARD_CLIPS))


def _encode_clips(
    run: Run, folder: Path, clips: Sequence[str], store: ClipStore, bad: dict[str, str]
) -> dict[str, Place]:
    """Publish the latents of a shard; a clip that its header promised but cannot give is noted."""
    generator = run.generator(BASE_GENERATOR)
    latents = {}
    for clip in clips:
        try:
            frames_FHWC = read_clip(store.path(clip), settings=run.config.generator)
        except MediaError as fault:
            bad[clip] = str(fault)
            continue
        latent = generator.encode_clips(frames_FHWC[None]).cpu()[0]
        latents[clip] = latent.to(run.latents_dtype)
        run.progress.advance()
        interrupt.check()
    return _publish(folder, "clips", latents, axes=generator.latent_axes[1:])


def _encode_texts(run: Run, folder: Path, captions: Mapping[str, str]) -> dict[str, Place]:
    generator = run.generator(BASE_GENERATOR)
    texts = encode_texts(generator, captions=[*captions.values()], batch_size=1)
    run.progress.advance(len(captions))
    interrupt.check()
    named, padding = stored.without_zeros({k: texts[caption] for k, caption in captions.items()})
    return _publish(folder, "texts", named, axes="LD", padding=padding)


def _publish(
    folder: Path,
    kind: str,
    named: Mapping[str, Tensor],
    *,
    axes: str,
    padding: Mapping[str, str] | None = None,
) -> dict[str, Place]:
    """Write a file of tensors, then its hash into the index; return where the tensors are."""
    if not named:
        return {}
    hashes = _index(folder)
    number = sum(name.startswith(kind) for name in hashes)
    path = folder / f"{kind}-{number:04d}.safetensors"
    hashes[path.name] = tensors.save(path, named, metadata={"axes": axes, **(padding or {})})
    atomic.write_json(folder / _INDEX, hashes)
    return {key: (str(path), key) for key in named}


def _verified(folder: Path) -> dict[str, dict[str, Place]]:
    """Return the places in every file of the index, whose content is checked first."""
    places: dict[str, dict[str, Place]] = {"clips": {}, "texts": {}}
    for name, sha256 in sorted(_index(folder).items()):
        path = folder / name
        _require_whole(path, sha256)
        kind = name.partition("-")[0]
        places[kind] |= {key: (str(path), key) for key in stored.names(str(path))}
    return places


def _require_whole(path: Path, sha256: str) -> None:
    if not path.is_file() or atomic.sha256_file(path) != sha256:
        raise ModelError(
            f"{path}: missing, or changed since it was written. Delete {path.parent}: the next "
            "tuning encodes its clips anew."
        )


def _index(folder: Path) -> dict[str, str]:
    path = folder / _INDEX
    hashes: dict[str, str] = atomic.read_json(path) if path.is_file() else {}
    return hashes


def _wait_for(path: Path, run: Run) -> Lock:
    """Take the lock; wait while another process encodes."""
    is_told = False
    while True:
        try:
            return Lock.acquire(path)
        except RunLocked as refusal:
            if not is_told:
                run.progress.say(f"{refusal} This command waits.")
            is_told = True
        interrupt.check()
        time.sleep(_LOOK_EVERY)


def unusable(clips: Sequence[str], store: ClipStore, *, settings: Generator) -> dict[str, str]:
    """Return why clips cannot be used, by their headers alone; too many are a DataError.

    It takes seconds, and no model.
    """
    bad = {}
    for clip in clips:
        try:
            header = probe(store.path(clip))
        except MediaError as fault:
            bad[clip] = str(fault)
            continue
        pace = header.fps / settings.fps if header.fps else 1.0
        needed = round((settings.num_frames - 1) * pace) + 1
        if 0 < header.num_frames < needed:
            bad[clip] = (
                f"{store.path(clip)}: {header.num_frames} frames at {header.fps:g} fps, where "
                f"{settings.num_frames} at {settings.fps} fps are wanted."
            )
    _require_few_bad(bad, len(clips))
    return bad


def _require_few_bad(bad: Mapping[str, str], num_clips: int) -> None:
    if len(bad) > MAX_BAD_SHARE * num_clips:
        reasons = " ".join([*bad.values()][:_SHOWN])
        raise DataError(
            f"{len(bad)} of {num_clips} clips cannot be used, more than {MAX_BAD_SHARE:.0%}: "
            f"{reasons} Mend or replace them, or set generator.num_frames and generator.fps to "
            "what they have."
        )


def _key(run: Run) -> str:
    """Return a name for all that an encoding depends on."""
    settings = run.config.generator
    depends = {name: getattr(settings, name) for name in _SIZES}
    depends |= {"latents_dtype": settings.latents_dtype}
    pipeline, _ = run.generator_folders(BASE_GENERATOR)
    for part in ("vae", "text_encoder", "tokenizer"):
        files = sorted(path for path in (pipeline / part).rglob("*") if path.is_file())
        depends |= {f"{part}/{path.name}": _identity(path) for path in files}
    text = json.dumps(depends, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _identity(path: Path) -> str:
    """Hash a file's size and beginning: a text encoder of 10 GB is not read for its name."""
    with open(path, "rb") as stream:
        head = hashlib.sha256(stream.read(_HEAD)).hexdigest()
    return f"{path.stat().st_size} {head}"
