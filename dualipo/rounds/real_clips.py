"""Real clips for the NLL term (METHOD.md 4.4), encoded once a run, in shards.

A shard is a fixed number of clips, one file and one unit of the ledger; a run that was killed goes
on behind the last one, and no clip of it is decoded again. Texts follow when all captions are
known, each caption once. What cannot be read is counted over all shards, wherever it lies (fault
66). Training reads clips and texts by their places: no more than a shard is ever in memory.

Artifacts: `latents/real/clips-*.safetensors` and `texts-*.safetensors`, the captions in their
headers.
"""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dualipo import interrupt
from dualipo.errors import MediaError
from dualipo.events import EncodeRealDrawnEvent, EncodeRealEvent, Event
from dualipo.generator.backbone import Backbone
from dualipo.generator.footage import Footage, Listed, Planned, read_clip
from dualipo.generator.preference_sets import RealClips
from dualipo.generator.sample import encode_texts
from dualipo.rounds import file_sources, world_sources
from dualipo.rounds.bench import Bench
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import BASE_GENERATOR, BASE_ROUND, CUT, Left, Run
from dualipo.store import stored, tensors
from dualipo.store.ledger import Unit
from dualipo.store.stored import Place, StoredList
from dualipo.workers.job import Work

SHARD_CLIPS = 64  # also the batch of the text encoder, and the autoencoder's of world clips
_STAGE = "encode_real"

Kind = Literal["clips", "texts"]


def encoded(run: Run) -> RealClips:
    """Return the run's real clips; encode them if need be."""
    closing = Unit(BASE_ROUND, 0, _STAGE, -1)
    if not run.is_done(closing):
        _encode(run, closing)
    texts = dict(_places(run, "texts"))
    clips = _places(run, "clips")
    return RealClips(
        StoredList([place for _, place in clips]),
        StoredList([texts[caption] for caption, _ in clips]),
    )


def _encode(run: Run, closing: Unit) -> None:
    """Encode every shard that is missing; then commit the counts of all."""
    clock = Clock()
    num_wanted = run.config.align.num_real_clips
    run.progress.stage(_STAGE, round=BASE_ROUND, attempt=0, total=num_wanted)
    footage = file_sources.footage(run.config) if run.config.align.dataset_name else None
    starts = range(0, num_wanted, SHARD_CLIPS)
    shards = {n: range(s, min(s + SHARD_CLIPS, num_wanted)) for n, s in enumerate(starts)}
    if footage is None:
        _encode_world(run, shards)
    else:
        _pass_by(run, shards, footage)
        (_encode_footage if run.is_inline else _spread_footage)(run, shards, footage)
    _encode_texts(run)
    bad = list(footage.bad.values()) if footage else []
    event = EncodeRealEvent(num=num_wanted, num_skipped=len(bad))
    run.commit_without(closing, {"real clips skipped": bad}, clock=clock, events=[event])


@dataclass(frozen=True)
class ClipShard:
    """Clips of the world to encode: the shard's number, its file, and the clips' numbers."""

    index: int
    path: Path
    places: range


def _encode_world(run: Run, shards: Mapping[int, range]) -> None:
    """Have the workers encode the shards of the world's own clips, each in one pass."""
    asked = [
        ClipShard(index, _path(run, "clips", index).absolute(), places)
        for index, places in shards.items()
        if not run.is_done(_unit("clips", index))
    ]
    left = {shard.index for shard in asked}
    run.progress.advance(sum(len(p) for index, p in shards.items() if index not in left))
    works = [Work(f"{_STAGE} {s.index}", tuple(map(str, s.places)), s) for s in asked]
    for done in run.spread(encode_world, works, generator=BASE_GENERATOR):
        _commit(run, "clips", done.work.content.index, done.row)
        run.progress.advance(len(done.work.items))


def encode_world(bench: Bench, shard: ClipShard) -> str:
    """Encode and publish a shard of the world's clips."""
    generator = bench.generator(BASE_GENERATOR)
    frames_NFHW3, captions = world_sources.real_clips(bench.config, places=shard.places)
    latents = generator.encode_clips(torch.from_numpy(frames_NFHW3)).cpu().to(bench.latents_dtype)
    return _publish(shard.path, captions, list(latents), axes=generator.latent_axes[1:])


