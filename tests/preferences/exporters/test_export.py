"""Tests that exported labels come back, except for the fields that the export reports as lost."""

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy import ndimage

from dualipo import captions
from dualipo.errors import ConfigError, MediaError
from dualipo.preferences import label_set
from dualipo.preferences.exporters.export import export_labels, read_source
from dualipo.preferences.exporters.outlet import DERIVED, Outlet
from dualipo.preferences.importers.load import Options, import_labels
from dualipo.preferences.importers.row import Settings
from dualipo.preferences.label_set import LabelSet
from dualipo.records import GRADES, LABELLED_DIMENSIONS, Pair, Point, Source, Verdict
from dualipo.store import atomic
from dualipo.store.clips import ClipStore, probe, read_clip
from tests.preferences.conftest import tree

WORDS = ('a "cat"', "a dog, running", "Käse = 3", "=1+1")
ALL = LABELLED_DIMENSIONS
# Names that are made anew where a file has none.
IDS = {"pair_id", "point_id", *DERIVED}
FILES = {"videoalign": "labels.csv", "native": "labels.jsonl", "label-studio": "tasks.json"}


@pytest.fixture
def store(tmp_path: Path) -> ClipStore:
    store = ClipStore(tmp_path / "made")
    for shade in range(4):
        store.put(np.full((3, 16, 16, 3), 60 * shade, np.uint8), 8)
    return store


@pytest.fixture
def labels(store: ClipStore) -> LabelSet:
    """Draw random labels, each of a caption of its own; A is the smaller hash, as TRL needs."""
    rng = random.Random(0)
    clips = sorted(path.stem for path in store.folder.rglob("*.mp4"))
    pairs, points = [], []
    for n in range(40):
        caption = f"{rng.choice(WORDS)} {n}"
        a, b = sorted(rng.sample(clips, 2))
        common: dict[str, Any] = {
            "prompt_id": captions.prompt_id(caption),
            "prompt": caption,
            "dimension": ALL[n % 4],
            "source": rng.choice(get_args(Source)),
            "annotator_or_critic_version": rng.choice(["ann1", "ben"]),
            "rationale": rng.choice(["", "A is sharp, B is not."]),
        }
        verdict = rng.choice(get_args(Verdict))
        votes = {"votes_a": n % 3, "certainty": rng.choice([1.0, 0.5]), "round": n % 2}
        pair = Pair(pair_id=f"pair{n}", video_a=a, video_b=b, verdict=verdict, **common, **votes)
        pairs.append(pair)
        grade = rng.choice(GRADES)
        points.append(Point(point_id=f"point{n}", video=a, grade=grade, **common))
    return LabelSet(tuple(pairs), tuple(points))


def back(format_name: str, folder: Path, output: Path, names: dict[str, Settings]) -> LabelSet:
    """Import each file of an export into one label set."""
    for name, settings in names.items():
        import_labels(
            format_name,
            [folder / name],
            root=folder,
            output=output,
            options=Options(settings=settings),
        )
    return label_set.read(output)


def said(label: Pair | Point, lost: set[str]) -> str:
    """Return all fields but the lost ones, as a text that sorts."""
    return json.dumps({k: v for k, v in asdict(label).items() if k not in lost}, sort_keys=True)


def same(kept: list[Any], imported: Any, outlet: Outlet) -> bool:
    lost = IDS | outlet.not_kept.keys()
    return sorted(said(x, lost) for x in kept) == sorted(said(x, lost) for x in imported)


def test_the_native_record_comes_back_whole(
    labels: LabelSet, store: ClipStore, tmp_path: Path
) -> None:
    outlet = export_labels("native", labels, store, output=tmp_path / "out", original=True)
    assert not outlet.not_kept and not outlet.dropped and outlet.num_rows == 80
    imported = back("native", tmp_path / "out", tmp_path / "set", {"labels.jsonl": Settings()})
    assert imported == labels
    once = export_labels(
        "native", imported, label_set.clip_store(tmp_path / "set"), output=tmp_path / "b"
    )
    assert once.text() == outlet.text() and tree(tmp_path / "b") == tree(tmp_path / "out")


@pytest.mark.parametrize("format_name", ["videoalign", "label-studio"])
def test_annotation_formats_lose_what_they_say(
    labels: LabelSet, store: ClipStore, tmp_path: Path, format_name: str
) -> None:
    outlet = export_labels(format_name, labels, store, output=tmp_path / "out", original=True)
    file = {FILES[format_name]: Settings()}
    imported = back(format_name, tmp_path / "out", tmp_path / "set", file)
    kept = [p for p in labels.pairs if p.verdict != "abstain"]
    if format_name == "label-studio":
        kept = [p for p in kept if p.source == "human"]
    assert imported.pairs and same(kept, imported.pairs, outlet)
    assert outlet.dropped["a point"] == 40 and not imported.points
    assert {"certainty", "votes_a", "round"} <= outlet.not_kept.keys()
    assert ("rationale" in outlet.not_kept) == (format_name == "videoalign")


