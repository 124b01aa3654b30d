"""A corpus of odd generator folders: each loads and gives the sound folder's clip, or one error.

The error is a ModelError that names the folder, the part, the fact and the remedy, and it is found
without loading weights; the loader raises the same.
"""

import json
import re
import shutil
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from dualipo.config import Generator
from dualipo.errors import ModelError
from dualipo.generator import backbone
from tests.generator.conftest import PUBLISHED_SCHEDULER, make_tokenizer
from tests.odd_folders import (
    DEEP,
    LFS_POINTER,
    MARK,
    Change,
    after,
    as_type,
    edited,
    ending_in,
    folder_at,
    gone,
    linked,
    prefixed,
    recoded,
    renamed,
    replaced,
    scheduler,
    sentencepiece_alone,
    sharded,
    torn,
    weights,
    with_longer_first,
    without_last,
    written,
)

SAME = None  # loads, and samples the sound folder's clip to the last bit
DIFFUSERS = "diffusion_pytorch_model.safetensors"
TRANSFORMER, VAE, TEXT = (
    f"transformer/{DIFFUSERS}",
    f"vae/{DIFFUSERS}",
    "text_encoder/model.safetensors",
)
VOCABULARY = ("tokenizer/tokenizer.json",)
INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"


def vocabulary(num_pieces: int) -> Change:
    """Replace the tokenizer by another model's, of another size."""

    def change(folder: Path) -> None:
        pieces = [f"▁w{number}" for number in range(num_pieces)]
        make_tokenizer(pieces).save_pretrained(folder / "tokenizer")

    return change


