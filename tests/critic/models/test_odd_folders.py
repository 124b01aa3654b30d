"""A corpus of odd critic folders: each loads and answers as the sound folder, or one error.

The error is a ModelError that names the folder, the part, the fact and the remedy, and it is found
without loading weights; the loader raises the same. What loads can also be saved and loaded again.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from dualipo.config import Critic
from dualipo.critic.models import backends
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.projector import MmProjector
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.errors import ModelError
from tests.critic import vlms
from tests.critic.conftest import make_query, make_tokenizer, make_vila, marked_tokenizer
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
    renamed,
    replaced,
    sharded,
    torn,
    weights,
    with_longer_first,
    without_last,
    written,
)

SAME = None  # loads, and answers as the sound folder does
Rows = dict[str, tuple[Change, str | None]]
WEIGHTS, CONFIG, VOCABULARY = "model.safetensors", "config.json", "tokenizer.json"
# As Vicuna published it: transformers refuses to save such a file unless it is mended.
VICUNA_GENERATION = b'{"temperature": 0.9, "top_p": 0.6, "do_sample": false}'


def marked(place: str, *, size: int) -> Change:
    """Replace a tokenizer by one with so many tokens more."""

    def change(folder: Path) -> None:
        (folder / place / VOCABULARY).unlink()
        marked_tokenizer(*(f"<mark{number}>" for number in range(size))).save_pretrained(
            folder / place
        )

    return change


def endless(folder: Path) -> None:
    """Save a tokenizer that knows no end of sequence."""
    tokenizer = make_tokenizer()
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder)


# A folder of transformers: Qwen2.5-VL and LLaVA-OneVision.
def without_layers(folder: Path) -> None:
    """Take the layers of a language model away, in the table that counts them."""
    config = json.loads((folder / CONFIG).read_text())
    config.get("text_config", config)["num_hidden_layers"] = 0
    (folder / CONFIG).write_text(json.dumps(config))


VLM: Rows = {
    "a copy": (lambda folder: None, SAME),
    "a stray file": (written("README.md", b"# Model\n"), SAME),
    "linked weights": (linked(WEIGHTS), SAME),
    "shards": (sharded(WEIGHTS), SAME),
    "code that nobody runs": (edited(CONFIG, auto_map={"AutoModel": "x.Mine"}), SAME),
    "settings of generation at odds": (written("generation_config.json", VICUNA_GENERATION), SAME),
    "settings of generation torn": (
        written("generation_config.json", b'{"temperature": '),
        r"generation_config\.json: not JSON",
    ),
    "config with a mark": (prefixed(CONFIG, MARK), r"config\.json: begins with a byte-order"),
    "config torn": (torn(CONFIG), r"config\.json: not JSON"),
    "config null": (written(CONFIG, b"null"), "holds no table"),
    "config deep": (written(CONFIG, DEEP), "nested too deeply"),
    "config a folder": (folder_at(CONFIG), r"config\.json: cannot be read \(Is a directory"),
    "no config": (gone(CONFIG), r"config\.json: no such file"),
    "no type": (edited(CONFIG, model_type=None), "model_type None is unknown. Use one of"),
    "another type": (edited(CONFIG, model_type="whisper"), "model_type 'whisper' is unknown"),
    "a type that is a list": (edited(CONFIG, model_type=["qwen2_vl"]), "is unknown"),
    "text config null": (edited(CONFIG, text_config=7), "cannot be read"),
    "a family of another kind": (edited(CONFIG, model_type="smolvlm"), "weights are missing"),
    "quantised": (
        edited(CONFIG, quantization_config={"quant_method": "awq", "bits": 4}),
        r"its weights are quantised \(awq\)",
    ),
    "quantised by nobody": (edited(CONFIG, quantization_config=[4]), "are quantised"),
    "weights in 8 bits": (weights(WEIGHTS, as_type(torch.float8_e4m3fn)), "in F8_E4M3"),
    "a weight is missing": (weights(WEIGHTS, without_last), "weights are missing"),
    "a weight of another shape": (weights(WEIGHTS, with_longer_first), "have another shape"),
    "a weight that is not a number": (
        weights(WEIGHTS, ending_in(float("nan"))),
        "1 weights hold NaN or infinity",
    ),
    "two ids for one token": (
        replaced(VOCABULARY, '"vocab": {', '"vocab": {"a": 1, '),
        r"tokenizer\.json: not JSON \('a' stands in one table with two values",
    ),
    "one id for two tokens": (
        replaced(VOCABULARY, '"vocab": {', '"vocab": {"never said": 77, '),
        r"tokenizer\.json: the id '77' stands 2 times in its vocabulary\.",
    ),
    "weights torn": (torn(WEIGHTS, 0.9), "not whole safetensors"),
    "weights a pointer": (written(WEIGHTS, LFS_POINTER), "a pointer of Git LFS"),
    "weights as fp16 only": (renamed(WEIGHTS, "model.fp16.safetensors"), "variant fp16 only"),
    "weights pickled": (renamed(WEIGHTS, "pytorch_model.bin"), "dualipo convert"),
    "settings of generation for no library": (
        written("generation_config.json", b'{"cache_implementation": "none of these"}'),
        r"generation_config\.json: cannot be read \(ValueError",
    ),
    "no layers in words": (without_layers, "num_hidden_layers is 0, where a number above 0"),
    "no weights": (gone(WEIGHTS), "no weights in it"),
    "a shard is missing": (
        after(sharded(WEIGHTS), gone("model-00001-of-00002.safetensors")),
        "00001-of-00002.safetensors is missing",
    ),
    "vocabulary of a smaller model": (
        lambda folder: make_tokenizer(["a"]).save_pretrained(folder),
        "the model has 320 embeddings",
    ),
    "an adapter": (written("adapter_config.json", b"{}"), "holds an adapter"),
    "no vocabulary": (gone(VOCABULARY), "no vocabulary"),
    "vocabulary torn": (torn(VOCABULARY), r"tokenizer\.json: not JSON"),
    "vocabulary of a larger model": (marked(".", size=500), "the model has 320 embeddi"),
    "tokenizer without an end": (endless, "no end of sequence"),
    "colours torn": (
        written("preprocessor_config.json", b'{"image_mean"'),
        r"preprocessor_config\.json: not JSON",
    ),
    "colours of one number": (
        written("preprocessor_config.json", b'{"image_mean": 0.5, "image_std": 0.5}'),
        "image_mean is 0.5, where three numbers are needed",
    ),
    "colours without deviation": (
        written("preprocessor_config.json", b'{"image_mean": [0, 0, 0], "image_std": [0, 1, 1]}'),
        r"image_std is \[0, 1, 1\]",
    ),
}


def axes(*shares: object) -> Change:
    """Share out the channels of a head otherwise over time, rows and columns."""

    def change(folder: Path) -> None:
        config = json.loads((folder / CONFIG).read_text())
        config["text_config"]["rope_parameters"]["mrope_section"] = list(shares)
        (folder / CONFIG).write_text(json.dumps(config))

    return change


QWEN: Rows = {
    "axes of another head": (
        axes(16, 24, 24),
        r"mrope_section is \[16, 24, 24\], where three numbers of the sum 8 are needed",
    ),
    "two axes": (axes(4, 4), r"mrope_section is \[4, 4\]"),
    "axes in words": (axes("2", "3", "3"), r"mrope_section is \['2', '3', '3'\]"),
    "an axis of less than nothing": (axes(-2, 5, 5), r"mrope_section is \[-2, 5, 5\]"),
}

LLM, TOWER, PROJECTOR = "llm", "vision_tower", "mm_projector"
VILA: Rows = {
    "a copy": (lambda folder: None, SAME),
    "settings of generation at odds": (
        written(f"{LLM}/generation_config.json", VICUNA_GENERATION),
        SAME,
    ),
    "shards of the tower": (sharded(f"{TOWER}/{WEIGHTS}"), SAME),
    "shards of the projector": (sharded(f"{PROJECTOR}/{WEIGHTS}"), SAME),
    "no tower": (gone(TOWER), "no vision_tower/ in it"),
    "config a list": (written(CONFIG, b"[1]"), r"config\.json: holds no table"),
    "no config": (gone(CONFIG), r"config\.json: no such file"),
    "template of another": (edited(CONFIG, chat_template="mpt"), "chat template 'mpt' is unknown"),
    "a template that is a list": (edited(CONFIG, chat_template=["plain"]), "is unknown"),
    "a length in words": (edited(CONFIG, model_max_length="4096"), "model_max_length is '4096'"),
    "a length of nothing": (edited(CONFIG, model_max_length=-1), "model_max_length is -1"),
    "a length that is true": (edited(CONFIG, model_max_length=True), "model_max_length is True"),
    "eyes at several scales": (edited(CONFIG, s2=True), "frames at 1 scales"),
    "tower config torn": (torn(f"{TOWER}/{CONFIG}"), r"vision_tower/config\.json: not JSON"),
    "tower of another kind": (
        edited(f"{TOWER}/{CONFIG}", model_type="clip_vision_model"),
        "vision tower 'clip_vision_model'",
    ),
    "tower of nothing else": (
        edited(f"{TOWER}/{CONFIG}", model_type="intern_vit_6b"),
        "vision_tower: cannot be read",
    ),
    "tower quantised": (
        edited(f"{TOWER}/{CONFIG}", quantization_config={"quant_method": "gptq"}),
        r"vision_tower: its weights are quantised \(gptq\)",
    ),
    "tower without a weight": (
        weights(f"{TOWER}/{WEIGHTS}", without_last),
        "vision_tower: 1 weights are missing",
    ),
    "tower with an infinite weight": (
        weights(f"{TOWER}/{WEIGHTS}", ending_in(float("inf"))),
        "vision_tower.* 1 weights hold NaN or infinity",
    ),
    "projector that is not a number": (
        weights(f"{PROJECTOR}/{WEIGHTS}", ending_in(float("nan"))),
        "mm_projector.* 1 weights hold NaN or infinity",
    ),
    "tower of fewer layers": (
        edited(f"{TOWER}/{CONFIG}", num_hidden_layers=1),
        "vision_tower: .* layers that config.json does not count",
    ),
    "projector of another kind": (
        edited(f"{PROJECTOR}/{CONFIG}", mm_projector_type="resampler"),
        "projector 'resampler'",
    ),
    "projector kind a list": (
        edited(f"{PROJECTOR}/{CONFIG}", mm_projector_type=["linear"]),
        "projector",
    ),
    "projector of other eyes": (
        lambda folder: MmProjector(48, 32).save(folder / PROJECTOR),
        "takes frames at 1.5 scales",
    ),
    "projector of another mind": (
        lambda folder: MmProjector(32, 48).save(folder / PROJECTOR),
        "its projector leads to 48 channels, its language model takes 32",
    ),
    "projector with odd names": (
        weights(f"{PROJECTOR}/{WEIGHTS}", lambda w: {f"x{key}": w[key] for key in w}),
        "not a mlp_downsample projector",
    ),
    "projector in 8 bits": (weights(f"{PROJECTOR}/{WEIGHTS}", as_type(torch.int8)), "quantised"),
    "language model without a weight": (
        weights(f"{LLM}/{WEIGHTS}", without_last),
        "llm: 1 weights are missing",
    ),
    "no vocabulary": (gone(f"{LLM}/{VOCABULARY}"), "llm: no vocabulary"),
    "vocabulary of a larger model": (
        marked(LLM, size=9),
        "llm: its tokenizer has 304 tokens up to id 303",
    ),
}


def answers(critic: ChatCritic) -> torch.Tensor:
    with torch.no_grad():
        return critic.log_probs([make_query()], ["A: good"])[0]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a sound folder of each kind."""
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("vila", *VLM_KINDS)}
    make_vila().save(folders["vila"])
    for kind in VLM_KINDS:
        TransformersVlm(
            vlms.make(kind), tokenizer=wide_tokenizer(), settings=settings_of(kind)
        ).save(folders[kind])
    return folders