def _pass_by(run: Run, shards: Mapping[int, range], footage: Footage) -> None:
    """Count the shards of the recipe's clips that are committed, which are the first ones."""
    for index in itertools.takewhile(lambda n: run.is_done(_unit("clips", n)), shards):
        before = run.recorded(_unit("clips", index), EncodeRealDrawnEvent)
        path = run.hashes.checked(_path(run, "clips", index))
        captions = [caption for caption, _ in _read_places(path)]
        footage.go_on(used=before.used, captions=captions, bad=dict(before.skipped))
        run.progress.advance(len(shards[index]))


def _encode_footage(run: Run, shards: Mapping[int, range], footage: Footage) -> None:
    """Encode the other shards of the recipe's clips one by one."""
    for index, places in shards.items():
        if run.is_done(_unit("clips", index)):
            continue
        generator = run.generator(BASE_GENERATOR)
        num_used, num_bad = len(footage.used), len(footage.bad)
        captions, latents = [], []
        for frames_FHWC, caption in itertools.islice(footage.read(), len(places)):
            latents.append(_latent(run, generator, frames_FHWC))
            captions.append(caption)
            interrupt.check()
        drawn = EncodeRealDrawnEvent(
            used=footage.used[num_used:], skipped=list(footage.bad.items())[num_bad:]
        )
        path = _path(run, "clips", index)
        sha256 = _publish(path, captions, latents, axes=generator.latent_axes[1:])
        _commit(run, "clips", index, sha256, events=[drawn])
        run.progress.advance(len(places))


@dataclass(frozen=True)
class FootageShard:
    """Clips of the recipe to encode: the shard's number, its file, and its rows of the table."""

    index: int
    path: Path
    rows: Mapping[int, Listed]


def _spread_footage(run: Run, shards: Mapping[int, range], footage: Footage) -> None:
    """Have the workers encode the other shards of the recipe's clips.

    Which rows a shard has depends on those before it that cannot be read. So all shards are planned
    as if the rest could be; those behind a row that cannot are planned and done once more.
    """
    bad: dict[int, str] = {}
    left = [index for index in shards if not run.is_done(_unit("clips", index))]
    while left:
        planned = dict(zip(left, footage.plan([len(shards[n]) for n in left], bad), strict=True))
        asked = [
            FootageShard(
                index,
                _path(run, "clips", index).absolute(),
                {row: footage.listed[row] for row in own.rows},
            )
            for index, own in planned.items()
        ]
        works = [Work(f"{_STAGE} {shard.index}", _names(shard), shard) for shard in asked]
        hashed: dict[int, str] = {}
        for done in run.spread(encode_footage, works, generator=BASE_GENERATOR):
            sha256, unreadable = done.row
            bad |= unreadable
            if not unreadable:
                hashed[done.work.content.index] = sha256
            while left and left[0] in hashed:
                _commit_planned(run, footage, left[0], planned[left[0]], hashed[left[0]])
                run.progress.advance(len(shards[left.pop(0)]))


def _names(shard: FootageShard) -> tuple[str, ...]:
    return tuple(str(listed.path) for listed in shard.rows.values())


def _commit_planned(run: Run, footage: Footage, index: int, planned: Planned, sha256: str) -> None:
    """Commit a shard whose rows could all be read, and count what it has drawn."""
    footage.used += planned.rows
    footage.bad |= planned.skipped
    drawn = EncodeRealDrawnEvent(used=planned.rows, skipped=[*planned.skipped.items()])
    _commit(run, "clips", index, sha256, events=[drawn])


