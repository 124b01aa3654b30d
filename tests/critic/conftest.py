"""Critics for tests: a random one in VILA's layout, a taught one, a scripted one; and clips."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from dualipo import seeds
from dualipo.config import Critic, CriticTraining
from dualipo.critic.learning import warm_start
from dualipo.critic.models.projector import MmProjector
from dualipo.critic.models.vila import Vila, VilaModule
from dualipo.critic.vlm import Query, ReasoningPath
from dualipo.records import Pair, Point

CORPUS = [
    "A: good normal bad tie",
    "light dark",
    "<verdict>A</verdict>",
    "<grade>good</grade>",
    "B: Grade:",
] * 9


def make_tokenizer(corpus: list[str] = CORPUS, *, vocab_size: int = 320) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def marked_tokenizer(*marks: str) -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(marks)})
    return tokenizer


def make_vila(
    seed: int = 0,
    *,
    settings: Critic | None = None,
    max_length: int = 1024,
    scale: float = 8,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> Vila:
    torch.manual_seed(seed)
    tokenizer = tokenizer or make_tokenizer()
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=max_length,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    vision = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        )
    )
    # Random weights of the usual size make nearly uniform outputs; larger ones make opinions.
    for weight in llm.parameters():
        if weight.ndim > 1:
            weight.data.mul_(scale)
    return Vila(
        VilaModule(llm, vision, MmProjector(32, 32)),
        tokenizer=tokenizer,
        settings=settings or Critic(max_frames=3),
        model_max_length=max_length,
    )


def make_clip(seed: int, num_frames: int = 4, size: int = 32) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)


def make_query(kind: str = "pair", seed: int = 0, **changes) -> Query:
    count = 2 if kind == "pair" else 1
    fields = {
        "kind": kind,
        "caption": "a red ball rolls",
        "dimension": "motion",
        "clips": tuple(make_clip(10 * seed + i) for i in range(count)),
        "clip_hashes": tuple(f"clip{10 * seed + i}" for i in range(count)),
    }
    return Query(**(fields | changes))


QUERIES = [make_query(), make_query("point", 3, caption="another")]


def answers(critic: Vila) -> torch.Tensor:
    """Return the log-probabilities of a fixed answer to each of QUERIES."""
    with torch.no_grad():
        return critic.log_probs(QUERIES, ["A: good", "B: bad"])[0]


@pytest.fixture
def vila() -> Vila:
    return make_vila()


class Scripted:
    """A critic that answers by a rule: `answer(query, seed)` is a text, or None if it runs on."""

    def __init__(self, answer: Callable[[Query, int], str | None]) -> None:
        self.answer = answer
        self.num_asked = 0

    def sample(self, queries, sampling):
        self.num_asked += len(queries) * sampling.num_paths
        return [
            [self._path(query, seed) for seed in row]
            for query, row in zip(queries, sampling.seeds, strict=True)
        ]

    def choice_log_probs(self, queries, prefixes, choices):
        rows = []
        for query in queries:
            text = self.answer(query, 0) or ""
            label = text.rpartition("</")[0].rpartition(">")[2]
            rows.append([0.0 if choice == label else -9.0 for choice in choices])
        return torch.tensor(rows)

    def _path(self, query: Query, seed: int) -> ReasoningPath:
        text = self.answer(query, seed)
        return ReasoningPath(
            "A: runs on" if text is None else text, (seed % 7, 2), -1.0, text is None
        )


def brightest(query: Query, seed: int) -> str:
    """Answer honestly: prefer the brighter clip, and grade by brightness."""
    means = [clip.mean() for clip in query.clips]
    if query.kind == "point":
        return f"light\n<grade>{'good' if means[0] > 127 else 'bad'}</grade>"
    return f"A: light\nB: light\n<verdict>{'A' if means[0] > means[1] else 'B'}</verdict>"


def shade(clip_hash: str) -> np.ndarray:
    """Make a clip as bright as the number in its name."""
    return np.full((4, 32, 32, 3), int(clip_hash.removeprefix("shade")), dtype=np.uint8)


def seed_of(*place) -> int:
    return seeds.derive(0, *place)


SETTINGS = Critic(max_frames=1, max_new_tokens=40)


def pair(number, verdict="a", dimension="motion", **changes):
    fields = {"reason_a": "light", "reason_b": "dark", "grade_a": "good", "grade_b": "bad"}
    clip_a, clip_b = ("shade230", "shade20") if verdict == "a" else ("shade20", "shade230")
    return Pair(
        f"pair{number}", "p", "a lamp", clip_a, clip_b, dimension, verdict, "simulated", "me",
        **(fields | changes),
    )  # fmt: skip


def point(number, grade="good", dimension="motion"):
    shades = {"good": "shade230", "normal": "shade120", "bad": "shade20"}
    return Point(
        f"point{number}", "p", "a lamp", shades[grade], dimension, grade, "simulated", "me", "x"
    )


BOTH = [pair(0), pair(1, "b", grade_a="bad", grade_b="good", reason_a="dark", reason_b="light")]


@pytest.fixture(scope="session")
def taught_folder(tmp_path_factory):
    """Teach a critic to prefer the brighter clip in the grammar, and save it."""
    vila = make_vila(settings=SETTINGS, scale=1)
    result = warm_start.supervise(
        vila,
        warm_start.traces([*BOTH, point(0), point(1, "bad"), point(2, "normal")]),
        clips=shade,
        settings=CriticTraining(learning_rate=1e-2, max_train_steps=150, train_batch_size=7),
        checkpoint_folder=tmp_path_factory.mktemp("sft"),
        seed=0,
    )
    assert result.metrics["loss"] < 0.05
    folder = tmp_path_factory.mktemp("taught")
    vila.save(folder)
    return folder


@pytest.fixture
def taught(taught_folder) -> Vila:
    return Vila.load(taught_folder, settings=SETTINGS)