def test_trl_has_a_file_a_dimension_and_its_own_columns(
    labels: LabelSet, store: ClipStore, tmp_path: Path
) -> None:
    outlet = export_labels("trl", labels, store, output=tmp_path / "out", original=True)
    names = {f"{dimension}.jsonl": Settings() for dimension in ALL}  # every row says it all
    rows = [json.loads(line) for line in (tmp_path / "out/motion.jsonl").open()]
    assert rows[0].keys() == {"prompt", "chosen", "rejected", "dimension", "source", "annotator"}
    imported = back("trl", tmp_path / "out", tmp_path / "set", names)
    kept = [p for p in labels.pairs if p.verdict in ("a", "b")]
    assert same(kept, imported.pairs, outlet) and len(kept) > 10
    ties = sum(p.verdict == "tie" for p in labels.pairs)
    assert outlet.dropped["a tie"] == ties and outlet.dropped["abstained"] == 40 - len(kept) - ties


def test_trl_s_own_functions_read_our_rows(
    labels: LabelSet, store: ClipStore, tmp_path: Path
) -> None:
    # TRL makes single answers of pairs by itself, which come back through its other format.
    data_utils = pytest.importorskip("trl.data_utils")
    datasets = pytest.importorskip("datasets")
    export_labels("trl", labels, store, output=tmp_path / "out", original=True)
    loaded = datasets.load_dataset(
        "json", data_files=str(tmp_path / "out/motion.jsonl"), cache_dir=str(tmp_path / "cache")
    )["train"].select_columns(["prompt", "chosen", "rejected"])
    assert not data_utils.is_conversational(loaded[0])
    assert data_utils.maybe_extract_prompt(loaded[0]) == loaded[0]
    single = data_utils.unpair_preference_dataset(loaded)
    single.to_json(tmp_path / "out/single.jsonl")
    motion = {"single.jsonl": Settings("human", dimension="motion")}
    points = back("trl-kto", tmp_path / "out", tmp_path / "set", motion).points
    wins = {
        (pair.video_a if pair.verdict == "a" else pair.video_b, pair.prompt_id)
        for pair in labels.pairs
        if pair.dimension == "motion" and pair.verdict in ("a", "b")
    }
    assert {(p.video, p.prompt_id) for p in points if p.grade == "good"} == wins


def test_trl_kto_keeps_good_and_bad(labels: LabelSet, store: ClipStore, tmp_path: Path) -> None:
    outlet = export_labels("trl-kto", labels, store, output=tmp_path / "out", original=True)
    names = {f"{dimension}.jsonl": Settings() for dimension in ALL}  # every row says it all
    imported = back("trl-kto", tmp_path / "out", tmp_path / "set", names)
    kept = [p for p in labels.points if p.grade != "normal"]
    assert same(kept, imported.points, outlet)
    assert outlet.dropped["graded Normal"] == 40 - len(kept)
    assert outlet.not_kept["rationale"] > 0


def test_a_videofolder_comes_back_whole(labels: LabelSet, store: ClipStore, tmp_path: Path) -> None:
    outlet = export_labels("videofolder", labels, store, output=tmp_path / "out", original=True)
    assert not outlet.not_kept
    abstained = sum(pair.verdict == "abstain" for pair in labels.pairs)
    assert outlet.dropped == {"abstained": abstained}
    imported = back("videofolder", tmp_path, tmp_path / "set", {"out": Settings()})
    kept = [pair for pair in labels.pairs if pair.verdict != "abstain"]
    assert same([*kept, *labels.points], imported.every, outlet)


