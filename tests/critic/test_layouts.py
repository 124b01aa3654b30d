"""Tiny checkpoints in the official folder layouts of VILA1.5 and NVILA load, and round-trip."""

import argparse
import io
import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    InternVLVisionConfig,
    InternVLVisionModel,
    PreTrainedTokenizerFast,
)

from dualipo.cli import convert
from dualipo.config import Critic
from dualipo.critic import reasoning, templates, towers, vision
from dualipo.critic.projector import MmProjector
from dualipo.critic.templates import TEMPLATES
from dualipo.critic.vila import PARTS, Vila
from dualipo.errors import ModelError
from tests.critic.conftest import CORPUS, make_query, make_tokenizer, make_vila

SETTINGS = Critic(max_frames=3)
QUERIES = [make_query(), make_query("point", 3, caption="another")]


# As in VILA1.5's config.json, less what transformers writes into every configuration.
VILA_1_5: dict[str, Any] = {
    "_name_or_path": "./vlm",
    "architectures": ["LlavaLlamaModel"],
    "drop_path_rate": 0.0,
    "hidden_size": 32,
    "image_aspect_ratio": "resize",
    "interpolate_mode": "linear",
    "llm_cfg": {
        "_name_or_path": "./llm",
        "architectures": ["LlamaForCausalLM"],
        "model_max_length": 768,
        "model_type": "llama",
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "torch_dtype": "bfloat16",
    },
    "mm_hidden_size": 32,
    "mm_projector_cfg": {
        "_name_or_path": "./mm_projector",
        "architectures": ["MultimodalProjector"],
        "mm_projector_type": "mlp_downsample",
        "model_type": "v2l_projector",
        "torch_dtype": "bfloat16",
    },
    "mm_projector_lr": None,
    "mm_use_im_patch_token": False,
    "mm_use_im_start_end": False,
    "mm_vision_select_feature": "cls_patch",
    "mm_vision_select_layer": -2,
    "model_dtype": "torch.bfloat16",
    "model_type": "llava_llama",
    "num_video_frames": 8,
    "resume_path": "./vlm",
    "s2": False,
    "s2_max_split_size": 336,
    "s2_scales": "336,672,1008",
    "transformers_version": "4.36.2",
    "tune_vision_tower": True,
    "vision_resolution": -1,
    "vision_tower_cfg": {
        "_name_or_path": "./vision_tower",
        "architectures": ["SiglipVisionModel"],
        "image_size": 32,
        "model_type": "siglip_vision_model",
        "torch_dtype": "bfloat16",
    },
}
VICUNA = {
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "clean_up_tokenization_spaces": False,
    "eos_token": "</s>",
    "legacy": False,
    "model_max_length": 1024,
    "pad_token": "<unk>",
    "padding_side": "right",
    "sp_model_kwargs": {},
    "tokenizer_class": "LlamaTokenizer",
    "unk_token": "<unk>",
    "use_default_system_prompt": False,
}
SAYINGS = ("A: good <verdict>A</verdict>", "USER: a ball,  twice\n\nB: schlecht, \u00e9\u65e5")


def marked_tokenizer(*marks: str) -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
    return tokenizer


def answers(critic: Vila) -> torch.Tensor:
    with torch.no_grad():
        return critic.log_probs(QUERIES, ["A: good", "B: bad"])[0]


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
        here, there = f"encoder.layer.{n}", f"encoder.layers.{n}"
        qkv = [ours[f"{here}.attention.{side}_proj.weight"] for side in "qkv"]
        theirs[f"{there}.attn.qkv.weight"] = torch.cat(qkv)
        for part in ("weight", "bias"):
            theirs[f"{there}.attn.proj.{part}"] = ours[f"{here}.attention.projection_layer.{part}"]
            theirs[f"{there}.mlp.fc1.{part}"] = ours[f"{here}.mlp.fc1.{part}"]
            theirs[f"{there}.mlp.fc2.{part}"] = ours[f"{here}.mlp.fc2.{part}"]
        for side in "qk":
            theirs[f"{there}.attn.{side}_norm.weight"] = ours[
                f"{here}.attention.{side}_norm.weight"
            ]
        for number, place in ((1, "before"), (2, "after")):
            theirs[f"{there}.norm{number}.weight"] = ours[f"{here}.layernorm_{place}.weight"]
            theirs[f"{there}.ls{number}"] = ours[f"{here}.lambda_{number}"]
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


