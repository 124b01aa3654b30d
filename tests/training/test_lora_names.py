"""Tests that a LoRA under other names is the same to the programs that read those names."""

from pathlib import Path

import pytest
import torch
from diffusers import WanTransformer3DModel
from peft import PeftModel

from dualipo.errors import ConfigError
from dualipo.store import tensors
from dualipo.training import lora, lora_names
from tests.generator.conftest import make_pipeline


class Settings:
    rank = 4
    lora_alpha = 8


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a LoRA of random weights on a small Wan."""
    model = make_pipeline().transformer
    targets = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
    generator = torch.Generator().manual_seed(1)
    for weight in lora.attach(model, targets=targets, settings=Settings(), seed=0).values():
        weight.data = torch.randn(weight.shape, generator=generator) * 0.1
    path = tmp_path_factory.mktemp("lora") / lora.ADAPTER_FILE
    lora.save(model, path)
    return path


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


def test_comfyui_s_names_of_another_family_are_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="are not known"):
        lora_names.write(
            trained, tmp_path / "x", names="comfyui", model_class="CogVideoXTransformer3DModel"
        )