@pytest.mark.slow
def test_datasets_loads_a_videofolder_as_it_is_printed(
    labels: LabelSet, store: ClipStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    output = tmp_path / "out"
    export_labels("videofolder", labels, store, output=output)
    for name, columns in (
        ("pairs", ("chosen", "rejected")),
        ("ties", ("a", "b")),
        ("points", ("video",)),
    ):
        table = datasets.load_dataset(str(output), name, cache_dir=str(tmp_path / "cache"))["train"]
        rows = (output / name / "metadata.jsonl").read_text().splitlines()
        assert len(table) == len(rows) > 0
        assert {"prompt", "dimension", "source", "annotator"} <= {*table.column_names}
        for column in columns:
            assert isinstance(table.features[column], datasets.Video)
            table = table.cast_column(column, datasets.Video(decode=False))
        for column in columns:
            assert read_clip(Path(table[0][column]["path"])).shape == (3, 16, 16, 3)


def test_clips_that_leave_play_everywhere(
    labels: LabelSet, store: ClipStore, tmp_path: Path
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 15, 17, 3), np.uint8)
    smooth = np.asarray([ndimage.gaussian_filter(frame, (3, 3, 0)) for frame in frames])
    clip = store.put(smooth, 8)
    pair = replace(next(p for p in labels.pairs if p.verdict == "a"), video_a=clip)
    export_labels("trl", LabelSet((pair,)), store, output=tmp_path / "out")
    left = tmp_path / "out" / "clips" / clip[:2] / f"{clip}.mp4"
    assert probe(store.path(clip)).encoding == "mp4 h264 yuvj444p"
    assert probe(left).encoding == "mp4 h264 yuv420p"
    shown = read_clip(left)
    assert shown.shape == (3, 16, 18, 3) and probe(left).fps == 8
    assert np.abs(shown[:, :15, :17].astype(int) - smooth).mean() < 4
    for format_name in ("native", "trl"):
        output = tmp_path / f"{format_name}-original"
        export_labels(format_name, LabelSet((pair,)), store, output=output, original=True)
        kept = output / "clips" / clip[:2] / f"{clip}.mp4"
        assert kept.read_bytes() == store.path(clip).read_bytes()
    # A clip that plays everywhere already is copied as it is.
    imported = back(
        "trl", tmp_path / "out", tmp_path / "set", {f"{pair.dimension}.jsonl": Settings("human")}
    )
    again = label_set.clip_store(tmp_path / "set")
    export_labels("trl", imported, again, output=tmp_path / "again")
    assert {path.stem for path in (tmp_path / "again").rglob("*.mp4")} == {*imported.clips}
    assert all(
        atomic.sha256_file(path) == path.stem for path in (tmp_path / "again").rglob("*.mp4")
    )


@pytest.mark.parametrize("format_name", ["flow-factory", "simpletuner"])
def test_trainers_layouts_come_back(
    labels: LabelSet, store: ClipStore, tmp_path: Path, format_name: str
) -> None:
    outlet = export_labels(format_name, labels, store, output=tmp_path / "out", original=True)
    table = {"flow-factory": "train.jsonl", "simpletuner": "databackend.json"}[format_name]
    for dimension in ALL:
        import_labels(
            format_name,
            [tmp_path / "out" / dimension / table],
            root=tmp_path / "out" / dimension,
            output=tmp_path / "set",
            options=Options(settings=Settings("human", dimension=dimension)),  # type: ignore[arg-type]
        )
    imported = label_set.read(tmp_path / "set")
    kept = [pair for pair in labels.pairs if pair.verdict in ("a", "b")]
    lost = {"source", "annotator_or_critic_version"} if format_name == "simpletuner" else set()
    assert not lost - outlet.not_kept.keys()
    assert same(kept, imported.pairs, outlet) and outlet.dropped["a point"] == 40


def test_label_studio_s_own_rules(labels: LabelSet, store: ClipStore, tmp_path: Path) -> None:
    # Its importer takes `completed_by` only if it is a member's number or address, and its SDK
    # wants one object of the control in `to_name`.
    export_labels("label-studio", labels, store, output=tmp_path / "out")
    tasks = json.loads((tmp_path / "out/tasks.json").read_text())
    annotations = [each for task in tasks for each in task["annotations"]]
    assert annotations and all(each.keys() == {"result"} for each in annotations)
    results = [result for each in annotations for result in each["result"]]
    assert {result["to_name"] for result in results} <= {"v1", "prompt"}
    assert {result["meta"]["annotator"] for result in results} == {"ann1", "ben"}
    sdk = pytest.importorskip("label_studio_sdk.label_interface")
    interface = sdk.LabelInterface((tmp_path / "out/config.xml").read_text())
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})
        assert all(interface.validate_annotation(each) for each in task["annotations"])


def test_contradictions_stay_out_of_what_trainers_read_only(
    labels: LabelSet, store: ClipStore, tmp_path: Path
) -> None:
    pair = next(p for p in labels.pairs if p.verdict == "a" and p.dimension == "overall")
    split = LabelSet((pair, replace(pair, pair_id="other", verdict="b")))
    trl = export_labels("trl", split, store, output=tmp_path / "trl")
    assert (trl.num_rows, trl.dropped) == (0, {"contradictory": 2})
    assert export_labels("videoalign", split, store, output=tmp_path / "align").num_rows == 2
    header, *rows = (tmp_path / "align/labels.csv").read_text().splitlines()
    assert len(rows) == 2 and header.split(",")[6] == "Overall"


def test_a_folder_in_use_is_refused_and_a_failure_leaves_none(
    labels: LabelSet, store: ClipStore, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"it exists already\. Delete it"):
        export_labels("trl", labels, store, output=tmp_path)
    before = tree(tmp_path)
    with pytest.raises(MediaError, match=r"this clip is missing\. Restore it"):
        export_labels("native", labels, ClipStore(tmp_path / "none"), output=tmp_path / "out")
    assert tree(tmp_path) == before
    with pytest.raises(ConfigError, match="this is no run, so it has no rounds"):
        read_source(tmp_path, round=0)
