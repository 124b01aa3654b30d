"""Scores of other models, in the shapes that these models' projects write."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from dualipo.config import Critic
from dualipo.critic import judge
from dualipo.critic.asks import Ask, Item
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.models.score_file import Scale, ScoreFile
from dualipo.critic.trust import forced_choice
from dualipo.errors import DataError
from dualipo.store import atomic
from tests.critic.conftest import make_clip, seed_of
from tests.video_files import write_clip

A, B, C = "a" * 64, "b" * 64, "c" * 64


def margin(table: Path | ScoreFile, dimension="motion", caption="a lamp", clips=(A, B)) -> float:
    scores = table if isinstance(table, ScoreFile) else ScoreFile(table)
    query = Ask("x", "pair", caption, dimension, clips).query(shown)
    [[first, second]] = scores.rewards([query])
    return first - second


def shown(clip_hash: str) -> np.ndarray:
    return make_clip(0)


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
        ([{"path": f"{A}.mp4", "score": "nan"}], ":1: `score` is 'nan'"),
        ([{"path": "gone.mp4", "score": 1}], ":1: gone.mp4: no such clip"),
        ([{"id": A, "ans": "open('x')"}], "none of the known columns"),
        ([{"score": 1}], ":1: no clip in any of path"),
        ([{"id": A, "score": 1}, {"id": A, "score": 2}], ":1: an earlier row gives the same clip"),
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
    with pytest.raises(DataError, match="no such file"):
        ScoreFile(tmp_path / "none.csv")
    assert not ScoreFile(tmp_path / "none.csv", may_be_missing=True).knows(A)


def test_a_scale_that_was_kept_outlasts_the_rows_that_come_later(tmp_path):
    table = tmp_path / "scores.csv"
    table.write_text(VIDEOALIGN)
    before, kept = margin(table), ScoreFile(table).scale
    table.write_text(f"{VIDEOALIGN}clips/cc/{C}.mp4,a lamp,8,9,90.0,90.0,90.0,0\n")
    assert margin(table) < before / 2  # the file as it stands
    again = ScoreFile(table, scale=Scale(**json.loads(json.dumps(asdict(kept)))))
    assert margin(again) == before


def test_a_match_with_a_caption_that_was_not_scored_is_not_known(tmp_path):
    table = tmp_path / "scores.csv"
    table.write_text(VIDEOALIGN)
    scores, critic = ScoreFile(table), RewardCritic(ScoreFile(table))
    assert math.isnan(margin(table, "consistency", caption="a dog"))
    assert margin(table, "motion", caption="a dog") == margin(table, "motion")
    assert margin(table, "consistency", caption="A  Lamp") < 0
    items = [Item("own", "a lamp", (A, B)), Item("other", "a dog", (A, B))]
    margins = forced_choice.margins(critic, items, clips=shown, settings=Critic())
    assert ("own", "consistency") in margins and ("other", "consistency") not in margins
    votes = judge.score(
        critic, [Item("x", "a dog", (A,))], clips=shown, settings=Critic(), seed_of=seed_of
    )
    assert {v.dimension for v in votes if v.outcome == "abstain"} == {"consistency"}
    scores.require([(A, "a lamp"), (B, "A Lamp")])
    assert scores.knows(A) and not scores.knows(A, caption="a dog")
    with pytest.raises(DataError, match=f"no score of 1 clips .* the first {A}"):
        scores.require([(A, "a dog"), (B, "a lamp")])
    table.write_text("\n".join(line.replace("a lamp", "") for line in VIDEOALIGN.splitlines()))
    assert ScoreFile(table).knows(A, caption="a dog")  # a row without a caption is the clip's own
