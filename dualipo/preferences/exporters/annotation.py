"""Writes formats of labelling tools and benchmarks: VideoAlign's CSV, Label Studio, our own record.

They keep all labels as they were given, contradictions and ties included.
"""

from typing import Any

from dualipo.preferences import label_set
from dualipo.preferences.exporters.outlet import Outlet
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Verdict
from dualipo.store.clips import examine

KEPT = (
    *("prompt", "video_a", "video_b", "dimension", "verdict"),
    *("source", "annotator_or_critic_version"),
)

COLUMN_OF = {"faithfulness": "VQ", "motion": "MQ", "consistency": "TA", "overall": "Overall"}
WORD_OF: dict[Verdict, str] = {"a": "A", "b": "B", "tie": "same", "abstain": "invalid"}
SIDE_OF = {"a": "left", "b": "right"}
LOCAL_FILES = "/data/local-files/?d="

# One question a task: Label Studio's Pairwise holds one choice, and no tie.
CONFIG = """<View>
  <Header value="$dimension"/>
  <Text name="prompt" value="$prompt"/>
  <Pairwise name="pw" toName="v1,v2"/>
  <View style="display: flex">
    <Video name="v1" value="$video_a"/>
    <Video name="v2" value="$video_b"/>
  </View>
  <Choices name="tie" toName="prompt" choice="multiple">
    <Choice value="tie"/>
  </Choices>
  <TextArea name="reason" toName="prompt" placeholder="Why?" rows="2"/>
</View>
"""


def native(labels: LabelSet, outlet: Outlet) -> None:
    """Write `labels.jsonl`, one native record a line, which holds everything that a label says."""
    rows = label_set.to_rows(labels)
    for row in rows:
        for clip in filter(None, (row["video_a"], row["video_b"])):
            outlet.clip(clip)
    outlet.num_rows = len(rows)
    outlet.write_json_lines("labels.jsonl", rows)


def videoalign(labels: LabelSet, outlet: Outlet) -> None:
    """Write `labels.csv`: a row for each caption, pair of clips and annotator.

    A dimension that was not judged is `invalid`.
    """
    rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for pair in labels.pairs:
        column = COLUMN_OF.get(pair.dimension, pair.dimension)
        key = (pair.prompt_id, pair.video_a, pair.video_b)
        same = rows.setdefault((*key, pair.source, pair.annotator_or_critic_version), [])
        row = next((row for row in same if column not in row), None)
        if row is None:
            same.append(row := _videoalign_row(pair, outlet))
        row[column] = WORD_OF[pair.verdict]
        outlet.keep(pair, KEPT)
    for _ in labels.points:
        outlet.drop("a point")
    written = [_filled(row) for same in rows.values() for row in same]
    has_overall = any(row["Overall"] for row in written)
    columns = [name for name in _COLUMNS if name != "Overall" or has_overall]
    outlet.write_csv(
        "labels.csv", [{name: row[name] for name in columns} for row in written], columns
    )


_SIZES = tuple(f"{name}_{side}" for side in "AB" for name in ("fps", "num_frames"))
_COLUMNS = (
    *("path_A", "path_B", "prompt", "VQ", "MQ", "TA", "Overall", *_SIZES),
    *("source", "annotator"),
)


def _videoalign_row(pair: Pair, outlet: Outlet) -> dict[str, Any]:
    row: dict[str, Any] = {"prompt": pair.prompt, "source": pair.source}
    row["annotator"] = pair.annotator_or_critic_version
    for side, clip in (("A", pair.video_a), ("B", pair.video_b)):
        row[f"path_{side}"] = outlet.clip(clip)
        header, _ = examine(outlet.store.path(clip))
        row[f"fps_{side}"] = f"{header.fps:g}"
        row[f"num_frames_{side}"] = header.num_frames
    return row


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    return {"VQ": "invalid", "MQ": "invalid", "TA": "invalid", "Overall": ""} | row


def label_studio(labels: LabelSet, outlet: Outlet) -> None:
    """Write `tasks.json` and `config.xml`: a task for each question, with people's annotations.

    A program's answers are left out, because Label Studio would show them to the annotator.
    """
    tasks: dict[tuple[str, ...], dict[str, Any]] = {}
    for pair in labels.pairs:
        key = (pair.prompt_id, pair.video_a, pair.video_b, pair.dimension)
        task = tasks.setdefault(key, _task(pair, outlet))
        if pair.source == "human" and pair.verdict != "abstain":
            task["annotations"].append(_annotation(pair))
            outlet.keep(pair, (*KEPT, "rationale"))
        else:
            outlet.drop("a question without its answer: no person gave one")
    for _ in labels.points:
        outlet.drop("a point")
    outlet.write_json("tasks.json", list(tasks.values()))
    outlet.write_text("config.xml", CONFIG)


def _task(pair: Pair, outlet: Outlet) -> dict[str, Any]:
    clips = {"video_a": pair.video_a, "video_b": pair.video_b}
    paths = {name: LOCAL_FILES + outlet.clip(clip) for name, clip in clips.items()}
    asked = {"prompt": pair.prompt, "dimension": pair.dimension, **paths}
    return {"data": asked, "annotations": []}


def _annotation(pair: Pair) -> dict[str, Any]:
    if pair.verdict == "tie":
        result = [_result("tie", "prompt", "choices", {"choices": ["tie"]})]
    else:
        # The SDK checks `to_name` against single objects, and takes the first of the two.
        result = [_result("pw", "v1", "pairwise", {"selected": SIDE_OF[pair.verdict]})]
    if pair.rationale:
        result.append(_result("reason", "prompt", "textarea", {"text": [pair.rationale]}))
    # `completed_by` must be a user that Label Studio knows, so the name is kept in `meta`.
    for part in result:
        part["meta"] = {"annotator": pair.annotator_or_critic_version}
    return {"result": result}


def _result(name: str, target: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"from_name": name, "to_name": target, "type": kind, "value": value}