LATENTS = "vae: its config.json needs a latents_mean and a latents_std above 0 for each of the 4"
WAN: dict[str, tuple[Change, str | None]] = {
    "a copy": (lambda folder: None, SAME),
    "a stray file": (written("vae/.DS_Store", b"\x00\x01"), SAME),
    "linked weights": (linked(TRANSFORMER), SAME),
    "an empty part": (edited(INDEX, image_encoder=[None, None]), SAME),
    "code that nobody runs": (edited("text_encoder/config.json", auto_map={"A": "x.A"}), SAME),
    "no tokenizer_config.json": (
        gone("tokenizer/tokenizer_config.json"),  # T5's default has 100 tokens more
        "its tokenizer has 137 tokens up to id 136, the model has 37 embeddings",
    ),
    "shards": (sharded(TRANSFORMER), SAME),
    "shards of text": (sharded(TEXT), SAME),
    "index with a mark": (prefixed(INDEX, MARK), r"model_index\.json: begins with a byte-order"),
    "index torn": (torn(INDEX), r"model_index\.json: not JSON"),
    "index a list": (written(INDEX, b"[1]"), "holds no table"),
    "index null": (written(INDEX, b"null"), "holds no table"),
    "index empty": (written(INDEX, b""), "not JSON"),
    "index deep": (written(INDEX, DEEP), "nested too deeply"),
    "index in UTF-16": (recoded(INDEX, "utf-16"), "not JSON"),
    "index a folder": (folder_at(INDEX), r"no model_index\.json"),
    "index without class": (edited(INDEX, _class_name=None), "its pipeline is None; supported"),
    "index with class 7": (edited(INDEX, _class_name=7), "its pipeline is 7; supported"),
    "index without vae": (edited(INDEX, vae=None), "names no vae"),
    "index with half a part": (edited(INDEX, tokenizer=["transformers"]), "names no tokenizer"),
    "index of foreign code": (
        edited(INDEX, scheduler=["my_code", "Mine"]),
        "Mine of 'my_code', and no foreign code is run",
    ),
    "index of the future": (
        edited(INDEX, tokenizer=["transformers", "T9Tokenizer"]),
        "T9Tokenizer, which the installed transformers does not know",
    ),
    "index with another VAE": (
        edited(INDEX, vae=["diffusers", "AutoencoderKL"]),
        "its vae is AutoencoderKL, where AutoencoderKLWan belongs",
    ),
    "two transformers": (
        edited(INDEX, transformer_2=["diffusers", "WanTransformer3DModel"]),
        r"Wan2\.2 \(two transformers\)",
    ),
    "no vocabulary": (gone(*VOCABULARY), "tokenizer: no vocabulary"),
    "no tokenizer": (gone("tokenizer"), "tokenizer: no such folder"),
    "tokenizer torn": (torn(*VOCABULARY), r"tokenizer\.json: not JSON"),
    "tokenizer with a mark": (prefixed(*VOCABULARY, MARK), r"tokenizer\.json: begins with a byte"),
    "tokenizer empty": (written(*VOCABULARY, b"{}"), "tokenizer: cannot be read"),
    "tokenizer null": (written(*VOCABULARY, b"null"), "holds no table"),
    "tokenizer of a larger model": (vocabulary(90), "its tokenizer has .* the model has 37"),
    "tokenizer of a smaller model": (vocabulary(0), "its tokenizer has .* the model has 37"),
    "tokenizer that pads before a text": (
        edited("tokenizer/tokenizer_config.json", padding_side="left"),
        "tokenizer: its tokenizer pads a text at its beginning",
    ),
    "tokenizer with another end": (
        edited("tokenizer/tokenizer_config.json", eos_token="<unk>"),
        "tokenizer: its tokenizer ends a text with token 2, the text encoder with token 1",
    ),
    "text encoder without layers": (
        edited("text_encoder/config.json", num_layers=0),
        r"text_encoder/config\.json: num_layers is 0, where a number above 0",
    ),
    "an epsilon in quotes": (edited("transformer/config.json", eps="1e-6"), "eps is '1e-6', where"),
    "an epsilon below nothing": (edited("transformer/config.json", eps=-1.0), "eps is -1.0"),
    "VAE without deviations": (edited("vae/config.json", latents_std=None), LATENTS),
    "VAE with a deviation of nothing": (edited("vae/config.json", latents_std=[0] * 4), LATENTS),
    "VAE with too few means": (edited("vae/config.json", latents_mean=[0.0]), LATENTS),
    "VAE with means in words": (edited("vae/config.json", latents_mean=["0"] * 4), LATENTS),
    "VAE with huge means": (edited("vae/config.json", latents_mean=[1e308] * 4), LATENTS),
    "tokenizer that reads nothing": (
        after(vocabulary(0), edited("text_encoder/config.json", vocab_size=30)),
        "text_encoder: 1 weights have another shape",
    ),
    "noise-predicting scheduler": (
        scheduler(DDIMScheduler()),
        "scheduler: DDIMScheduler with prediction_type 'epsilon'.*Wan predicts a flow",
    ),
    "velocity under the same class": (
        edited(SCHEDULER, prediction_type="v_prediction"),
        "with prediction_type 'v_prediction'",
    ),
    "scheduler without sigmas of a flow": (
        edited(SCHEDULER, use_flow_sigmas=False),
        "use_flow_sigmas False",
    ),
    "scheduler that shifts by size": (
        edited(SCHEDULER, use_dynamic_shifting=True),
        "scheduler: ",
    ),
    "scheduler that shifts by nothing": (edited(SCHEDULER, flow_shift=0), "levels by 0, where"),
    "scheduler that shifts backwards": (edited(SCHEDULER, flow_shift=-3.0), "levels by -3.0"),
    "scheduler of 100 steps": (edited(SCHEDULER, num_train_timesteps=100), "100 training timest"),
    "scheduler of nonsense": (edited(SCHEDULER, solver_type="no"), "scheduler: cannot be read"),
    "no scheduler config": (gone(SCHEDULER), r"scheduler_config\.json: no such file"),
    "scheduler config torn": (torn(SCHEDULER), r"scheduler_config\.json: not JSON"),
    "scheduler config a list": (written(SCHEDULER, b"[]"), "holds no table"),
    "transformer as fp16 only": (
        renamed(TRANSFORMER, TRANSFORMER.replace("model.s", "model.fp16.s")),
        r"transformer: .* variant fp16 only.*Rename diffusion_pytorch_model\.fp16",
    ),
    "text encoder as fp16 only": (
        renamed(TEXT, "text_encoder/model.fp16.safetensors"),
        "text_encoder: .* variant fp16 only",
    ),
    "weights under another name": (
        renamed(TRANSFORMER, "transformer/wan.safetensors"),
        r"transformer: wan\.safetensors is not the name",
    ),
    "a shard is missing": (
        after(sharded(TRANSFORMER), gone(TRANSFORMER.replace(".s", "-00002-of-00002.s"))),
        "00002-of-00002.safetensors is missing",
    ),
    "shards without an index": (sharded(TRANSFORMER, index=False), r"index\.json is missing"),
    "index of weights torn": (
        after(sharded(TEXT), torn(f"{TEXT}.index.json")),
        r"index\.json: not JSON",
    ),
    "index names a file outside": (
        after(sharded(TEXT), edited(f"{TEXT}.index.json", weight_map={"a": "../b.safetensors"})),
        "no .*safetensors beside it",
    ),
    "index names no files": (
        after(sharded(TEXT), edited(f"{TEXT}.index.json", weight_map={})),
        "names no files",
    ),
    "index and whole file": (
        after(lambda f: shutil.copy(f / TEXT, f / "x"), sharded(TEXT), renamed("x", TEXT)),
        "which of them counts is not known",
    ),
    "a shard without its weights": (
        after(
            sharded(TRANSFORMER),
            weights(TRANSFORMER.replace(".s", "-00002-of-00002.s"), without_last),
        ),
        "1 of its weights are in no file",
    ),
    "a weight is missing": (weights(TRANSFORMER, without_last), "transformer: 1 weights are miss"),
    "a text weight is missing": (weights(TEXT, without_last), "text_encoder: 2 weights are miss"),
    "a VAE weight is missing": (weights(VAE, without_last), "vae: 1 weights are missing"),
    "a weight of another shape": (
        weights(TRANSFORMER, with_longer_first),
        "transformer: 1 weights have another shape.*where .* is asked for",
    ),
    "weights in 8 bits": (
        weights(TRANSFORMER, as_type(torch.float8_e4m3fn)),
        "transformer: .* weights are quantised, the first is .* in F8_E4M3",
    ),
    "integer weights": (weights(TEXT, as_type(torch.int8)), "text_encoder: .* quantised.* I8"),
    "a weight of no number": (weights(TRANSFORMER, ending_in(nan)), "transformer.* hold NaN or"),
    "an infinite text weight": (weights(TEXT, ending_in(-inf)), "text_encoder.*: 1 weights hold"),
    "a setting with two values": (
        replaced("transformer/config.json", "{", '{"num_layers": 7, '),
        r"transformer/config\.json: not JSON \('num_layers' stands in one table with two values",
    ),
    "a token that stands twice": (
        replaced(*VOCABULARY, '"vocab": [', '"vocab": [["▁ball", -1.0], '),
        r"tokenizer\.json: the token '▁ball' stands 2 times in its vocabulary\.",
    ),
    "weights torn": (torn(TRANSFORMER), "not whole safetensors"),
    "weights empty": (written(VAE, b""), "not whole safetensors"),
    "weights a pointer": (written(VAE, LFS_POINTER), "a pointer of Git LFS.*git lfs pull"),
    "weights pickled": (
        renamed(TRANSFORMER, "transformer/diffusion_pytorch_model.bin"),
        r"transformer: no \*\.safetensors but diffusion_pytorch_model\.bin.*dualipo convert",
    ),
    "weights a folder": (folder_at(TEXT), "text_encoder: no weights in it"),
    "fewer layers in the config": (
        edited("transformer/config.json", num_layers=1),
        "weights are of layers that config.json does not count, the first is blocks.1",
    ),
    "more layers in the config": (edited("transformer/config.json", num_layers=3), "are missing"),
    "a million layers": (edited("transformer/config.json", num_layers=10**6), "is over 1000"),
    "layers in words": (
        edited("transformer/config.json", num_layers="two"),
        "num_layers is 'two', where a number above 0 is needed",
    ),
    "no heads": (edited("text_encoder/config.json", num_heads=0), "text_encoder: cannot be read"),
    "not a number": (
        written("transformer/config.json", b'{"in_channels": NaN}'),
        "NaN is no setting",
    ),
    "another family's transformer": (
        edited("transformer/config.json", _class_name="CogVideoXTransformer3DModel"),
        "says CogVideoXTransformer3DModel, where WanTransformer3DModel belongs",
    ),
    "text encoder of another type": (
        edited("text_encoder/config.json", model_type="t5"),
        "text_encoder: its config.json is of the type 't5'",
    ),
    "text encoder of no type": (
        edited("text_encoder/config.json", model_type=None),
        "is of the type None",
    ),
    "text wider than the transformer's": (
        edited("transformer/config.json", text_dim=64),
        "d_model 32, its transformer text_dim 64",
    ),
    "VAE of other channels": (
        edited("vae/config.json", z_dim=8),
        "vae says z_dim 8, its transformer in_channels 4",
    ),
    "no VAE": (gone("vae"), "vae: no such folder"),
    "no VAE config": (gone("vae/config.json"), r"vae/config\.json: no such file"),
    "VAE config torn": (torn("vae/config.json"), r"vae/config\.json: not JSON"),
    "quantised transformer": (
        edited("transformer/config.json", quantization_config={"quant_method": "bitsandbytes"}),
        r"transformer: its weights are quantised \(bitsandbytes\)",
    ),
    "quantised text encoder": (
        edited("text_encoder/config.json", quantization_config="int4"),
        r"text_encoder: its weights are quantised \(int4\)",
    ),
    "an adapter beside the text encoder": (
        written("text_encoder/adapter_config.json", b'{"base_model_name_or_path": "other"}'),
        "text_encoder: holds an adapter beside a model",
    ),
}

