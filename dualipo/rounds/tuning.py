"""A tuning: one alignment on preferences that exist, without a critic and without rounds.

    read_preferences   labels of any kind -> pairs or labelled clips, the rest counted by reason
    encode             their clips and captions, once for all tunings that share a folder
    align              the loop's own alignment, from the recipe's generator
    show               clips of the validation prompts, by the generator before and after

A tuning's folder is a run's folder with one round and no critic: what reads, resumes, tracks,
exports and publishes a run does the same with it. Its event `TuneEvent` tells the two apart.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dualipo.config import Config
from dualipo.errors import ConfigError, DataError
from dualipo.events import PreferEvent, TuneEvent
from dualipo.generator import holdout
from dualipo.generator.preference_sets import PointSet, PreferenceSet
from dualipo.preferences.label_set import LabelSet
from dualipo.preferences.trainable import Trainable, TrainedClip, TrainedPair
from dualipo.progress import Progress
from dualipo.records import Prompt
from dualipo.rounds import (
    aligning,
    clip_encodings,
    closing,
    fixed_clips,
    measuring,
    pixel_metrics,
    sampling,
)
from dualipo.rounds.clip_encodings import Encoded, caption_id
from dualipo.rounds.loop import opened
from dualipo.rounds.run import BASE_GENERATOR, BASE_ROUND, Run
from dualipo.seeds import derive
from dualipo.store import atomic, rundir
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Unit, Version
from dualipo.store.stored import StoredList, StoredTable

ROUND = 0
MAX_HOLDOUT, HOLDOUT_SHARE = 64, 0.1  # of a tuning whose recipe does not say


@dataclass(frozen=True)
class Source:
    """The preferences as a user named them: their name, their labels, and their clips."""

    name: str
    labels: LabelSet
    store: ClipStore


@dataclass(frozen=True)
class Request:
    """What a user asks of a tuning beside its settings.

    `captions` are validation prompts, `encodings` is the folder that several tunings share, and
    `command` is what the user typed, which goes on after a kill.
    """

    captions: Sequence[str]
    encodings: Path
    command: Sequence[str]


def default_holdout(num_items: int) -> int:
    """Return how many preferences a tuning holds out by default: a tenth, and at most 64."""
    return min(MAX_HOLDOUT, int(HOLDOUT_SHARE * num_items))


def tune(
    config: Config,
    source: Source,
    trainable: Trainable,
    request: Request,
    progress: Progress,
) -> Path:
    """Begin or resume the tuning that `config.output_dir` names; return its folder."""
    if not trainable.items:
        raise DataError(_nothing(source, trainable, config.align.loss_type))
    _require_both_labels(source, trainable)
    clip_encodings.unusable(_clips(trainable), source.store, settings=config.generator)
    with opened(config, progress) as run:
        atomic.write_json(run.directory.path / rundir.TUNING, {"command": list(request.command)})
        # What is held out is refused now, where it leaves too little, and not after the encoding.
        outline = _preferences(trainable.items, latents=list, texts={})
        holdout.split(outline, settings=config.align, seed=run.seed("align", ROUND))
        _begin(run, source, trainable, request.captions)
        _show(run, BASE_ROUND, BASE_GENERATOR)
        unit = Unit(ROUND, 0, "align")
        if not run.is_done(unit):
            _align(run, unit, source, trainable, request.encodings)
        head = run.ledger.head("generator")
        assert head is not None, "the base was registered"
        _show(run, ROUND, head.version_id)
        closing.write_report(run)
        return run.directory.path


def _show(run: Run, round: int, version: str) -> None:
    """Sample and report a version's clips of the validation prompts, and measure their pixels."""
    measuring.report_scores(run, round, 0, version)
    clips = fixed_clips.sample_fixed(run, "test", round, 0, version)
    pixel_metrics.measure(run, round, 0, version, clips)


def _begin(run: Run, source: Source, trainable: Trainable, captions: Sequence[str]) -> None:
    """Record the base model, the validation prompts, and what the tuning learns from."""
    unit = Unit(BASE_ROUND, 0, "register")
    event = TuneEvent(
        preferences=source.name,
        sources={str(kind): num for kind, num in trainable.sources.items()},
        items_hash=f"{derive(*sorted(item.item_id for item in trainable.items)):016x}",
        captions=list(captions),
    )
    if run.is_done(unit):
        _require_same(run, run.recorded(unit, TuneEvent), event)
        return
    path = sampling.write_fixed_prompts(run, "test", [_prompt(c) for c in dict.fromkeys(captions)])
    base = run.generator(BASE_GENERATOR).hash()
    run.commit(
        unit,
        files=(path,),
        versions=[Version("generator", BASE_GENERATOR, None, BASE_ROUND, 0, "", base)],
        heads={"generator": BASE_GENERATOR},
        events=[event],
    )


