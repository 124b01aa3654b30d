"""Writes a Hugging Face videofolder, which `datasets` loads by the names of its configurations.

    README.md               a card that names the configurations: `load_dataset(OUT, "pairs")`
    pairs/metadata.jsonl    `chosen_file_name` and `rejected_file_name`, which become video columns
    ties/metadata.jsonl     `a_file_name` and `b_file_name`
    points/metadata.jsonl   `file_name`

A row has every field of its label, so that an import takes it back whole.
"""

from dataclasses import asdict
from typing import Any

from dualipo.preferences.exporters.card import dataset_card
from dualipo.preferences.exporters.outlet import Outlet
from dualipo.preferences.exporters.training import Rows, speaker_of
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point

# Fields of a label that the row says by other names, or that an import makes anew.
OTHERWISE = (
    *("pair_id", "point_id", "prompt_id", "video_a", "video_b", "video", "schema_version"),
    "annotator_or_critic_version",
)


def write(labels: LabelSet, outlet: Outlet) -> None:
    """Write the folder; abstentions are left out before, because they say nothing."""
    pairs: Rows = []
    ties: Rows = []
    for pair in labels.pairs:
        if pair.verdict == "tie":
            ties.append(_row(pair, outlet, "ties", a=pair.video_a, b=pair.video_b))
        else:
            winner, loser = pair.video_a, pair.video_b
            if pair.verdict == "b":
                winner, loser = loser, winner
            pairs.append(_row(pair, outlet, "pairs", chosen=winner, rejected=loser))
    points = [_row(point, outlet, "points", **{"": point.video}) for point in labels.points]
    for name, rows in (("pairs", pairs), ("ties", ties), ("points", points)):
        outlet.write_json_lines(f"{name}/metadata.jsonl", rows)
    outlet.write_text("README.md", dataset_card(labels, outlet))


def _row(label: Pair | Point, outlet: Outlet, folder: str, **clips: str) -> dict[str, Any]:
    """Put a label's clips below the folder and return its row, with file names first."""
    row: dict[str, Any] = {
        f"{name}_file_name".lstrip("_"): outlet.clip(clip, below=folder)
        for name, clip in clips.items()
    }
    outlet.keep(label, asdict(label))
    row["id"] = label.pair_id if isinstance(label, Pair) else label.point_id
    fields = {name: value for name, value in asdict(label).items() if name not in OTHERWISE}
    return row | fields | speaker_of(label)