_IDS = make_tokenizer().get_vocab()
PIECES = {piece: -float(_IDS[piece]) for piece in sorted(_IDS, key=_IDS.__getitem__)}
COGVIDEOX: dict[str, tuple[Change, str | None]] = {
    "a copy": (lambda folder: None, SAME),
    "spiece.model alone, as published": (
        sentencepiece_alone("tokenizer", PIECES, pad=0, eos=1, unk=2, bos=-1),
        SAME,
    ),
    "spiece.model torn": (
        after(
            sentencepiece_alone("tokenizer", PIECES, pad=0, eos=1, unk=2, bos=-1),
            torn("tokenizer/spiece.model", 0.7),
        ),
        r"spiece\.model: cannot be read",
    ),
    "spiece.model a pointer": (
        after(gone(*VOCABULARY), written("tokenizer/spiece.model", LFS_POINTER)),
        r"spiece\.model: a pointer of Git LFS",
    ),
    "noise-predicting scheduler": (
        scheduler(DDIMScheduler(**PUBLISHED_SCHEDULER)),
        "its scheduler is DDIMScheduler",
    ),
    "scheduler of noise": (edited(SCHEDULER, prediction_type="epsilon"), "'epsilon'"),
    "scheduler of nothing": (edited(SCHEDULER, prediction_type=None), "prediction_type"),
    "scheduler without noise": (edited(SCHEDULER, snr_shift_scale=0), "its noise does not rise"),
    "scheduler of falling betas": (
        edited(SCHEDULER, beta_start=0.9, beta_end=0.1),
        "its noise does not rise",
    ),
    "scheduler of one beta": (edited(SCHEDULER, trained_betas=[0.1]), "its noise does not rise"),
    "scheduler of a flow": (
        scheduler(FlowMatchEulerDiscreteScheduler()),
        "its scheduler is FlowMatchEulerDiscreteScheduler",
    ),
    "another family's VAE": (
        edited("vae/config.json", _class_name="AutoencoderKLWan"),
        "says AutoencoderKLWan, where AutoencoderKLCogVideoX belongs",
    ),
    "VAE of other channels": (edited("vae/config.json", latent_channels=8), "latent_channels 8"),
    "VAE without a scale": (edited("vae/config.json", scaling_factor=0), "scaling_factor 0 and"),
    "VAE with a scale in words": (edited("vae/config.json", scaling_factor="x"), "factor 'x' and"),
    "VAE with an inverted scale": (
        edited("vae/config.json", invert_scale_latents=True),
        "invert_scale_latents True",
    ),
}


