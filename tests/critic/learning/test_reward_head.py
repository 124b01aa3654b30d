"""The reward head: it learns from pairs, knows what is average, and resumes."""

import random
from dataclasses import replace

import pytest

from dualipo.config import Critic, RewardHead
from dualipo.critic import asks
from dualipo.critic.asks import Item
from dualipo.critic.learning import reward_head
from dualipo.critic.learning.reward_head import HeadedCritic
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.trust import forced_choice
from tests.critic.conftest import BOTH, make_vila, pair, shade

SETTINGS = Critic(max_frames=1)


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
