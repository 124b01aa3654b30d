"""Writes layouts for trainers of generators: Flow-Factory's offline JSONL, SimpleTuner's folders.

Both have a folder for each dimension, because a trainer should not mix winners of different
questions. Neither has a place for a tie, nor for a graded clip.
"""

from collections import defaultdict

from dualipo.preferences.exporters.outlet import Outlet
from dualipo.preferences.exporters.training import (
    TRL_KEPT,
    Rows,
    speaker_of,
    winner_and_loser,
)
from dualipo.preferences.label_set import LabelSet
from dualipo.store.clips import examine

SIMPLETUNER_KEPT = ("prompt", "video_a", "video_b", "dimension", "verdict", "pair_id")


def flow_factory(labels: LabelSet, outlet: Outlet) -> None:
    """Write `<dimension>/train.jsonl`, records of version 2, beside their clips."""
    files: defaultdict[str, Rows] = defaultdict(list)
    for pair in labels.pairs:
        if clips := winner_and_loser(pair, outlet):
            chosen, rejected = ({"media": [_video(x, pair.dimension, outlet)]} for x in clips)
            preference = {"type": "preference", "chosen": chosen, "rejected": rejected}
            row = {"schema_version": 2, "input": {"prompt": pair.prompt, "media": []}}
            metadata = {"dimension": pair.dimension} | speaker_of(pair)
            files[pair.dimension].append(row | {"supervision": preference, "metadata": metadata})
            outlet.keep(pair, TRL_KEPT)
    _drop_points(labels, outlet)
    for dimension, rows in sorted(files.items()):
        outlet.write_json_lines(f"{dimension}/train.jsonl", rows)


def _video(clip: str, folder: str, outlet: Outlet) -> dict[str, object]:
    fps = examine(outlet.store.path(clip))[0].fps
    return {"type": "video", "path": outlet.clip(clip, below=folder), "fps": fps}


def simpletuner(labels: LabelSet, outlet: Outlet) -> None:
    """Write `<dimension>/win` and `<dimension>/lose` with clips of one name, and their list.

    `databackend.json` names the two folders as a pair, as SimpleTuner's Flow-DPO takes them.
    """
    for pair in labels.pairs:
        if clips := winner_and_loser(pair, outlet):
            for side, clip in zip(("win", "lose"), clips, strict=True):
                outlet.clip(clip, below=f"{pair.dimension}/{side}", name=f"{pair.pair_id}.mp4")
            outlet.write_text(f"{pair.dimension}/win/{pair.pair_id}.txt", pair.prompt + "\n")
            outlet.keep(pair, SIMPLETUNER_KEPT)
    _drop_points(labels, outlet)
    for dimension in sorted({pair.dimension for pair in labels.pairs}):
        if (outlet.folder / dimension).is_dir():
            outlet.write_json(f"{dimension}/databackend.json", _data_sets(dimension))


def _data_sets(dimension: str) -> list[dict[str, object]]:
    preferred: dict[str, object] = {
        "id": f"{dimension}-preferred",
        "dataset_type": "video",
        "type": "local",
        "instance_data_dir": "win",
        "caption_strategy": "textfile",
        "conditioning_data": [f"{dimension}-rejected"],
    }
    rejected: dict[str, object] = {
        "id": f"{dimension}-rejected",
        "dataset_type": "conditioning",
        "conditioning_type": "reference_strict",
        "type": "local",
        "instance_data_dir": "lose",
        "source_dataset_id": f"{dimension}-preferred",
    }
    return [preferred, rejected]


def _drop_points(labels: LabelSet, outlet: Outlet) -> None:
    for _ in labels.points:
        outlet.drop("a point")
