"""Writes formats for trainers: TRL's two preference formats, and a Hugging Face videofolder.

Ties have no place in a format of winners and losers, nor does Normal in one of desirable and
undesirable clips: those labels are dropped and counted. The columns `source` and `annotator`, which
TRL ignores, keep a program's label from being imported as a person's.
"""

from collections import defaultdict
from typing import Any

from dualipo.preferences.exporters.outlet import Outlet
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point

Rows = list[dict[str, Any]]

ANYONE = ("source", "annotator_or_critic_version")
TRL_KEPT = ("prompt", "video_a", "video_b", "video", "dimension", "verdict", "grade", *ANYONE)
FOLDER_KEPT = (*TRL_KEPT, "certainty", "rationale", "round", "pair_id", "point_id")


def trl(labels: LabelSet, outlet: Outlet) -> None:
    """Write `<dimension>.jsonl` with `prompt`, `chosen`, `rejected` for each dimension."""
    files: defaultdict[str, Rows] = defaultdict(list)
    for pair in labels.pairs:
        if clips := _winner_and_loser(pair, outlet):
            winner, loser = clips
            row = {"prompt": pair.prompt}
            row |= {"chosen": outlet.clip(winner), "rejected": outlet.clip(loser)}
            files[pair.dimension].append(row | _speaker(pair))
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
        row = {"prompt": point.prompt, "completion": outlet.clip(point.video)}
        files[point.dimension].append(row | {"label": point.grade == "good"} | _speaker(point))
        outlet.keep(point, TRL_KEPT)
    for _ in labels.pairs:
        outlet.drop("a pair: export trl")
    _write(files, outlet)


def videofolder(labels: LabelSet, outlet: Outlet) -> None:
    """Write `pairs/` and `points/`, folders that `datasets` loads by their `metadata.jsonl`."""
    pairs: Rows = []
    for pair in labels.pairs:
        if clips := _winner_and_loser(pair, outlet):
            chosen, rejected = (outlet.clip(clip, below="pairs") for clip in clips)
            row = {"chosen_file_name": chosen, "rejected_file_name": rejected, "id": pair.pair_id}
            pairs.append(row | _fields(pair))
            outlet.keep(pair, FOLDER_KEPT)
    points: Rows = []
    for point in labels.points:
        row = {"file_name": outlet.clip(point.video, below="points"), "id": point.point_id}
        points.append(row | _fields(point) | {"grade": point.grade})
        outlet.keep(point, FOLDER_KEPT)
    outlet.write_json_lines("pairs/metadata.jsonl", pairs)
    outlet.write_json_lines("points/metadata.jsonl", points)


def _winner_and_loser(pair: Pair, outlet: Outlet) -> tuple[str, str] | None:
    if pair.verdict == "a":
        return pair.video_a, pair.video_b
    if pair.verdict == "b":
        return pair.video_b, pair.video_a
    outlet.drop("a tie" if pair.verdict == "tie" else "an abstention")
    return None


def _speaker(label: Pair | Point) -> dict[str, Any]:
    return {"source": label.source, "annotator": label.annotator_or_critic_version}


def _fields(label: Pair | Point) -> dict[str, Any]:
    names = ("prompt", "dimension", "certainty", "rationale", "round")
    return {name: getattr(label, name) for name in names} | _speaker(label)


def _write(files: dict[str, Rows], outlet: Outlet) -> None:
    for dimension, rows in sorted(files.items()):
        outlet.write_json_lines(f"{dimension}.jsonl", rows)
