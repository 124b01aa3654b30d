"""The seed: labels of the base generator's clips, which the critic learns from first.

Simulated annotators are asked, unless the recipe names a label set: people were asked already.
A part of the seed is held out by whole prompts. No critic is trained on that part; the triggers,
the self-checks and the rule that reverts a refresh read it.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from dualipo.config import Config
from dualipo.errors import MediaError, WaitsForPeople
from dualipo.events import SeedEvent
from dualipo.preferences import label_set, seed_size
from dualipo.preferences.contradictions import Usable
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Candidate, Pair, Point
from dualipo.rounds import file_sources, world_sources
from dualipo.rounds.bad_clips import intact, intact_labels
from dualipo.rounds.clip_units import ClipSet
from dualipo.rounds.clock import Clock
from dualipo.rounds.questions import pair_questions, point_questions
from dualipo.rounds.run import BASE_GENERATOR, BASE_ROUND, Run
from dualipo.rounds.sampling import fixed_prompts, sample_set
from dualipo.seeds import derive
from dualipo.store import tables
from dualipo.store.ledger import Unit

UNKNOWN = "of a prompt that came after the run had chosen its own"
OfPrompt = TypeVar("OfPrompt", bound=Pair | Point | Candidate)

UNREAD = "of clips that cannot be decoded"


def label_seed(run: Run) -> None:
    """Publish the seed's pairs and points: the annotators' answers, or the label set's labels."""
    unit = Unit(BASE_ROUND, 0, "label")
    if run.is_done(unit):
        return
    imported = file_sources.imported_seed(run.config)
    if imported is not None:
        _publish_imported(run, unit, imported)
    elif run.config.prompts.source == "world":
        _ask_annotators(run, unit)
    else:
        _leave_to_people(run)


def seed_candidates(run: Run) -> list[Candidate]:
    """Return the clips of the base generator that the annotators see."""
    clips = ClipSet(
        name="seed",
        round=BASE_ROUND,
        attempt=0,
        version=BASE_GENERATOR,
        prompts=fixed_prompts(run, "seed"),
        clips_per_prompt=run.config.seed_labels.clips_per_prompt,
    )
    return sample_set(run, clips)


def _leave_to_people(run: Run) -> None:
    """Sample the clips that people are to label, and end the run with what to do next."""
    num_clips, path = len(seed_candidates(run)), run.directory.path
    raise WaitsForPeople(
        f"{path}: {num_clips} clips of {run.config.seed_labels.num_prompts} captions are there for "
        f"people to label. Open the page with `dualipo label {path}`, then begin another run with "
        f"seed_labels.path={path}."
    )


def training_labels(run: Run) -> tuple[list[Pair], list[Point]]:
    """Return the part of the seed that critics are trained on."""
    return _parts(run, held_out=False)


def held_out_labels(run: Run) -> tuple[list[Pair], list[Point]]:
    """Return the part of the seed that no critic is trained on."""
    return _parts(run, held_out=True)


def all_labels(run: Run) -> tuple[list[Pair], list[Point]]:
    """Return the whole seed, in the order of its files, without labels of clips that went bad."""
    pairs_path, points_path = _label_paths(run)
    pairs, points = run.records(pairs_path, Pair), run.records(points_path, Point)
    return intact_labels(run, pairs), intact_labels(run, points)


def keep_part(config: Config, labels: Sequence[OfPrompt], *, held_out: bool) -> list[OfPrompt]:
    """Return the labels, or clips, of the held-out prompts, or of the others.

    A prompt's id decides.
    """
    share = config.seed_labels.holdout_share

    def is_held_out(prompt_id: str) -> bool:
        return derive(config.seed, "holdout", prompt_id) % 1000 < 1000 * share

    return [label for label in labels if is_held_out(label.prompt_id) == held_out]


def _parts(run: Run, *, held_out: bool) -> tuple[list[Pair], list[Point]]:
    pairs, points = all_labels(run)
    return (
        keep_part(run.config, pairs, held_out=held_out),
        keep_part(run.config, points, held_out=held_out),
    )