def sampled(folder: Path) -> torch.Tensor:
    """Sample a clip of a folder, from caption to pixels."""
    model = backbone.load(folder, max_sequence_length=8)
    settings = Generator(num_frames=9, height=32, width=32, num_inference_steps=2)
    text_BLD = model.encode_text(["a red ball rolls"])
    return model.decode(model.sample(text_BLD, seeds=[3], settings=settings))


@pytest.fixture(scope="module")
def sound_clips(pipeline_folder: Path, cog_folder: Path) -> dict[Path, torch.Tensor]:
    return {folder: sampled(folder) for folder in (pipeline_folder, cog_folder)}


def judge(sound: Path, change: Change, fact: str | None, odd: Path, clips: Any) -> None:
    shutil.copytree(sound, odd)
    change(odd)
    faults = backbone.faults(odd, max_sequence_length=8)
    if fact is SAME:
        assert not faults and torch.equal(sampled(odd), clips[sound])
        return
    texts = [str(fault) for fault in faults]
    assert any(re.search(fact, text) for text in texts), texts
    for fault, text in zip(faults, texts, strict=True):
        assert type(fault) is ModelError and str(odd) in text and len(text) < 700
        assert re.search(r"\. [A-Z].*\.$", text.split(": ", 1)[1]), f"no remedy: {text}"
    with pytest.raises(ModelError, match=re.escape(texts[0])):
        backbone.load(odd, max_sequence_length=8)


