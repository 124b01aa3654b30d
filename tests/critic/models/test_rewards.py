"""Judges that only have numbers: Bradley and Terry's model with ties, read by the same code."""

import math
import random
from dataclasses import replace

import pytest
import torch

from dualipo.config import Critic, RewardHead
from dualipo.critic import asks, judge
from dualipo.critic.asks import Item
from dualipo.critic.learning import losses, reward_head
from dualipo.critic.learning.reward_head import HeadedCritic
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.trust import forced_choice
from tests.critic.conftest import BOTH, make_vila, pair, seed_of, shade

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


@pytest.mark.parametrize("width", [0.0, 0.3, 2.0])
def test_ties_take_from_both_sides_what_rao_and_kupper_say(width):
    margin_B = torch.tensor([-3.0, 0.0, 0.7], dtype=torch.float64)
    width_B = torch.full_like(margin_B, width)
    log_probs_BV = losses.bradley_terry(margin_B, tie_width_B=width_B)
    swapped_BV = losses.bradley_terry(-margin_B, tie_width_B=width_B)
    assert torch.allclose(log_probs_BV.exp().sum(1), torch.ones(3).double())
    assert torch.allclose(log_probs_BV, swapped_BV.flip(1))
    theta = math.exp(width)
    assert log_probs_BV[1, 1].exp() == pytest.approx((theta - 1) / (theta + 1))
    if width == 0:
        assert torch.allclose(log_probs_BV[:, 0], torch.nn.functional.logsigmoid(margin_B))


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


def test_votes_are_drawn_as_often_as_the_model_says():
    critic = RewardCritic(Brightness(width=1.0))
    items = [Item(f"{n}", "a lamp", ("shade100", "shade132"), ("motion",)) for n in range(300)]
    votes = judge.confirm(critic, items, clips=shade, settings=SETTINGS, seed_of=seed_of)
    likely = losses.bradley_terry(torch.tensor(-1.0), tie_width_B=torch.tensor(1.0)).exp().tolist()
    for outcome, share in zip(("a", "tie", "b"), likely, strict=True):
        assert sum(vote.outcome == outcome for vote in votes) / len(votes) == pytest.approx(
            share, abs=0.04
        )


@pytest.fixture(scope="module")
def headed(tmp_path_factory):
    """Teach a head that the brighter of two clips moves better, and that near ones tie."""
    rng = random.Random(0)
    pairs = []
    for number in range(96):
        first, second = rng.sample(range(0, 256, 8), 2)
        verdict = "tie" if abs(first - second) < 40 else "a" if first > second else "b"
        clips = {"video_a": f"shade{first}", "video_b": f"shade{second}"}
        pairs.append(replace(pair(number, verdict), **clips))
    critic = HeadedCritic.fresh(
        make_vila(settings=Critic(max_frames=1)), settings=RewardHead(width=16), seed=0
    )
    before = critic.base.hash()
    result = reward_head.train(
        critic,
        pairs,
        clips=shade,
        settings=RewardHead(learning_rate=1e-2, max_train_steps=80),
        checkpoint_folder=tmp_path_factory.mktemp("head"),
        seed=0,
    )
    assert result.metrics["accuracy"] > 0.9 and critic.base.hash() == before
    return critic


def test_a_head_learns_what_the_labels_say_and_knows_what_is_average(headed):
    items = [Item("p", "a lamp", ("shade230", "shade20"), ("motion",))]
    margins = forced_choice.margins(RewardCritic(headed), items, clips=shade, settings=SETTINGS)
    assert margins["p", "motion"] > 1 and headed.tie_width("motion") > headed.tie_width(
        "consistency"
    )
    shades = [asks.Ask("x", "point", "a lamp", "motion", (f"shade{n}",)) for n in (0, 128, 248)]
    dark, middling, bright = (r for [r] in headed.rewards(asks.load_queries(shades, shade)))
    assert dark < -0.5 and dark < middling < bright and bright > 0.5


def test_a_saved_head_gives_the_same_rewards(headed, tmp_path):
    headed.save(tmp_path)
    again = HeadedCritic.load(tmp_path, base=headed.base)
    assert again.hash() == headed.hash()
    query = asks.Ask("p", "pair", "a lamp", "motion", ("shade1", "shade9")).query(shade)
    assert again.rewards([query]) == headed.rewards([query])
    fresh = HeadedCritic.fresh(headed.base, settings=RewardHead(width=16), seed=0)
    assert fresh.hash() != headed.hash()


def test_a_training_that_was_cut_off_ends_in_the_same_head(tmp_path):
    settings = RewardHead(width=16, max_train_steps=4, train_batch_size=2, checkpointing_steps=1)

    def trained(folder, on_step=None):
        critic = HeadedCritic.fresh(make_vila(), settings=settings, seed=0)
        given = {"clips": shade, "settings": settings, "checkpoint_folder": tmp_path / folder}
        reward_head.train(critic, BOTH, **given, seed=0, on_step=on_step)
        return critic.hash()

    def cut(step, metrics):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained("cut", cut)
    assert trained("cut") == trained("whole")
