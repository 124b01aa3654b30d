"""Writes TRL's two preference formats.

Ties have no place in a format of winners and losers, nor does Normal in one of desirable and
undesirable clips: those labels are dropped and counted. TRL ignores the columns `dimension`,
`source` and `annotator`; by them an import takes the labels back whole, and a program's label is
never taken for a person's.
"""

from collections import defaultdict
from typing import Any

from dualipo.preferences.exporters.outlet import Outlet
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point

Rows = list[dict[str, Any]]

ANYONE = ("source", "annotator_or_critic_version")
TRL_KEPT = ("prompt", "video_a", "video_b", "video", "dimension", "verdict", "grade", *ANYONE)


def trl(labels: LabelSet, outlet: Outlet) -> None:
    """Write `<dimension>.jsonl` with `prompt`, `chosen`, `rejected` for each dimension."""
    files: defaultdict[str, Rows] = defaultdict(list)
    for pair in labels.pairs:
        if clips := winner_and_loser(pair, outlet):
            winner, loser = clips
            row = {"prompt": pair.prompt}
            row |= {"chosen": outlet.clip(winner), "rejected": outlet.clip(loser)}
            files[pair.dimension].append(row | {"dimension": pair.dimension} | speaker_of(pair))
            outlet.keep(pair, TRL_KEPT)
    for _ in labels.points:
        outlet.drop("a point: export trl-kto")
    _write(files, outlet)


def trl_kto(labels: LabelSet, outlet: Outlet) -> None:
    """Write `<dimension>.jsonl` with `prompt`, `completion`, `label`, which is true for Good."""
    files: defaultdict[str, Rows] = defaultdict(list)
    for point in labels.points:
        if point.grade == "normal":
            outlet.drop("graded Normal")
            continue
        row: dict[str, Any] = {"prompt": point.prompt, "completion": outlet.clip(point.video)}
        row |= {"label": point.grade == "good", "dimension": point.dimension}
        files[point.dimension].append(row | speaker_of(point))
        outlet.keep(point, TRL_KEPT)
    for _ in labels.pairs:
        outlet.drop("a pair: export trl")
    _write(files, outlet)


def winner_and_loser(pair: Pair, outlet: Outlet) -> tuple[str, str] | None:
    """Return the pair's winner and loser; count a pair without them as dropped."""
    if pair.verdict == "a":
        return pair.video_a, pair.video_b
    if pair.verdict == "b":
        return pair.video_b, pair.video_a
    outlet.drop("a tie" if pair.verdict == "tie" else "an abstention")
    return None


def speaker_of(label: Pair | Point) -> dict[str, Any]:
    """Return the columns that say who judged."""
    return {"source": label.source, "annotator": label.annotator_or_critic_version}


def _write(files: dict[str, Rows], outlet: Outlet) -> None:
    for dimension, rows in sorted(files.items()):
        outlet.write_json_lines(f"{dimension}.jsonl", rows)
