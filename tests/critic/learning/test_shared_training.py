"""Two gloo processes that share a critic train it as one does: SFT, DPO and SRPO."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from dualipo.config import Critic, CriticPreference, CriticTraining
from dualipo.critic.learning import preference, srpo, warm_start
from dualipo.critic.models.vila import Vila
from dualipo.store import tensors
from dualipo.training import early_stop, ranks
from dualipo.training.loop import Metrics
from tests import two_ranks
from tests.critic.conftest import BOTH, make_vila, point, shade
from tests.critic.learning import test_srpo

SIZES: dict[str, Any] = dict(max_train_steps=3, train_batch_size=4, checkpointing_steps=2)
STEPS = SIZES | dict(learning_rate=3e-4, lr_warmup_steps=0)
PAIRS = [
    preference.PathPair(question.ask, question.winners[0], question.loser)
    for question in test_srpo.pool_of().judged
]


class Likelihood(early_stop.Watch):
    """A watch of the winners' log-probabilities, which keeps the weights of its best step."""

    every, patience = 1, 9

    def __init__(self, critic: Vila) -> None:
        self.critic = critic

    def measure(self) -> Metrics:
        asks, winners = [pair.ask for pair in PAIRS], [pair.winner for pair in PAIRS]
        found = preference.path_log_probs(self.critic, asks, winners, clips=shade, batch_size=3)
        return {"likelihood": sum(found)}

    def score(self, measured: Metrics) -> tuple[float, ...]:
        return (measured["likelihood"],)


def sft(critic: Vila, **shared: Any) -> None:
    traces = warm_start.traces([*BOTH, point(0), point(1, "bad")])
    settings = CriticTraining(**STEPS, caption_exchange_share=0.5)
    warm_start.supervise(critic, traces, settings=settings, **shared)


def dpo(critic: Vila, **shared: Any) -> None:
    settings = CriticPreference(**STEPS | {"gradient_accumulation_steps": 2})
    preference.train(critic, PAIRS, settings=settings, reference_batch_size=3, **shared)


def refine(critic: Vila, **shared: Any) -> None:
    refreshed = srpo.refresh(
        critic,
        test_srpo.pool_of(),
        load_sft=lambda: opened(seed=1),
        anchors=PAIRS[:3],
        settings=test_srpo.TRAIN.model_copy(update=STEPS | {"nll_weight": 1.0}),
        batch_size=3,
        watch=Likelihood(critic),
        **shared,
    )
    assert refreshed.status == "trained" and len(refreshed.kept) < 8


TRAININGS: dict[str, Callable[..., None]] = {"sft": sft, "dpo": dpo, "srpo": refine}


def opened(*, seed: int = 0, rank: int = 0, is_learner: bool = False) -> Vila:
    """Make a critic and, if several processes train, share it among them."""

    def load() -> Vila:
        critic = make_vila(
            seed, settings=Critic(max_frames=3, rank=rank, gradient_checkpointing=rank > 0)
        )
        critic.module.vision_tower.requires_grad_(False)  # as it is unless a recipe tunes it
        if is_learner:
            critic.adapt(seed=3)
        return critic

    critic = ranks.in_turn(load)
    critic.shard()
    return critic


def train_all(folder: Path, rank: int) -> None:
    """Do each training from the same critic; the first process writes steps and weights."""
    for name, train in TRAININGS.items():
        steps: list[Metrics] = []
        critic = opened(rank=rank, is_learner=True)
        is_shared = ranks.num_ranks() > 1
        num_parts = sum(map(ranks.is_sharded, critic.module.parameters()))
        assert (num_parts > 0) == is_shared
        train(
            critic,
            clips=shade,
            checkpoint_folder=folder / name,
            seed=5,
            on_step=lambda _, metrics, steps=steps: steps.append(metrics),
        )
        weights = critic.trained_weights()
        if ranks.rank() == 0:
            tensors.save(folder / f"{name}.safetensors", weights, metadata={})
            (folder / f"{name}.json").write_text(json.dumps(steps))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
def test_two_processes_train_a_critic_as_one_does(tmp_path: Path, rank: int) -> None:
    single, double = tmp_path / "one", tmp_path / "two"
    for folder in (single, double):
        folder.mkdir()
    train_all(single, rank)
    two_ranks.act_in_two(lambda _: train_all(double, rank), double)
    start = make_vila().module.state_dict()
    for name in TRAININGS:
        steps = [json.loads((folder / f"{name}.json").read_text()) for folder in (single, double)]
        for alone, shared in zip(*steps, strict=True):
            assert shared["loss"] == pytest.approx(alone["loss"], rel=1e-4)
            assert shared.keys() == alone.keys()
            for metric in shared.keys() - {"accuracy"}:  # of margins that begin at 0
                assert shared[metric] == pytest.approx(alone[metric], rel=1e-3, abs=1e-4)
        trained, shared_weights = (
            tensors.load(folder / f"{name}.safetensors") for folder in (single, double)
        )
        torch.testing.assert_close(shared_weights, trained, rtol=0, atol=1e-5)
        changes = [(weight - start[key]).abs().max() for key, weight in trained.items()]
        assert max(changes) > 1e-4
        critic = make_vila()
        critic.load_trained(shared_weights)
