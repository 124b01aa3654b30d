"""InternViT as published with VILA1.5-40b: read, used as transformers does, and written back."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    InternVLVisionConfig,
    InternVLVisionModel,
)

from dualipo.config import Critic
from dualipo.critic.models import towers
from dualipo.critic.models.vila import PARTS, Vila
from tests.critic.conftest import QUERIES, answers, make_vila, marked_tokenizer

SETTINGS = Critic(max_frames=3)


def publish_intern_vit(tower: InternVLVisionModel, folder: Path) -> None:
    """Write a tower as OpenGVLab published InternViT-6B: other names, one matrix for q, k, v."""
    ours = tower.state_dict()
    theirs = {
        "embeddings.class_embedding": ours["embeddings.cls_token"],
        "embeddings.position_embedding": ours["embeddings.position_embeddings"],
        "embeddings.patch_embedding.weight": ours["embeddings.patch_embeddings.projection.weight"],
        "embeddings.patch_embedding.bias": ours["embeddings.patch_embeddings.projection.bias"],
    }
    for n in range(tower.config.num_hidden_layers):
        our_layer, their_layer = f"encoder.layer.{n}", f"encoder.layers.{n}"
        qkv = [ours[f"{our_layer}.attention.{side}_proj.weight"] for side in "qkv"]
        theirs[f"{their_layer}.attn.qkv.weight"] = torch.cat(qkv)
        for part in ("weight", "bias"):
            theirs[f"{their_layer}.attn.proj.{part}"] = ours[
                f"{our_layer}.attention.projection_layer.{part}"
            ]
            theirs[f"{their_layer}.mlp.fc1.{part}"] = ours[f"{our_layer}.mlp.fc1.{part}"]
            theirs[f"{their_layer}.mlp.fc2.{part}"] = ours[f"{our_layer}.mlp.fc2.{part}"]
        for side in "qk":
            theirs[f"{their_layer}.attn.{side}_norm.weight"] = ours[
                f"{our_layer}.attention.{side}_norm.weight"
            ]
        for number, place in ((1, "before"), (2, "after")):
            theirs[f"{their_layer}.norm{number}.weight"] = ours[
                f"{our_layer}.layernorm_{place}.weight"
            ]
            theirs[f"{their_layer}.ls{number}"] = ours[f"{our_layer}.lambda_{number}"]
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous().clone() for k, v in theirs.items()}, folder / "model.safetensors")
    config = {
        "model_type": "intern_vit_6b",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 40,
        "patch_size": 8,
        "qkv_bias": False,
        "qk_normalization": True,
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu",
    }
    (folder / "config.json").write_text(json.dumps(config))


@pytest.fixture
def vila_40b(tmp_path) -> tuple[Path, InternVLVisionModel]:
    """VILA1.5-40b in small: InternViT on an odd grid, Hermes-2 in a tokenizer with its marks."""
    torch.manual_seed(1)
    tower = InternVLVisionModel(
        InternVLVisionConfig(
            hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=2,
            image_size=40, patch_size=8, use_qk_norm=True, norm_type="rms_norm",
        )
    ).eval()  # fmt: skip
    for weight in tower.parameters():
        weight.data.normal_(std=0.3)
    folder = tmp_path / "VILA1.5-40b"
    tokenizer = marked_tokenizer("<|startoftext|>", "<|im_start|>", "<|im_end|>")
    make_vila(settings=SETTINGS, tokenizer=tokenizer).save(folder)
    (folder / "vision_tower" / "model.safetensors").unlink()
    publish_intern_vit(tower, folder / "vision_tower")
    said = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "vision_tower" / "preprocessor_config.json").write_text(json.dumps(said))
    (folder / "config.json").write_text(json.dumps({"model_type": "llava_llama"}))
    return folder, tower


def test_a_published_intern_vit_sees_what_transformers_sees(vila_40b):
    folder, tower = vila_40b
    loaded = towers.load(folder / "vision_tower", settings=SETTINGS)
    pixels = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        seen = tower(pixels, output_hidden_states=True).hidden_states[-2][:, 1:]
        assert torch.allclose(towers.features(loaded, pixels), seen, atol=1e-5)
    assert seen.shape == (2, 25, 32)


def test_vila_40b_in_small_loads_and_round_trips(vila_40b, tmp_path):
    folder, _ = vila_40b
    critic = Vila.load(folder, settings=SETTINGS)
    assert critic.chat_template == "hermes-2" and critic.scaling.mean == (0.485, 0.456, 0.406)
    assert critic.tokens.end == critic.tokens.tokenizer.convert_tokens_to_ids("<|im_end|>")
    with torch.no_grad():
        assert critic.embed_clips(QUERIES)["clip0"].shape == (3, 9, 32)  # 5 x 5, filled to 6 x 6
    critic.save(tmp_path / "again")
    again = Vila.load(tmp_path / "again", settings=SETTINGS)
    assert again.hash() == critic.hash() and torch.equal(answers(again), answers(critic))


def test_a_torn_intern_vit_is_refused(vila_40b):
    folder, _ = vila_40b
    file = folder / "vision_tower" / "model.safetensors"
    whole = load_file(file)
    save_file({k: v for k, v in whole.items() if not k.endswith("ls2")}, file)
    with pytest.raises(
        Exception, match=r"weights are missing, the first is encoder.layer.0.lambda_2"
    ):
        Vila.load(folder, settings=SETTINGS)


def test_a_published_intern_vit_stays_as_it_was_published(vila_40b, tmp_path):
    folder, _ = vila_40b
    (folder / "config.json").write_text(json.dumps({f"{part}_cfg": {} for part in PARTS}))
    critic = Vila.load(folder, settings=SETTINGS)
    critic.save(tmp_path / "again")
    ours, theirs = (
        load_file(place / "vision_tower" / "model.safetensors")
        for place in (tmp_path / "again", folder)
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in theirs)
    again = Vila.load(tmp_path / "again", settings=SETTINGS)
    assert again.hash() == critic.hash() and torch.equal(answers(again), answers(critic))