def sentencepiece_model() -> bytes:
    """A model of 330 pieces, made as LLaMA's was: bytes for what is rare, spaces kept."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS + ["a red ball rolls"] * 5), model_writer=written,
        vocab_size=330, model_type="bpe", byte_fallback=True, unk_id=0, bos_id=1, eos_id=2,
        pad_id=-1, normalization_rule_name="identity", remove_extra_whitespaces=False,
        num_threads=1, minloglevel=2,
    )  # fmt: skip
    return written.getvalue()


def small_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".safetensors"
    }


def as_of_old(config: Path, **said: Any) -> None:
    """Put what transformers 4 said in the place of what transformers 5 says."""
    now = json.loads(config.read_text())
    kept = {key: value for key, value in now.items() if key not in ("dtype", "rope_parameters")}
    config.write_text(json.dumps(kept | said, indent=2))


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """VILA1.5-13b in small as published: a tokenizer.model alone, transformers 4's configs."""
    folder = tmp_path_factory.mktemp("published") / "VILA1.5-13b"
    words = folder.with_name("tokenizer")
    words.mkdir()
    (words / "tokenizer.model").write_bytes(sentencepiece_model())
    (words / "tokenizer_config.json").write_text(json.dumps(VICUNA, indent=2))
    make_vila(settings=SETTINGS, tokenizer=AutoTokenizer.from_pretrained(words)).save(folder)
    for path in (folder / "llm").glob("tokenizer*"):
        path.unlink()
    shutil.copytree(words, folder / "llm", dirs_exist_ok=True)
    (folder / "config.json").write_text(json.dumps(VILA_1_5, indent=2))
    for part in PARTS:
        as_of_old(folder / part / "config.json", **VILA_1_5[f"{part}_cfg"])
    old = {"do_sample": True, "temperature": 0.9, "top_p": 0.6, "transformers_version": "4.36.2"}
    (folder / "llm" / "generation_config.json").write_text(json.dumps(old))
    (folder / "vision_tower" / "preprocessor_config.json").write_text('{"do_resize": true}')
    weights = load_file(folder / "vision_tower" / "model.safetensors")
    weights = {f"vision_model.{name}": weight for name, weight in weights.items()}
    save_file(weights, folder / "vision_tower" / "model.safetensors", {"format": "pt"})
    return folder


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


def test_nvila_in_small_loads_and_round_trips(tmp_path):
    tokenizer = marked_tokenizer("<|im_start|>", "<|im_end|>")
    make_vila(settings=SETTINGS, tokenizer=tokenizer).save(tmp_path / "nvila")
    MmProjector(32, 32, kind="mlp_downsample_3x3_fix").save(tmp_path / "nvila" / "mm_projector")
    (tmp_path / "nvila" / "config.json").write_text(json.dumps({"model_type": "llava_llama"}))
    critic = Vila.load(tmp_path / "nvila", settings=SETTINGS)
    assert critic.chat_template == "chatml" and critic.module.mm_projector.kind.endswith("3x3_fix")
    with torch.no_grad():
        assert critic.embed_clips(QUERIES)["clip0"].shape == (3, 4, 32)  # 4 x 4, filled to 6 x 6
    critic.save(tmp_path / "again")
    assert torch.equal(answers(Vila.load(tmp_path / "again", settings=SETTINGS)), answers(critic))


def test_nvila_shows_a_frame_of_a_video_at_all_scales_at_once(tmp_path):
    make_vila(settings=SETTINGS).save(tmp_path)
    MmProjector(3 * 32, 32).save(tmp_path / "mm_projector")
    (tmp_path / "config.json").write_text(json.dumps({"dynamic_s2": True}))
    critic = Vila.load(tmp_path, settings=SETTINGS)
    query, tower = make_query("point"), critic.module.vision_tower
    frames = vision.pixels(query.clips[0], clip_id="x", size=(32, 32), settings=SETTINGS)
    with torch.no_grad():
        seen = towers.features(tower, frames)
        expected = critic.module.mm_projector(torch.cat([seen] * 3, -1))
        assert torch.allclose(critic.embed_clips([query])["clip0"], expected, atol=1e-5)


@pytest.mark.parametrize("said", [{"s2": True}, {"mm_vision_select_layer": -1}])
def test_a_tower_that_looks_otherwise_is_refused(vila, tmp_path, said):
    vila.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(said))
    with pytest.raises(ModelError, match="before the last, at one scale"):
        Vila.load(tmp_path, settings=SETTINGS)


def test_a_torn_intern_vit_is_refused(vila_40b):
    folder, _ = vila_40b
    file = folder / "vision_tower" / "model.safetensors"
    whole = load_file(file)
    save_file({k: v for k, v in whole.items() if not k.endswith("ls2")}, file)
    with pytest.raises(Exception, match=r"weights are missing, the first encoder.layer.0.lambda_2"):
        Vila.load(folder, settings=SETTINGS)


def test_a_tokenizer_model_alone_says_what_sentencepiece_says(published):
    critic = Vila.load(published, settings=SETTINGS)
    plain = sentencepiece.SentencePieceProcessor(str(published / "llm" / "tokenizer.model"))
    assert critic.chat_template == "vicuna_v1" and critic.model_max_length == 768
    assert (critic.tokens.start, critic.tokens.end) == ([1], 2)
    for text in SAYINGS:
        ids = critic.tokens.encode(text)
        assert list(ids) == plain.encode(text) and critic.tokens.text(ids) == text