def _require_same(run: Run, before: TuneEvent, now: TuneEvent) -> None:
    now = replace(now, preferences=before.preferences)  # its folder may have moved
    if before != now:
        what = "validation prompts" if before.items_hash == now.items_hash else "preferences"
        raise ConfigError(
            f"{run.directory.path}: this tuning was begun with other {what}. Name another --output "
            "for these, or repeat the command that began it."
        )


def _align(run: Run, unit: Unit, source: Source, trainable: Trainable, encodings: Path) -> None:
    """Encode what is missing, count what is left out, and train."""
    captions = {caption_id(item.caption): item.caption for item in trainable.items}
    encoded = clip_encodings.encode(
        run, encodings, clips=_clips(trainable), store=source.store, captions=captions
    )
    usable = [item for item in trainable.items if encoded.bad.keys().isdisjoint(item.clips)]
    _record(run, trainable, num_unreadable=len(trainable.items) - len(usable), usable=usable)
    aligning.align_on(
        run,
        unit,
        lambda: _encoded_preferences(usable, encoded),
        parent=BASE_GENERATOR,
        critic_version="",
        reference_folder=encoded.folder,
    )


def _record(run: Run, trainable: Trainable, *, num_unreadable: int, usable: Sequence[Any]) -> None:
    """Commit how many preferences are learned from, and how many are not, by reason."""
    unit = Unit(ROUND, 0, "prefer")
    if run.is_done(unit):
        return
    unreadable = {"a clip cannot be used": num_unreadable} if num_unreadable else {}
    is_pairs = run.config.align.loss_type == "dpo"
    desirable = None if is_pairs else sum(item.desirable for item in usable)
    event = PreferEvent(
        num_prompts=trainable.num_questions,
        kept=len(usable),
        dropped=trainable.dropped | unreadable,
        certainty=[item.certainty for item in usable],
        mean_vote_share=None,
        of="pairs" if is_pairs else "clips",
        num_desirable=desirable,
    )
    run.commit(unit, events=[event])


def _encoded_preferences(
    items: Sequence[TrainedPair | TrainedClip], encoded: Encoded
) -> PreferenceSet | PointSet:
    """Return the items as an alignment takes them; latents and texts are read when needed."""

    def latents(clips: Sequence[str]) -> StoredList:
        return StoredList([encoded.latents[clip] for clip in clips])

    return _preferences(items, latents=latents, texts=StoredTable(encoded.texts))


def _preferences(
    items: Sequence[TrainedPair | TrainedClip],
    *,
    latents: Callable[[Sequence[str]], Sequence[Any]],
    texts: Mapping[str, Tensor],
) -> PreferenceSet | PointSet:
    """Return the items as a set; `latents` gives the latents of clips, one for each."""
    shared: dict[str, Any] = {
        "ids": [item.item_id for item in items],
        "caption_keys": [caption_id(item.caption) for item in items],
        "texts": texts,
        "certainties": [item.certainty for item in items],
    }
    pairs = [item for item in items if isinstance(item, TrainedPair)]
    if pairs:
        return PreferenceSet(
            winners=latents([pair.winner for pair in pairs]),
            losers=latents([pair.loser for pair in pairs]),
            **shared,
        )
    clips = [item for item in items if isinstance(item, TrainedClip)]
    return PointSet(
        clips=latents([item.clip for item in clips]),
        desirable=[item.desirable for item in clips],
        **shared,
    )


def _clips(trainable: Trainable) -> list[str]:
    """Return every clip that is learned from, once."""
    return list(dict.fromkeys(clip for item in trainable.items for clip in item.clips))


def _prompt(caption: str) -> Prompt:
    return Prompt(caption_id(caption), caption)


def _require_both_labels(source: Source, trainable: Trainable) -> None:
    """Raise a DataError where clips to learn from are all desirable, or all undesirable."""
    clips = [item for item in trainable.items if isinstance(item, TrainedClip)]
    num_desirable = sum(item.desirable for item in clips)
    if clips and num_desirable in (0, len(clips)):
        raise DataError(
            f"{source.name}: {num_desirable} desirable and {len(clips) - num_desirable} "
            "undesirable clips, where KTO needs both. A clip is desirable where all its grades are "
            "good, and undesirable where one is bad. Take the grades of one dimension with --only, "
            "set align.loss_type=dpo to learn from labelled pairs, or label more clips."
        )


def _nothing(source: Source, trainable: Trainable, loss_type: str) -> str:
    """Say why nothing can be learned from the labels, and what would help."""
    reasons = ", ".join(f"{num} {reason}" for reason, num in trainable.dropped.items())
    fact = f"none of {trainable.num_questions} questions has a clear answer ({reasons})"
    if loss_type == "dpo" and source.labels.points and not source.labels.pairs:
        return (
            f"{source.name}: it grades single clips and compares none, but align.loss_type = "
            '"dpo" learns from pairs. Set align.loss_type=kto.'
        )
    return f"{source.name}: {fact}. Learn from one dimension with --only, or label more clips."
