"""Judges that only have numbers: Bradley and Terry's model with ties, read by the same code."""

import pytest
import torch

from dualipo.config import Critic
from dualipo.critic import judge
from dualipo.critic.asks import Item
from dualipo.critic.learning import losses
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.trust import forced_choice
from tests.critic.conftest import seed_of, shade

SETTINGS = Critic(max_frames=1, num_votes=8, temperature=1.0)


class Brightness:
    """A known reward: a clip's brightness. A tie is a margin under `width`."""

    def __init__(self, width: float = 0.0) -> None:
        self.width = width

    def rewards(self, queries):
        return [[float(clip.mean()) / 32 - 4 for clip in query.clips] for query in queries]

    def tie_width(self, dimension) -> float:
        return self.width

    def hash(self) -> str:
        return "brightness"


def test_rewards_score_vote_and_choose_by_the_usual_code():
    critic = RewardCritic(Brightness())
    clips = [f"shade{n}" for n in (20, 90, 160, 230)]
    points = [Item(clip, "a lamp", (clip,), ("motion",)) for clip in clips]
    votes = judge.score(critic, points, clips=shade, settings=SETTINGS, seed_of=seed_of)
    scores = judge.expected_scores(votes)
    assert [scores[c, "motion"] for c in clips] == sorted(scores.values())
    both = [Item("p", "a lamp", ("shade230", "shade20")), Item("q", "a lamp", (clips[1], clips[2]))]
    margins = forced_choice.margins(critic, both, clips=shade, settings=SETTINGS)
    assert margins["p", "motion"] == pytest.approx(210 / 32) and margins["q", "motion"] < 0
    votes = judge.confirm(critic, both, clips=shade, settings=SETTINGS, seed_of=seed_of)
    assert {vote.outcome for vote in votes if vote.item == "p"} == {"a"}
    assert judge.abstain_rate(votes) == 0


def test_equal_rewards_are_a_tie_and_no_flip_of_a_coin():
    critic = RewardCritic(Brightness())
    items = [Item("p", "a lamp", ("shade90", "shade90"), ("motion",))]
    votes = judge.confirm(critic, items, clips=shade, settings=SETTINGS, seed_of=seed_of)
    assert {vote.outcome for vote in votes} == {"tie"}
    margins = forced_choice.margins(critic, items, clips=shade, settings=SETTINGS)
    assert margins["p", "motion"] == 0


def test_votes_are_drawn_as_often_as_the_model_says():
    critic = RewardCritic(Brightness(width=1.0))
    items = [Item(f"{n}", "a lamp", ("shade100", "shade132"), ("motion",)) for n in range(300)]
    votes = judge.confirm(critic, items, clips=shade, settings=SETTINGS, seed_of=seed_of)
    likely = losses.bradley_terry(torch.tensor(-1.0), tie_width_B=torch.tensor(1.0)).exp().tolist()
    for outcome, share in zip(("a", "tie", "b"), likely, strict=True):
        assert sum(vote.outcome == outcome for vote in votes) / len(votes) == pytest.approx(
            share, abs=0.04
        )
