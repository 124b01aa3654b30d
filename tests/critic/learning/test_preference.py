"""DPO over reasoning paths starts at the reference and learns the winner."""

import pytest

from dualipo.config import CriticPreference
from dualipo.critic.asks import Ask
from dualipo.critic.learning import preference
from tests.critic.conftest import shade


def test_path_preference_starts_at_ln_2_and_learns(taught, tmp_path):
    ask = Ask("x", "pair", "a lamp", "motion", ("shade230", "shade20"))
    pairs = [
        preference.PathPair(ask, "A: light\nB: dark\n<verdict>A</verdict>", "A: dark\nB: dark")
    ]
    losses = []
    result = preference.train(
        taught,
        pairs,
        clips=shade,
        settings=CriticPreference(
            learning_rate=1e-4, max_train_steps=8, train_batch_size=2, lr_warmup_steps=0
        ),
        reference_batch_size=4,
        checkpoint_folder=tmp_path,
        seed=0,
        on_step=lambda step, metrics: losses.append(metrics["loss"]),
    )
    assert losses[0] == pytest.approx(0.693147, abs=1e-4)
    assert losses[-1] < losses[0] and result.metrics["accuracy"] == 1.0
