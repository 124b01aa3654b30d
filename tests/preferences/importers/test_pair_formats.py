"""Tests the import of pairwise data sets, field by field, each with its oddities."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualipo import captions
from dualipo.errors import ConfigError, DataError
from dualipo.preferences import label_set
from dualipo.preferences.importers.collect import turned
from dualipo.preferences.importers.row import Settings
from dualipo.records import Pair
from tests.preferences.conftest import Importer

NameOf = Callable[[str], str]


def named(pair: Pair, name_of: NameOf) -> tuple[str, str, str]:
    """Return the names of clip A and clip B, and the verdict."""
    return name_of(pair.video_a), name_of(pair.video_b), pair.verdict


def winner(pair: Pair) -> str:
    return {"a": pair.video_a, "b": pair.video_b}[pair.verdict]


def test_videoalign_keeps_sides_and_ties_and_counts_what_is_invalid(
    importing: Importer, name_of: NameOf
) -> None:
    imported = importing("videoalign", "videoalign.csv")
    first = [p for p in imported.labels.pairs if p.prompt == 'A cat, on a "red" sofa.']
    assert {p.dimension: named(p, name_of) for p in first} == {
        "faithfulness": ("1_A", "1_B", "a"),
        "motion": ("1_A", "1_B", "tie"),
        "consistency": ("1_A", "1_B", "b"),
        "overall": ("1_A", "1_B", "a"),
    }
    second = [p for p in imported.labels.pairs if p not in first]
    assert {p.dimension: p.verdict for p in second} == {"faithfulness": "b", "consistency": "tie"}
    assert {p.prompt for p in second} == {"A dog runs over two lines."}
    pair = first[0]
    assert (pair.source, pair.annotator_or_critic_version) == ("human", "videoalign")
    assert pair.prompt_id == captions.prompt_id('a CAT,  on a "red" sofa.')
    assert (pair.certainty, pair.order, pair.round, pair.rationale) == (1.0, "ab", -1, "")
    report = imported.report
    assert (report.num_rows, report.num_pairs, report.num_clips) == (2, 6, 4)
    assert report.dropped.first == ["videoalign.csv:4: MQ is `invalid`"]
    assert report.not_kept["fps_A"] == 2 and report.not_kept["MOS_A_VQ"] == 1


def test_trl_names_a_winner_and_the_sides_follow_the_clips(
    importing: Importer, name_of: NameOf
) -> None:
    with pytest.raises(DataError, match=r"row does not say who judged\. Give --source"):
        importing("trl", "trl.jsonl")
    settings = Settings("simulated", "ada", "motion")
    pairs = importing("trl", "trl.jsonl", settings=settings).labels.pairs
    assert [name_of(winner(p)) for p in pairs] == ["1_A", "2_A"]
    assert all(p.video_a < p.video_b for p in pairs)
    assert [(p.source, p.annotator_or_critic_version) for p in pairs] == [
        ("simulated", "ada"),
        ("critic", "c0"),
    ]
    assert [(p.prompt, p.dimension) for p in pairs] == [("A cat.", "motion"), ("A dog.", "motion")]


def test_trl_without_a_prompt_and_with_parts_of_messages(
    importing: Importer, root: Path, name_of: NameOf
) -> None:
    # TRL takes the messages that `chosen` and `rejected` share as the prompt.
    #
    # The content of a message is a text, or a list of parts, each with a `type`.
    asked = {"role": "user", "content": [{"type": "text", "text": "A dog."}]}
    clips = [
        [asked, {"role": "assistant", "content": [{"type": "video", "video": f"videos/{n}.mp4"}]}]
        for n in ("1_A", "1_B")
    ]
    row = {"chosen": clips[0], "rejected": clips[1], "score_chosen": 9.0}
    (root / "implicit.json").write_text(json.dumps([row]))
    imported = importing("trl", "implicit.json", settings=Settings("human"))
    (pair,) = imported.labels.pairs
    assert (pair.prompt, name_of(winner(pair))) == ("A dog.", "1_A")
    assert imported.report.not_kept == {"score_chosen": 1}
    plain = {"chosen": "A dog. videos/1_A.mp4", "rejected": "A dog. videos/1_B.mp4"}
    (root / "implicit.json").write_text(json.dumps([plain]))
    with pytest.raises(DataError, match="no conversations that begin with it"):
        importing("trl", "implicit.json", settings=Settings("human"))


def test_videodpo_joins_two_files_and_is_a_program_s_judgement(
    importing: Importer, name_of: NameOf
) -> None:
    # The origin's dataset takes `video1` as winner and `video2` as loser, and reads no `label`.
    #
    # Its trainer weighs a pair by (0.72 / score) ** dupbeta: `score` is a frequency and not a
    # certainty.
    options = {"strip_prefix": "/elsewhere/set/"}
    imported = importing("videodpo", "videodpo/pair.json", **options)
    assert [name_of(winner(p)) for p in imported.labels.pairs] == ["1_A", "2_A"]
    assert [p.certainty for p in imported.labels.pairs] == [1.0, 1.0]
    assert {p.source for p in imported.labels.pairs} == {"critic"}
    assert {p.dimension for p in imported.labels.pairs} == {"overall"}
    assert imported.report.not_kept == {"score": 1, "diff_score": 1, "label": 1}
    with pytest.raises(ConfigError, match="a program made these labels"):
        importing("videodpo", "videodpo/pair.json", settings=Settings("human"), **options)


def test_hpdv3_keeps_votes_and_confidence_with_the_preferred_image(importing: Importer) -> None:
    with pytest.raises(ConfigError, match="Give --images"):
        importing("hpdv3", "hpdv3.json")
    imported = importing("hpdv3", "hpdv3.json", images=True)
    first, second = imported.labels.pairs
    voted = first if first.verdict == "a" else turned(first)
    assert (voted.votes_a, voted.votes_b, voted.certainty) == (12, 7, 0.875)
    assert (second.votes_a, second.votes_b, second.certainty) == (0, 0, 1.0)
    assert winner(second) != winner(first) and {first.dimension} == {"overall"}
    store = label_set.clip_store(imported.output)
    assert store.read(winner(first)).shape == (1, 12, 17, 3)
    assert imported.report.not_kept == {"model1": 2, "model2": 2}
    with pytest.raises(ConfigError, match="images do not move"):
        importing("hpdv3", "hpdv3.json", settings=Settings(dimension="motion"), images=True)


def test_pick_a_pic_has_images_in_its_rows_and_a_tie_is_a_half(
    importing: Importer, root: Path
) -> None:
    images = [(root / "images" / f"{n}.jpg").read_bytes() for n in range(3)]
    rows = [
        row(images[0], images[1], 1.0, user_id=4),
        row(images[0], images[1], 0.0, user_id=5),
        row(images[1], images[2], 0.5, user_id=4),
        row(images[1], images[2], 0.5, has_label=False),
    ]
    pq.write_table(pa.Table.from_pylist(rows), root / "pick.parquet")
    imported = importing("pickapic", "pick.parquet", images=True)
    pairs = imported.labels.pairs
    assert [p.verdict for p in pairs] == ["a", "b", "tie"]
    assert [p.annotator_or_critic_version for p in pairs] == ["4", "5", "4"]
    store = label_set.clip_store(imported.output)
    pixels = [int(np.median(store.read(p.video_a))) for p in pairs]
    assert pixels[0] == pixels[1] != pixels[2]
    assert imported.report.dropped.first == ["pick.parquet:4: has_label is false"]
    assert {"image_0_url", "image_0_uid", "model_0", "label_1"} == imported.report.not_kept.keys()
    # Two people disagree about one question: both labels are kept, neither is used.
    assert imported.report.excluded == {"contradictory": 2} and imported.report.agreement == 0.5


def row(jpg_0: bytes, jpg_1: bytes, label_0: float, **rest: object) -> dict[str, object]:
    """Make a row as Pick-a-Pic's parquet files have it."""
    return {
        "caption": "a castle",
        "jpg_0": jpg_0,
        "jpg_1": jpg_1,
        "label_0": label_0,
        "label_1": 1.0 - label_0 or None,
        "image_0_uid": "u",
        "image_0_url": "http://127.0.0.1:9/0.png",
        "model_0": "sdxl",
        "has_label": True,
        "user_id": None,
    } | rest
