"""Scores of other models, in the shapes that these models' projects write."""

import json
from pathlib import Path

import numpy as np
import pytest

from dualipo.critic.asks import Ask
from dualipo.critic.score_file import ScoreFile
from dualipo.errors import DataError
from dualipo.store import atomic
from dualipo.store.clips import write_clip
from tests.critic.conftest import make_clip

A, B = "a" * 64, "b" * 64


def margin(path: Path, dimension="motion", caption="a lamp", clips=(A, B)) -> float:
    query = Ask("x", "pair", caption, dimension, clips).query(lambda clip: make_clip(0))
    [[first, second]] = ScoreFile(path).rewards([query])
    return first - second


VIDEOALIGN = f"""path,prompt,fps,num_frames,reward_VQ,reward_MQ,reward_TA,reward_Overall
clips/aa/{A}.mp4,a lamp,8,9,1.0,2.0,-1.0,0
clips/bb/{B}.mp4,a lamp,8,9,0.0,-2.0,3.0,0
"""
VIDEOSCORE = [
    {"id": A, "text": "a lamp", "ref": "[-1]", "ans": "[2.5, 3.0, 1, 1.5, 2]"},
    {"id": B, "text": "a lamp", "ref": "[-1]", "ans": "[2.0, 1.0, 9, 3.5, 2]"},
]
VISIONREWARD = [{"video_path": f"{A}.mp4", "score": 0.4}, {"video_path": f"{B}.mp4", "score": 0.1}]


@pytest.mark.parametrize(
    ("name", "text", "signs"),
    [
        ("out_single.csv", VIDEOALIGN, (-1, 1, 1)),
        ("videoscore.json", json.dumps(VIDEOSCORE), (-1, 1, 1)),
        ("vision.jsonl", "\n".join(map(json.dumps, VISIONREWARD)), (1, 1, 1)),
    ],
)
def test_what_these_projects_write_is_read(tmp_path, name, text, signs):
    (tmp_path / name).write_text(text)
    for dimension, sign in zip(("consistency", "faithfulness", "motion"), signs, strict=True):
        # Two clips are one spread from their mean, on either side of it.
        assert margin(tmp_path / name, dimension) == pytest.approx(2 * sign)


def test_a_clip_beside_the_table_is_known_by_its_content(tmp_path):
    write_clip(tmp_path / "0.mp4", np.zeros((2, 16, 16, 3), np.uint8), 8)
    sha256 = atomic.sha256_file(tmp_path / "0.mp4")
    rows = [{"id": "0", "score": 1.0, "text": "A  Lamp"}, {"id": B, "score": 0.0, "text": "a dog"}]
    rows.append({"id": sha256, "score": -5.0, "text": "a dog"})
    path = tmp_path / "scores.json"
    path.write_text(json.dumps(rows))
    assert margin(path, clips=(sha256, B)) > 0 > margin(path, caption="a dog", clips=(sha256, B))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"path": f"{A}.mp4", "beauty": 1}], "none of the known columns"),
        ([{"path": f"{A}.mp4", "score": "nan"}], "row 1: `score` is 'nan'"),
        ([{"path": "gone.mp4", "score": 1}], "row 1: gone.mp4: no such clip"),
        ([{"id": A, "ans": "open('x')"}], "none of the known columns"),
        ([{"score": 1}], "row 1: no clip in any of path"),
        ([], "holds no rows"),
    ],
)
def test_a_row_that_says_nothing_is_named(tmp_path, rows, said):
    (tmp_path / "scores.json").write_text(json.dumps(rows))
    with pytest.raises(DataError, match=said.replace("(", r"\(")):
        ScoreFile(tmp_path / "scores.json")


def test_a_clip_without_a_score_is_an_error_and_no_default(tmp_path):
    (tmp_path / "v.jsonl").write_text(json.dumps(VISIONREWARD[0]))
    with pytest.raises(DataError, match=f"no score of 1 clips .* the first {B}"):
        margin(tmp_path / "v.jsonl")
    with pytest.raises(DataError, match="No such file"):
        ScoreFile(tmp_path / "none.csv")
    assert not ScoreFile(tmp_path / "none.csv", may_be_missing=True).knows(A)
