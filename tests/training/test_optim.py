"""The schedule's shape."""

import pytest

from dualipo.config import Optimizer
from dualipo.training.optim import learning_rate


@pytest.mark.parametrize(
    ("scheduler", "halfway", "last"),
    [("constant", 1.0, 1.0), ("linear", 0.5, 0.1), ("cosine", 0.5, 0.0245)],
)
def test_schedule_warms_up_then_decays(scheduler: str, halfway: float, last: float) -> None:
    settings = Optimizer(
        learning_rate=2.0, max_train_steps=14, lr_warmup_steps=4, lr_scheduler=scheduler
    )
    rates = [learning_rate(step, settings) / 2.0 for step in range(14)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[9] == pytest.approx(halfway)
    assert rates[13] == pytest.approx(last, abs=1e-3)