@pytest.mark.parametrize("name", WAN)
def test_fault_68_odd_wan_folders(
    name: str, pipeline_folder: Path, sound_clips: Any, tmp_path: Path
) -> None:
    judge(pipeline_folder, *WAN[name], tmp_path / "odd", sound_clips)


@pytest.mark.parametrize("name", COGVIDEOX)
def test_fault_68_odd_cogvideox_folders(
    name: str, cog_folder: Path, sound_clips: Any, tmp_path: Path
) -> None:
    judge(cog_folder, *COGVIDEOX[name], tmp_path / "odd", sound_clips)


def test_all_faults_of_a_folder_are_told_at_once(pipeline_folder: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copytree(pipeline_folder, tmp_path / "odd"))
    after(gone("vae", *VOCABULARY), scheduler(DDIMScheduler()), torn(TEXT))(odd)
    places = [str(fault).split(": ")[0] for fault in backbone.faults(odd, max_sequence_length=8)]
    assert {"vae", "tokenizer", "scheduler", "model.safetensors"} <= {
        Path(place).name for place in places
    }


def test_a_version_is_judged_as_the_base_is(pipeline_folder: Path, tmp_path: Path) -> None:
    """A trained transformer stands in a folder of its own."""
    version = Path(shutil.copytree(pipeline_folder / "transformer", tmp_path / "version"))
    assert not backbone.faults(pipeline_folder, max_sequence_length=8, transformer_folder=version)
    weights(DIFFUSERS, without_last)(version)
    with pytest.raises(ModelError, match="version: 1 weights are missing"):
        backbone.load(pipeline_folder, max_sequence_length=8, transformer_folder=version)


def test_a_flow_scheduler_of_another_kind_is_taken(pipeline_folder: Path, tmp_path: Path) -> None:
    odd = Path(shutil.copytree(pipeline_folder, tmp_path / "odd"))
    scheduler(FlowMatchEulerDiscreteScheduler(shift=3.0))(odd)
    assert json.loads((odd / INDEX).read_text())["scheduler"][1].startswith("FlowMatch")
    assert sampled(odd).float().std() > 1