def _ask_annotators(run: Run, unit: Unit) -> None:
    candidates = intact(run, seed_candidates(run))
    clock = Clock()
    settings, seed = run.config.seed_labels, run.seed("annotators")
    pairs_seed, points_seed = run.seed("seed pairs"), run.seed("points")
    asked_pairs = pair_questions(candidates, num=settings.num_pairs, seed=pairs_seed)
    asked_points = point_questions(candidates, num=settings.num_points, seed=points_seed)
    pairs = world_sources.label_pairs(asked_pairs, clips=run.clip, seed=seed)
    points = world_sources.label_points(asked_points, clips=run.clip, seed=seed)
    run.commit(unit, files=_write(run, pairs, points), clock=clock)


def _publish_imported(run: Run, unit: Unit, seed: Usable) -> None:
    """Take a label set's usable labels and their clips into the run, once there are enough.

    People may still be labelling. A prompt that they added after this run chose its prompts is
    left out, as it could be one of the test prompts.
    """
    clock = Clock()
    known, num_unknown = _of_known_prompts(run, seed.labels)
    labels = _with_clips(run, known)
    num_unread = len(known.every) - len(labels.every)
    counts = {UNKNOWN: num_unknown, UNREAD: num_unread}
    excluded = seed.excluded | {reason: num for reason, num in counts.items() if num}
    if excluded:
        reasons = ", ".join(f"{reason} ({num})" for reason, num in sorted(excluded.items()))
        run.progress.say(f"labels of the seed that are left out: {reasons}")
    seed_size.require_enough(
        keep_part(run.config, labels.pairs, held_out=False),
        keep_part(run.config, labels.points, held_out=False),
        settings=run.config.seed_labels,
        dimensions=run.config.critic.questions.names,
    )
    if not labels.points:
        run.progress.say(
            "the seed compares clips and grades none, so it does not teach the critic to grade a "
            "clip, which comes first in every round. Import grades as well, or label single clips "
            "with `dualipo label --num-points`."
        )
    event = SeedEvent(
        num_pairs=len(labels.pairs),
        num_points=len(labels.points),
        sources=dict(Counter(label.source for label in labels.every)),
        excluded=excluded,
        agreement=seed.agreement,
    )
    run.commit(
        unit,
        files=_write(run, labels.pairs, labels.points),
        clips=tuple(labels.clips),
        clock=clock,
        events=[event],
    )


def _with_clips(run: Run, labels: LabelSet) -> LabelSet:
    """Copy the clips of labels into the run; leave out labels whose clips cannot be decoded."""
    store = label_set.clip_store(Path(str(run.config.seed_labels.path)))
    unread: set[str] = set()
    for clip in labels.clips:
        try:
            store.examine(clip)
            run.clip_store.add(store.path(clip), sha256=clip)
        except MediaError as fault:
            unread.add(clip)
            run.progress.say(f"{fault} Labels of it are left out.")
    return LabelSet(
        tuple(pair for pair in labels.pairs if unread.isdisjoint(label_set.clips_of(pair))),
        tuple(point for point in labels.points if unread.isdisjoint(label_set.clips_of(point))),
    )


def _of_known_prompts(run: Run, labels: LabelSet) -> tuple[LabelSet, int]:
    """Return the labels of the seed's prompts, and how many there are of others."""
    known = {prompt.prompt_id for prompt in fixed_prompts(run, "seed")}
    kept = LabelSet(
        tuple(pair for pair in labels.pairs if pair.prompt_id in known),
        tuple(point for point in labels.points if point.prompt_id in known),
    )
    return kept, len(labels.every) - len(kept.every)


def _write(run: Run, pairs: Sequence[Pair], points: Sequence[Point]) -> tuple[Path, Path]:
    """Publish the seed's two tables; return their paths."""
    pairs_path, points_path = _label_paths(run)
    tables.write_records(pairs_path, pairs, record_type=Pair)
    tables.write_records(points_path, points, record_type=Point)
    return pairs_path, points_path


def _label_paths(run: Run) -> tuple[Path, Path]:
    folder = run.directory.round_path(BASE_ROUND)
    return folder / "seed-pairs.parquet", folder / "seed-points.parquet"
