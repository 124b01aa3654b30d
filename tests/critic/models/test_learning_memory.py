"""Settings that save memory while a critic learns: what they leave the same, and how nearly."""

from pathlib import Path

import pytest
import torch

from dualipo.config import Critic, CriticTraining
from dualipo.critic.learning import warm_start
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.models.vila import Vila
from tests.critic import vlms
from tests.critic.conftest import BOTH, QUERIES, make_tokenizer, make_vila, shade


def critic_with(kind: str, **changes) -> ChatCritic:
    settings = Critic(max_frames=1, max_pixels=1024, rank=2, **changes)
    if kind == "vila":
        critic = make_vila(settings=settings, scale=1)
    else:
        model = vlms.make(kind, scale=1)
        critic = TransformersVlm(model, tokenizer=make_tokenizer(), settings=settings)
    for name, weight in critic.module.named_parameters():
        weight.requires_grad_("vision_tower" not in name and "patch_embed" not in name)
    critic.module.to(getattr(torch, settings.torch_dtype))
    critic.compress("cpu")
    critic.adapt(seed=0)
    return critic


def taught(critic: ChatCritic, folder: Path, *, rate: float = 1e-2) -> ChatCritic:
    warm_start.supervise(
        critic,
        warm_start.traces(BOTH),
        clips=shade,
        settings=CriticTraining(learning_rate=rate, max_train_steps=3, train_batch_size=2),
        checkpoint_folder=folder,
        seed=0,
    )
    critic.module.eval()
    return critic


def trained_weights(critic: ChatCritic) -> dict[str, torch.Tensor]:
    return {name: w for name, w in critic.module.named_parameters() if w.requires_grad}


@pytest.mark.parametrize("kind", ["vila", "qwen3_vl"])
def test_checkpointing_trains_the_same_weights(kind: str, tmp_path: Path) -> None:
    plain, checkpointed = (
        trained_weights(
            taught(critic_with(kind, gradient_checkpointing=is_on), tmp_path / str(is_on))
        )
        for is_on in (False, True)
    )
    for name, weight in plain.items():
        torch.testing.assert_close(checkpointed[name], weight, rtol=0, atol=1e-7)


def test_checkpointing_keeps_less(tmp_path: Path) -> None:
    kept = {}
    for is_on in (False, True):
        critic = critic_with("vila", gradient_checkpointing=is_on)
        critic.module.train()
        sizes: list[int] = []

        def keep(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.nbytes)
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with critic.learning(), hooks:
            critic.log_probs(QUERIES, ["A: good", "B: bad"])
        kept[is_on] = sum(sizes)
    assert kept[True] < kept[False] / 2


@pytest.mark.parametrize("kind", ["vila", "llava_onevision"])
def test_a_critic_in_four_bits_is_saved_as_what_it_computes(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    critic = taught(critic_with(kind, load_in_4bit=True), tmp_path / "checkpoints")
    with torch.no_grad():
        said = critic.log_probs(QUERIES, ["A: good", "B: bad"])[0]
    critic.save(tmp_path / "critic")
    loaded = type(critic).load(tmp_path / "critic", settings=critic.settings)
    assert loaded.hash() == critic.hash()
    with torch.no_grad():
        torch.testing.assert_close(loaded.log_probs(QUERIES, ["A: good", "B: bad"])[0], said)
    assert not any("quant" in name for name in loaded.module.state_dict())


@pytest.mark.parametrize("kind", ["vila", "qwen2_5_vl"])
def test_fault_71_a_projector_of_half_precision_learns_by_small_steps(
    kind: str, tmp_path: Path
) -> None:
    settings = {"torch_dtype": "bfloat16"}
    critic = taught(critic_with(kind, **settings), tmp_path / "checkpoints", rate=1e-5)
    before = dict(critic_with(kind, **settings).module.named_parameters())
    after = trained_weights(critic)
    projector = {name: weight for name, weight in after.items() if ".lora_" not in name}
    assert len(projector) >= 4
    moved = {name for name, weight in projector.items() if (weight != before[name]).any()}
    assert moved == projector.keys()
    assert all(weight.dtype == torch.float32 for weight in after.values())
    critic.save(tmp_path / "critic")
    assert {weight.dtype for weight in critic.module.parameters()} == {torch.bfloat16}
    assert type(critic).load(tmp_path / "critic", settings=critic.settings).hash() == critic.hash()


def test_a_vila_that_is_judged_stays_as_it_was() -> None:
    assert isinstance(critic_with("vila"), Vila)
    assert critic_with("vila", load_in_4bit=False).hash() == critic_with("vila").hash()
