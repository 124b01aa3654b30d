"""The estimate of the recipes of reality, before any download, and of the embedded models."""

import math
from pathlib import Path

import pytest
from torch import nn

from dualipo import config
from dualipo.config import Config, Critic
from dualipo.critic.models import backends
from dualipo.errors import ConfigError, ModelError
from dualipo.rounds import critic_memory, estimating
from dualipo.rounds.run import model_folder
from dualipo.store import tensors
from dualipo.training import optim

RECIPES = Path(__file__).parents[2] / "recipes"
GENERATORS = {"cogvideox-2b": 1.69e9, "cogvideox-5b": 5.57e9, "wan2.1-1.3b": 1.42e9}


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_recipes_of_reality_are_estimated_before_a_download(name: str) -> None:
    settings = [config.load(RECIPES / f"{name}-{critic}.toml") for critic in ("vila", "qwen")]
    differing = {
        key.split(".")[0]
        for key, value in config.leaves(settings[0]).items()
        if value != config.leaves(settings[1])[key]
    }
    assert differing == {"output_dir", "critic"}
    needs = estimating.estimate(settings[0])
    assert needs.footprint.num_parameters == pytest.approx(GENERATORS[name], rel=0.01)
    num_numbers = 800_000 * 16 * (13 * 60 * 90 if "cog" in name else 21 * 60 * 104)
    assert needs.disk["latents"] == 2 * num_numbers  # of one round, as they go when it is over
    keeping = config.load(RECIPES / f"{name}-vila.toml", ["generator.keep_latents=true"])
    assert estimating.estimate(keeping).disk["latents"] == 3 * needs.disk["latents"]
    errors = needs.disk["reference errors of an alignment at most"]
    assert errors == 100_000 * 2 * 4 * settings[0].align.num_slots
    one_clip = num_numbers / 800_000 * 2 + 2 * math.prod(needs.footprint.text_shape)
    assert needs.disk["real clips"] == 2048 * one_clip
    disk = next(line for line in estimating.lines(settings[0]) if line.startswith("disk"))
    assert "clips at quantizer 12" in disk and "lossless" not in disk
    assert needs.flops["sampling"] > 0.9 * sum(needs.flops.values())  # METHOD.md 2
    assert sum(needs.aligning_memory.values()) < 80e9


@pytest.mark.slow
def test_the_hosts_memory_is_told_and_bounded_by_the_setting() -> None:
    size = {"num_frames": 81, "height": 480, "width": 832, "clip_qp": 12}
    wan = config.load(RECIPES / "wan2.1-1.3b-vila.toml")
    clip = 81 * 480 * 832 * 3
    large = wan.model_copy(update={"generator": wan.generator.model_copy(update=size)})
    host = estimating.estimate(large).host_memory
    assert host["decoded clips that are kept"] == large.critic.decoded_clips_mb << 20
    # Six questions about a pair: three dimensions, in both orders.
    num_judged = math.ceil(large.critic.judge_batch_size / 3)
    assert host["clips of a batch of questions"] == num_judged * clip
    assert host["a model that is read"] > 10e9  # the text encoder in two bytes a number
    line = next(line for line in estimating.lines(large) if line.startswith("memory of the host"))
    assert "decoded clips that are kept 2.15 GB" in line


def test_a_folder_that_is_missing_and_unknown_is_refused() -> None:
    generator = {"pretrained_model_name_or_path": "models/my-own"}
    with pytest.raises(ModelError, match="models/my-own: no such folder"):
        estimating.lines(Config.model_validate({"generator": generator}))


def test_a_size_that_the_generator_cannot_make_is_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match="10 frames"):
        estimating.lines(Config.model_validate({"generator": {"num_frames": 10}}))


@pytest.mark.slow
def test_full_training_and_kto_are_counted_as_they_are() -> None:
    full, adapter, kto = (
        estimating.estimate(Config.model_validate({"align": align}))
        for align in ({}, {"rank": 4}, {"loss_type": "kto"})
    )
    num = full.footprint.num_parameters
    assert full.aligning_memory["optimizer"] == 8 * num == 8 * full.footprint.num_trained
    assert adapter.aligning_memory["optimizer"] == 8 * adapter.footprint.num_trained < 8 * num / 5
    shared = Config.model_validate({"align": {"num_processes": 4}})
    memory = estimating.estimate(shared).aligning_memory
    assert memory["optimizer"] == full.aligning_memory["optimizer"] / 4
    assert "activations of 12 clips" in memory
    # 16 pairs or points a step, beside 16 real clips.
    assert "activations of 48 clips" in full.aligning_memory
    assert "activations of 32 clips" in kto.aligning_memory


def test_an_adapter_of_the_critic_takes_no_moments_of_all_weights() -> None:
    whole, adapter = (
        critic_memory.memory(Config.model_validate(tree)) for tree in ({}, {"critic": {"rank": 4}})
    )
    num = critic_memory.num_parameters(Config())
    for use in ("the critic's fine-tuning", "the critic's warm start by DPO"):
        assert whole[use]["weights"] == 4 * num
        assert 4 * num < adapter[use]["weights"] < 4.4 * num
        assert whole[use]["optimizer"] == 2 * whole[use]["gradients"]
        assert adapter[use]["optimizer"] < whole[use]["optimizer"] / 5
    # The tower does not learn, so it has no gradients.
    assert 0.7 * 4 * num < whole["the critic's fine-tuning"]["gradients"] < 4 * num


@pytest.mark.parametrize("rank", [0, 4])
def test_a_shared_critic_holds_its_share_of_the_layers_and_all_of_the_rest(rank: int) -> None:
    critic = backends.load(model_folder("embedded", "critic"), settings=Critic(rank=rank))
    critic.adapt(seed=0)
    blocks = [
        layer for layer in critic.llm.get_decoder().layers.modules() if isinstance(layer, nn.Linear)
    ]
    in_blocks = sum(w.numel() for layer in blocks for w in layer.parameters() if w.requires_grad)
    trained = sum(w.numel() for w in optim.trainable(critic.module).values())
    alone, shared = (
        Config.model_validate({"critic": {"num_processes": num, "rank": rank}}) for num in (1, 4)
    )
    whole, held = (
        critic_memory.memory(each)["the critic's fine-tuning"] for each in (alone, shared)
    )
    assert held["optimizer"] == 8 * (trained - in_blocks * 3 / 4) < whole["optimizer"]
    assert held["weights"] < whole["weights"]
    assert any("of 8 paths" in use for use in held) and any("of 32 paths" in use for use in whole)
    said = critic_memory.lines(shared)
    assert "memory of the device, the critic judging" in said[1]
    assert "memory of each of 4 devices, the critic's fine-tuning" in said[2]


def test_the_critic_is_counted_by_its_files() -> None:
    weights = model_folder("embedded", "critic").rglob("*.safetensors")
    num = sum(tensor.numel() for path in weights for tensor in tensors.load(path).values())
    assert any(f"critic: {num / 1e6:.3g} million" in line for line in estimating.lines(Config()))