def test_a_published_folder_stays_as_it_was_published(published, tmp_path):
    critic = Vila.load(published, settings=SETTINGS.model_copy(update={"torch_dtype": "bfloat16"}))
    critic.save(tmp_path / "again")
    assert small_files(tmp_path / "again") == small_files(published)
    for part in PARTS:
        ours, theirs = (
            load_file(folder / part / "model.safetensors")
            for folder in (tmp_path / "again", published)
        )
        assert ours.keys() == theirs.keys()


def test_a_published_folder_says_how_its_weights_are_saved_now(published, tmp_path):
    critic = Vila.load(published, settings=SETTINGS)
    critic.save(tmp_path / "again")
    now, before = (
        json.loads((folder / "config.json").read_text())
        for folder in (tmp_path / "again", published)
    )
    for part in PARTS:
        assert now[f"{part}_cfg"].pop("torch_dtype") == "float32"
        assert before[f"{part}_cfg"].pop("torch_dtype") == "bfloat16"
    assert now == before
    again = Vila.load(tmp_path / "again", settings=SETTINGS)
    assert again.hash() == critic.hash() and torch.equal(answers(again), answers(critic))


def test_a_published_intern_vit_stays_as_it_was_published(vila_40b, tmp_path):
    folder, _ = vila_40b
    (folder / "config.json").write_text(json.dumps(VILA_1_5))
    critic = Vila.load(folder, settings=SETTINGS)
    critic.save(tmp_path / "again")
    ours, theirs = (
        load_file(place / "vision_tower" / "model.safetensors")
        for place in (tmp_path / "again", folder)
    )
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in theirs)
    again = Vila.load(tmp_path / "again", settings=SETTINGS)
    assert again.hash() == critic.hash() and torch.equal(answers(again), answers(critic))


def test_a_missing_or_broken_sentencepiece_names_the_remedy(published, tmp_path, monkeypatch):
    folder = shutil.copytree(published, tmp_path / "torn")
    (folder / "llm" / "tokenizer.model").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ModelError, match=r"tokenizer\.model: not a sentencepiece model"):
        Vila.load(folder, settings=SETTINGS)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ModelError, match=r'`pip install -c constraints.txt "\.\[vila\]"`'):
        Vila.load(published, settings=SETTINGS)


def test_weights_split_over_pickles_are_converted_once(published, tmp_path):
    folder = shutil.copytree(published, tmp_path / "split")
    split_into_pickles(folder / "llm")
    with pytest.raises(ModelError, match=f"run `dualipo convert {folder / 'llm'}`"):
        Vila.load(folder, settings=SETTINGS)
    convert.act(argparse.Namespace(source=folder / "llm", target=None))
    ours, theirs = (Vila.load(place, settings=SETTINGS).hash() for place in (folder, published))
    assert ours == theirs


def split_into_pickles(folder: Path) -> None:
    """As transformers 4 saved large models."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places: dict[str, str] = {}
    for number in (0, 1):
        name = f"pytorch_model-{number + 1:05}-of-00002.bin"
        some: Mapping[str, torch.Tensor] = dict(list(weights.items())[number::2])
        torch.save(some, folder / name)
        places |= dict.fromkeys(some, name)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))


# The turn as the models were trained on it, and the token that ends an answer: the first four as
# VILA's conversations have them, the last as Qwen's tokenizers write a chat.
GOLDEN = {
    "vicuna_v1": (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: {} ASSISTANT:",
        True,
        None,
    ),
    "plain": ("USER: {} ASSISTANT:", True, None),
    "llama_3": (
        "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful language and vision "
        "assistant. You are able to understand the visual content that the user provides, and "
        "assist the user with a variety of tasks using natural language.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        True,
        None,
    ),
    "hermes-2": (
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n{}<|im_end|>"
        "<|im_start|>assistant\n",
        False,
        "<|im_end|>",
    ),
    "chatml": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}"
        "<|im_end|>\n<|im_start|>assistant\n",
        False,
        "<|im_end|>",
    ),
}


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_template_writes_the_turn_that_its_models_know(name):
    turn, begins, end = GOLDEN[name]
    query = make_query(question="Which is better?")
    parts = templates.prompt(query, num_frames=[2, 1], style=TEMPLATES[name])
    written = "".join(part if isinstance(part, str) else "<image>" for part in parts)
    asked = f"{reasoning.fence(query.caption)}\nWhich is better?"
    assert written == turn.replace("{}", f"Video A:\n<image>\n<image>\nVideo B:\n<image>\n{asked}")
    assert (TEMPLATES[name].begins, TEMPLATES[name].end) == (begins, end)


def test_what_a_tokenizer_knows_names_the_template():
    assert templates.guess({"a"}) == "vicuna_v1"
    assert templates.guess({"<|start_header_id|>"}) == "llama_3"
    assert templates.guess({"<|im_start|>"}) == "chatml"
