"""DPO over reasoning paths starts at the reference, learns the winner and teaches no place."""

import math
from dataclasses import replace

import pytest
import torch

from dualipo.config import CriticPreference
from dualipo.critic.asks import Ask
from dualipo.critic.learning import preference
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.models.vila import Vila
from tests.critic.conftest import SETTINGS, shade

ASK = Ask("x", "pair", "a lamp", "motion", ("shade230", "shade20"))
FIRST = "A: light\nB: dark\n<verdict>A</verdict>"
SECOND = "A: dark\nB: light\n<verdict>B</verdict>"
TRAIN = CriticPreference(
    learning_rate=1e-4, max_train_steps=8, train_batch_size=2, lr_warmup_steps=0, nll_weight=0
)


def train(critic, pairs, folder, **settings):
    steps = []
    preference.train(
        critic,
        pairs,
        clips=shade,
        settings=TRAIN.model_copy(update=settings),
        reference_batch_size=4,
        checkpoint_folder=folder,
        seed=0,
        on_step=lambda step, metrics: steps.append(metrics),
    )
    return steps


def test_path_preference_starts_at_ln_2_and_learns(taught, tmp_path):
    steps = train(taught, [PathPair(ASK, FIRST, "A: dark\nB: dark")], tmp_path)
    assert steps[0]["loss"] == pytest.approx(math.log(2), abs=1e-4)
    assert steps[-1]["loss"] < steps[0]["loss"] and steps[-1]["accuracy"] == 1.0


def test_a_preference_is_learnt_in_both_orders_of_its_clips():
    [there, back] = preference.in_both_orders(PathPair(ASK, FIRST, SECOND, weight=0.7))
    assert there == PathPair(ASK, FIRST, SECOND, weight=0.7)
    assert back == PathPair(ASK.swapped(), SECOND, FIRST, weight=0.7)
    assert preference.in_both_orders(back) == (back, there)
    point = replace(ASK, kind="point", clip_hashes=("shade230",))
    for alone in (
        PathPair(point, "A: light\n<grade>good</grade>", "A: dark\n<grade>bad</grade>"),
        PathPair(ASK, FIRST, "no answer at all"),
        PathPair(ASK, (1, 2), (3, 2)),
    ):
        assert preference.in_both_orders(alone) == (alone, alone)


def test_a_preference_and_its_exchange_teach_the_same(taught_folder, tmp_path):
    """Else the place in which the winner happened to stand would be learnt with it."""

    def weights(name, pair):
        critic = Vila.load(taught_folder, settings=SETTINGS)
        train(critic, [pair], tmp_path / name, nll_weight=1, learning_rate=1e-3)
        return torch.cat([own.flatten() for own in critic.module.llm.state_dict().values()])

    before = Vila.load(taught_folder, settings=SETTINGS).module.llm.state_dict().values()
    start = torch.cat([own.flatten() for own in before])
    there = weights("there", PathPair(ASK, FIRST, SECOND))
    back = weights("back", PathPair(ASK.swapped(), SECOND, FIRST))
    assert (there - back).norm() < 0.02 * (there - start).norm()