def encode_footage(bench: Bench, shard: FootageShard) -> tuple[str, dict[int, str]]:
    """Encode and publish a shard; return its sha256, or why rows of it cannot be read."""
    generator = bench.generator(BASE_GENERATOR)
    latents: list[Tensor] = []
    bad: dict[int, str] = {}
    for row, listed in shard.rows.items():
        try:
            frames_FHWC = read_clip(listed.path, settings=bench.config.generator)
        except MediaError as fault:
            bad[row] = str(fault)
        else:
            if not bad:
                latents.append(_latent(bench, generator, frames_FHWC))
    if bad:
        return "", bad
    captions = [listed.caption for listed in shard.rows.values()]
    return _publish(shard.path, captions, latents, axes=generator.latent_axes[1:]), {}


def _latent(bench: Bench, generator: Backbone, frames_FHWC: Tensor) -> Tensor:
    """Encode one clip."""
    return generator.encode_clips(frames_FHWC[None]).cpu()[0].to(bench.latents_dtype)


@dataclass(frozen=True)
class TextShard:
    """Captions to encode: the shard's number and its file."""

    index: int
    path: Path
    captions: tuple[str, ...]


def _encode_texts(run: Run) -> None:
    """Have the workers encode the text of every distinct caption, in shards."""
    captions = tuple(dict.fromkeys(caption for caption, _ in _places(run, "clips")))
    asked = [
        TextShard(index, _path(run, "texts", index).absolute(), captions[s : s + SHARD_CLIPS])
        for index, s in enumerate(range(0, len(captions), SHARD_CLIPS))
        if not run.is_done(_unit("texts", index))
    ]
    works = [Work(f"{_STAGE} texts {shard.index}", shard.captions, shard) for shard in asked]
    for done in run.spread(encode_shard, works, generator=BASE_GENERATOR):
        sha256, cut = done.row
        _commit(run, "texts", done.work.content.index, sha256, left={CUT: cut})


def encode_shard(bench: Bench, shard: TextShard) -> tuple[str, list[str]]:
    """Encode and publish a shard of texts; return its sha256 and the captions that were cut."""
    base = bench.generator(BASE_GENERATOR)
    texts = encode_texts(base, captions=shard.captions, batch_size=SHARD_CLIPS)
    encoded = [texts[caption] for caption in shard.captions]
    sha256 = _publish(shard.path, shard.captions, encoded, axes="LD")
    return sha256, list(base.cut_captions(shard.captions))


def _commit(
    run: Run,
    kind: Kind,
    index: int,
    sha256: str,
    *,
    events: Sequence[Event] = (),
    left: Left | None = None,
) -> None:
    hashed = {run.directory.relative(_path(run, kind, index)): sha256}
    run.commit_without(_unit(kind, index), left or {}, hashed=hashed, events=events)


def _publish(path: Path, captions: Sequence[str], encoded: Sequence[Tensor], *, axes: str) -> str:
    """Publish a shard, its tensors by number; return the file's sha256."""
    named = {f"{n:04d}": tensor for n, tensor in enumerate(encoded)}
    metadata = {"axes": axes, "captions": json.dumps(list(captions))}
    if axes == "LD":
        named, padding = stored.without_zeros(named)
        metadata |= padding
    return tensors.save(path, named, metadata=metadata)


def _unit(kind: Kind, index: int) -> Unit:
    return Unit(BASE_ROUND, 0, f"{_STAGE}.{kind}", index)


def _path(run: Run, kind: Kind, index: int) -> Path:
    return run.directory.path / "latents" / "real" / f"{kind}-{index:04d}.safetensors"


def _shards(run: Run, kind: Kind) -> list[Path]:
    """Return the paths of the committed shards, unchanged since then, in order."""
    done = itertools.takewhile(lambda n: run.is_done(_unit(kind, n)), itertools.count())
    return [run.hashes.checked(_path(run, kind, index)) for index in done]


def _places(run: Run, kind: Kind) -> list[tuple[str, Place]]:
    """Return each caption with the place of the tensor that belongs to it."""
    return [captioned for path in _shards(run, kind) for captioned in _read_places(path)]


def _read_places(path: Path) -> list[tuple[str, Place]]:
    captions = json.loads(tensors.read_metadata(path)["captions"])
    return [(caption, (str(path), f"{n:04d}")) for n, caption in enumerate(captions)]
