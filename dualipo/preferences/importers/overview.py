"""Sums up the labels and clips of an import as lines of text for people."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from dualipo.config import SeedLabels
from dualipo.errors import DataError
from dualipo.preferences import seed_size
from dualipo.preferences.label_set import LabelSet
from dualipo.records import DIMENSIONS, GRADES, LABELLED_DIMENSIONS
from dualipo.store.containers import Header

MAX_KINDS = 6  # kinds that a line lists; the rest is summed up

VERDICTS = ("a", "b", "tie", "abstain")


def lines(
    labels: LabelSet, headers: Mapping[str, Header], corrections: Mapping[str, Sequence[str]]
) -> list[str]:
    """Return the lines about the labels that the files hold, and about their clips.

    `corrections` names what was corrected so that a clip is read as a player shows it.
    """
    if not labels.every:
        return []
    others = sorted({label.dimension for label in labels.every} - {*LABELLED_DIMENSIONS})
    dimensions = (*LABELLED_DIMENSIONS, *others)
    width = max(map(len, dimensions))
    answers = [
        f"    {dimension:<{width}}  {said}"
        for dimension in dimensions
        if (said := _answers(labels, dimension))
    ]
    whose = [
        f"{label.source} {label.annotator_or_critic_version}".strip() for label in labels.every
    ]
    captions = len({label.prompt_id for label in labels.every})
    return [
        f"  labels in the files: {len(labels.every)} about {captions} captions",
        *answers,
        f"  whose: {_counted(whose)}",
        *_clip_lines(labels, headers, corrections),
    ]


def _answers(labels: LabelSet, dimension: str) -> str:
    counts: Counter[str] = Counter(p.verdict for p in labels.pairs if p.dimension == dimension)
    counts.update(p.grade for p in labels.points if p.dimension == dimension)
    return ", ".join(f"{word} {counts[word]}" for word in (*VERDICTS, *GRADES) if counts[word])


def _clip_lines(
    labels: LabelSet, headers: Mapping[str, Header], corrections: Mapping[str, Sequence[str]]
) -> list[str]:
    known = [headers[clip] for clip in labels.clips if clip in headers]
    if not known:
        return []
    frames = [f"{header.num_frames or 'unknown'}" for header in known]
    corrected = [name for clip in labels.clips for name in corrections.get(clip, ())]
    return [
        f"  clips: {len(labels.clips)}",
        f"    size    {_counted(f'{header.width}x{header.height}' for header in known)}",
        f"    frames  {_counted(frames)}",
        f"    fps     {_counted(f'{header.fps:g}' for header in known)}",
        *([f"    read as a player shows them: {_counted(corrected)}"] if corrected else []),
    ]


def _counted(names: Iterable[str]) -> str:
    """List kinds with their counts, the most frequent first."""
    counts = Counter(names).most_common()
    listed = [f"{name} ({num})" for name, num in counts[:MAX_KINDS]]
    rest = counts[MAX_KINDS:]
    if rest:
        listed.append(f"{len(rest)} more kinds ({sum(num for _, num in rest)})")
    return ", ".join(listed)


def warm_start(usable: LabelSet, dimensions: Sequence[str] = DIMENSIONS) -> str:
    """Say what a warm start with default settings would say to a set's usable labels."""
    settings = SeedLabels()
    try:
        seed_size.require_enough(
            usable.pairs, usable.points, settings=settings, dimensions=dimensions
        )
    except DataError as refusal:
        return f"would refuse this set: {refusal}"
    return (
        f"would take this set; it would hold out the labels of about {settings.holdout_share:.0%} "
        "of the captions"
    )
