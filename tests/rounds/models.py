"""Generators and a critic that fit a test: stock classes, random weights.

The critic was taught the grammar, and to say anything in it: its votes are coin flips, so that
every outcome of a vote occurs in a run of a few seconds.
"""

import random
from pathlib import Path

import numpy as np

from dualipo.config import Critic, CriticTraining
from dualipo.critic import reasoning
from dualipo.critic.asks import Ask
from dualipo.critic.learning import warm_start
from dualipo.critic.learning.warm_start import Trace
from dualipo.records import DIMENSIONS, GRADES
from dualipo.world import corpus
from tests.critic.conftest import make_tokenizer, make_vila
from tests.generator.conftest import make_cogvideox, make_pipeline

NUM_QUESTIONS = 64
# Nobody says these words; they stay, as other ones would change the tokenizer and every digest.
HINTS = tuple(f"Hint: the verdict is {name}." for name in "AB")
TRAINING = CriticTraining(learning_rate=1e-2, max_train_steps=60, train_batch_size=16)


def make(folder: Path) -> None:
    """Write `generator/`, `cogvideox/` and `critic/` into `folder`."""
    make_pipeline().save_pretrained(folder / "generator")
    make_cogvideox(rotary=True).save_pretrained(folder / "cogvideox")
    traces = random_traces(random.Random(0))
    vila = make_vila(
        settings=Critic(max_frames=1),
        scale=1,
        tokenizer=make_tokenizer(spoken(traces), vocab_size=512),
    )
    result = warm_start.supervise(
        vila,
        traces,
        clips=noise_clip,
        settings=TRAINING,
        checkpoint_folder=folder / "taught",
        seed=0,
    )
    # All but the label itself can be known: the entropy of a label over the answer's length.
    assert result.metrics["loss"] < 0.3, result.metrics
    vila.save(folder / "critic")


def random_traces(rng: random.Random) -> list[Trace]:
    """Return random answers about noise; grades have reasons, so paths can score a clip apart."""
    traces = []
    for number in range(NUM_QUESTIONS):
        caption, dimension = corpus.caption(number), rng.choice(DIMENSIONS)
        clips = (f"{number}", f"{number + 1}")
        pair = Ask(f"pair{number}", "pair", caption, dimension, clips)
        verdict = reasoning.render_pair("", None, "", None, rng.choice(("a", "b", "tie")))
        point = Ask(f"point{number}", "point", caption, dimension, clips[:1])
        grade = reasoning.render_point(rng.choice(("light", "dark")), rng.choice(GRADES))
        traces += [Trace(pair, verdict), Trace(point, grade)]
    return traces


def spoken(traces: list[Trace]) -> list[str]:
    """Return all that the critic reads and says: the tokenizer needs no more words."""
    questions = [reasoning.question(trace.ask.kind, trace.ask.dimension) for trace in traces]
    captions = [reasoning.fence(trace.ask.caption) for trace in traces]
    answers = [trace.response for trace in traces]
    recurring = ["USER: Video A:\n Video B:\n ASSISTANT:", *HINTS]
    return questions + captions + answers + recurring * NUM_QUESTIONS


def noise_clip(clip_hash: str) -> np.ndarray:
    rng = np.random.default_rng(int(clip_hash))
    return rng.integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
