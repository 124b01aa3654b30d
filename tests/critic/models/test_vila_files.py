"""VILA1.5 in small as it is published: read, converted, and written back as it was."""

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
from transformers import AutoTokenizer

from dualipo.cli import convert
from dualipo.config import Critic
from dualipo.critic.models.vila import PARTS, Vila
from dualipo.errors import ModelError
from tests.critic.conftest import CORPUS, answers, make_vila

SETTINGS = Critic(max_frames=3)
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


def sentencepiece_model() -> bytes:
    """Train a model of 330 pieces as LLaMA's was: rare characters as bytes, spaces kept."""
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


def test_a_missing_or_broken_sentencepiece_names_the_remedy(published, tmp_path, monkeypatch):
    folder = shutil.copytree(published, tmp_path / "torn")
    (folder / "llm" / "tokenizer.model").write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(ModelError, match=r"tokenizer\.model: a pointer of Git LFS"):
        Vila.load(folder, settings=SETTINGS)
    (folder / "llm" / "tokenizer.model").write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"tokenizer\.model: cannot be read"):
        Vila.load(folder, settings=SETTINGS)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ModelError, match=r"sentencepiece.*`pip install -c constraints.txt \.`"):
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
    """Split the weights over pickled files, as transformers 4 saved large models."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    places: dict[str, str] = {}
    for number in (0, 1):
        name = f"pytorch_model-{number + 1:05}-of-00002.bin"
        part: Mapping[str, torch.Tensor] = dict(list(weights.items())[number::2])
        torch.save(part, folder / name)
        places |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