VLM_KINDS = ("qwen2_5_vl", "llava_onevision")


def wide_tokenizer() -> Any:
    """Return a tokenizer of about as many tokens as the tiny models have embeddings."""
    missing = vlms.VOCABULARY - len(make_tokenizer())
    return marked_tokenizer(*(f"<mark{number}>" for number in range(missing)))


def settings_of(kind: str) -> Critic:
    backend = "vila" if kind == "vila" else "transformers_vlm"
    return Critic(max_frames=2, max_pixels=1024, backend=backend)


def judge(kind: str, folder: Path, change: Change, fact: str | None, odd: Path) -> None:
    shutil.copytree(folder, odd)
    change(odd)
    settings = settings_of(kind)
    faults = backends.faults(odd, settings=settings)
    if fact is SAME:
        assert not faults
        critic = backends.load(odd, settings=settings)
        expected = answers(backends.load(folder, settings=settings))
        assert torch.equal(answers(critic), expected)
        critic.save(odd.with_name("again"))
        again = backends.load(odd.with_name("again"), settings=settings)
        assert torch.equal(answers(again), expected)
        return
    texts = [str(fault) for fault in faults]
    assert any(re.search(fact, text) for text in texts), texts
    for fault, text in zip(faults, texts, strict=True):
        assert type(fault) is ModelError and len(text) < 700
        assert re.search(r"\. [A-Z].*\.$", text.split(": ", 1)[1]), f"no remedy: {text}"
    with pytest.raises(ModelError, match=re.escape(texts[0])):
        backends.load(odd, settings=settings)


@pytest.mark.parametrize("kind", [VLM_KINDS[0], pytest.param(VLM_KINDS[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", VLM)
def test_fault_68_odd_vlm_folders(
    name: str, kind: str, sound: dict[str, Path], tmp_path: Path
) -> None:
    judge(kind, sound[kind], *VLM[name], tmp_path / "odd")


@pytest.mark.parametrize("name", QWEN)
def test_fault_68_odd_axes_of_positions(name: str, sound: dict[str, Path], tmp_path: Path) -> None:
    judge(VLM_KINDS[0], sound[VLM_KINDS[0]], *QWEN[name], tmp_path / "odd")


@pytest.mark.parametrize("name", VILA)
def test_fault_68_odd_vila_folders(name: str, sound: dict[str, Path], tmp_path: Path) -> None:
    judge("vila", sound["vila"], *VILA[name], tmp_path / "odd")
