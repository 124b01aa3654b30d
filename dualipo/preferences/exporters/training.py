"""What trainers read: TRL's two preference formats, and a Hugging Face videofolder.

A winner and a loser cannot say a tie, nor desirable or not a Normal: those labels are dropped and
counted. `source` and `annotator` stand beside TRL's columns, which TRL ignores, so that a
program's label never comes back as a person's.
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
    """`<dimension>.jsonl` with `prompt`, `chosen`, `rejected`: one file a dimension."""
    files: defaultdict[str, Rows] = defaultdict(list)
    for pair in labels.pairs:
        if found := _winner_and_loser(pair, outlet):
            winner, loser = found
            row = {"prompt": pair.prompt}
            row |= {"chosen": outlet.clip(winner), "rejected": outlet.clip(loser)}
            files[pair.dimension].append(row | _speaker(pair))
            outlet.keep(pair, TRL_KEPT)
    for _ in labels.points:
        outlet.drop("a point: export trl-kto")
    _write(files, outlet)


def trl_kto(labels: LabelSet, outlet: Outlet) -> None:
    """`<dimension>.jsonl` with `prompt`, `completion`, `label`: Good is desirable, Bad is not."""
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
    """`pairs/` and `points/`, each a folder that `datasets` loads with its `metadata.jsonl`."""
    pairs: Rows = []
    for pair in labels.pairs:
        if found := _winner_and_loser(pair, outlet):
            chosen, rejected = (outlet.clip(clip, below="pairs") for clip in found)
            row = {"chosen_file_name": chosen, "rejected_file_name": rejected, "id": pair.pair_id}
            pairs.append(row | _told(pair))
            outlet.keep(pair, FOLDER_KEPT)
    points: Rows = []
    for point in labels.points:
        row = {"file_name": outlet.clip(point.video, below="points"), "id": point.point_id}
        points.append(row | _told(point) | {"grade": point.grade})
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


def _told(label: Pair | Point) -> dict[str, Any]:
    names = ("prompt", "dimension", "certainty", "rationale", "round")
    return {name: getattr(label, name) for name in names} | _speaker(label)


def _write(files: dict[str, Rows], outlet: Outlet) -> None:
    for dimension, rows in sorted(files.items()):
        outlet.write_json_lines(f"{dimension}.jsonl", rows)
