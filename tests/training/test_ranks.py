"""Two gloo processes judge a step together, before either takes it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dualipo.errors import StageError
from dualipo.training.loop import Metrics
from tests import two_ranks
from tests.training.test_loop import Regression, equal, run, weights


class BrokenOnOneRank(Regression):
    """A regression whose second step has no finite loss on the second rank."""

    def loss(self, micro_batch: dict[str, Any], prepared: Tensor) -> tuple[Tensor, Metrics]:
        loss, metrics = super().loss(micro_batch, prepared)
        is_broken = torch.distributed.get_rank() == 1 and self.num_prepared == 2
        return (loss * float("nan") if is_broken else loss), metrics


@pytest.mark.slow
def test_fault_25_a_loss_that_breaks_on_one_rank_stops_all_before_the_step(tmp_path: Path) -> None:
    def train(rank: int) -> None:
        objective, seen = BrokenOnOneRank(), []
        with pytest.raises(StageError) as stopped:
            run(
                objective, tmp_path / f"checkpoints-{rank}", checkpointing_steps=99,
                on_step=lambda step, _: seen.append(weights(objective)),
            )  # fmt: skip
        assert len(seen) == 1 and equal(seen[0], weights(objective))
        (tmp_path / f"{rank}.txt").write_text(str(stopped.value))

    two_ranks.act_in_two(train, tmp_path)
    for rank in range(2):
        said = (tmp_path / f"{rank}.txt").read_text()
        assert "training step 1: loss" in said and "'1-0'" in said
