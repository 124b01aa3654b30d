"""Tests that a LoRA under other names is the same to the programs that read those names."""

from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from peft import PeftModel

from dualipo.errors import ConfigError, ModelError
from dualipo.generator.cogvideox import CogVideoX
from dualipo.generator.wan import Wan
from dualipo.store import tensors
from dualipo.training import lora, lora_names
from tests.generator.conftest import make_cogvideox, make_pipeline


class Settings:
    rank = 4
    lora_alpha = 8


def train(model: torch.nn.Module, targets: tuple[str, ...], path: Path) -> Path:
    """Write a LoRA of random weights on the model."""
    generator = torch.Generator().manual_seed(1)
    for weight in lora.attach(model, targets=targets, settings=Settings(), seed=0).values():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    lora.save(model, path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / lora.ADAPTER_FILE
    return train(make_pipeline().transformer, Wan.lora_targets, path)


@pytest.fixture(scope="module")
def trained_cogvideox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lora") / lora.ADAPTER_FILE
    return train(make_cogvideox(rotary=True).transformer, CogVideoX.lora_targets, path)


def outputs(model: WanTransformer3DModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    config = model.config
    latents = torch.randn(1, config.in_channels, 3, 4, 4, generator=generator)
    text = torch.randn(1, 8, config.text_dim, generator=generator)
    with torch.no_grad():
        return model(latents, torch.tensor([500]), text, return_dict=False)[0]


@pytest.mark.slow
def test_peft_and_comfyui_s_names_give_what_diffusers_gives(trained: Path, tmp_path: Path) -> None:
    results = {"none": outputs(make_pipeline().transformer)}
    for names in lora_names.NAMES:
        lora_names.write(trained, tmp_path / names, names=names, model_class=lora_names.WAN)
        pipeline = make_pipeline()
        if names == "peft":
            model = PeftModel.from_pretrained(pipeline.transformer, tmp_path / names)
        else:
            # diffusers turns the names of Wan's first release into its own.
            pipeline.load_lora_weights(tmp_path / names / only_file(tmp_path / names))
            model = pipeline.transformer
        results[names] = outputs(model)
    assert (results["none"] - results["diffusers"]).abs().max() > 1e-3
    torch.testing.assert_close(results["peft"], results["diffusers"])
    torch.testing.assert_close(results["comfyui"], results["diffusers"])


def only_file(folder: Path) -> str:
    (path,) = folder.iterdir()
    return path.name


def test_no_weight_changes(trained: Path, tmp_path: Path) -> None:
    before = [weight for _, weight in sorted(tensors.load(trained).items())]
    for names in lora_names.NAMES:
        lora_names.write(trained, tmp_path / names, names=names, model_class=lora_names.WAN)
        (path,) = (tmp_path / names).glob("*.safetensors")
        after = tensors.load(path)
        assert len(after) == len(before)
        sums = sorted(weight.double().sum().item() for weight in after.values())
        assert sums == sorted(weight.double().sum().item() for weight in before)


def test_cogvideox_has_the_names_of_comfyui_s_own_model(
    trained_cogvideox: Path, tmp_path: Path
) -> None:
    # Its `CogVideoXBlock` has the linear layers q, k, v, attn_out, ff_proj and ff_out.
    lora_names.write(trained_cogvideox, tmp_path, names="comfyui", model_class=lora_names.COGVIDEOX)
    renamed = tensors.load(tmp_path / "lora_comfyui.safetensors")
    layers = ("q", "k", "v", "attn_out", "ff_proj", "ff_out")
    assert renamed.keys() == {
        f"diffusion_model.blocks.{block}.{layer}.lora_{factor}.weight"
        for block in range(2)
        for layer in layers
        for factor in "AB"
    }


@pytest.mark.parametrize("family", [lora_names.WAN, lora_names.COGVIDEOX])
def test_comfyui_s_names_come_back_with_the_same_weights(
    family: str, trained: Path, trained_cogvideox: Path, tmp_path: Path
) -> None:
    path = trained if family == lora_names.WAN else trained_cogvideox
    lora_names.write(path, tmp_path, names="comfyui", model_class=family)
    renamed = tensors.load(tmp_path / "lora_comfyui.safetensors")
    back = {
        lora_names.PREFIX
        + lora_names.from_comfyui(name.removeprefix("diffusion_model."), family): weight
        for name, weight in renamed.items()
    }
    before = tensors.load(path)
    assert back.keys() == before.keys()
    assert all(torch.equal(back[name], weight) for name, weight in before.items())


def test_a_layer_or_a_family_without_names_there_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are not known"):
        lora_names.write(trained, tmp_path / "x", names="comfyui", model_class="UNet2DModel")
    with pytest.raises(ModelError, match=r"blocks\.0\.norm2"):
        lora_names.to_comfyui("blocks.0.norm2.lora_A.weight", lora_names.WAN)
