"""Tells where a critic loses sight: from what is measured, over tower and words, to the verdict.

    python benchmarks/sight.py runs/claims/before-? --work work/sight
    python benchmarks/sight.py runs/claims/before-? --work work/sight --controls

Each RUN is a run with `rounds=0`, whose critic is warm; their answers are pooled. What is made in
WORK is made once. Pairs are clips of one prompt that the oracle puts apart, made by generators of
lineages that the pretraining has never met: the base, and each lineage after two rounds of
alignment (about four minutes each). For the same pairs it tells how often each of these orders the
two clips as the oracle does; 0.5 counts where it has no order:

| reader | orders by |
|---|---|
| facts | the oracle's formula on the facts that the tower is taught (their own limit) |
| tower | the same formula on what a linear readout of the shipped tower sees in each frame |
| true words | the faults that a true description names, weighed by their degree |
| own words | the same of the warm critic's own greedy answer |
| verdict | the warm critic's forced choice, after both orders |

The readout is learnt here, with the tower at rest, on clips like those of the pretraining. The
controls are two new towers, each after the pretraining's first stage alone (about twenty minutes):
one sees the world's drawn clips and generators' clips as the shipped one did, one drawn clips
alone. Their difference is what the facts measured in generators' clips are worth to the tower.
Intervals are 95 % bootstraps clustered by prompt.
"""

import argparse
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from intervals import with_ends

from dualipo.config import Critic, Optimizer
from dualipo.critic.asks import Item, asks_about, load_queries
from dualipo.critic.models.vila import Vila
from dualipo.critic.trust import forced_choice
from dualipo.critic.vlm import Sampling
from dualipo.evaluation import bootstrap
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.report.report_tables import Table
from dualipo.pretraining import critic, settings, sight
from dualipo.pretraining.clip_pool import (
    CLIPS_PER_PROMPT,
    DRAWN,
    GENERATED,
    ClipPool,
    Kind,
    SeenClip,
)
from dualipo.pretraining.facts import FrameFacts, measurement_of
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Dimension
from dualipo.rounds import commands, loop
from dualipo.rounds.run import EMBEDDED, WARM, Run, model_folder
from dualipo.store import atomic
from dualipo.training.loop import train
from dualipo.world.captions import speak
from dualipo.world.descriptions import DEGREES, FAULTS, NOTHING, describe
from dualipo.world.oracle import parts, score_measurement
from dualipo.world.views import view_of_measurement

# What the readout of the tower learns from: clips of the kinds that the pretraining knows.
READ = (DRAWN, *(kind for kind in GENERATED if kind.lineage == 0))
READOUT_TRAINING = Optimizer(
    learning_rate=1e-2,
    max_train_steps=600,
    train_batch_size=settings.TOWER_TRAINING.train_batch_size,
    lr_scheduler="cosine",
    checkpointing_steps=300,
)
# How many turns generators' clips have in a new tower's training, beside one of drawn clips.
CONTROLS = {"new tower": settings.GENERATED_TURNS, "new tower, drawn clips": 0}
READERS = ("facts", "tower", *CONTROLS, "true words", "own words", "verdict")
LEAST_GAP = 0.1  # of the oracle's scores
UNSEEN = (100, 101, 102)  # lineages
# What a named fault weighs: the middle of the scores that its degree stands for, from 1 downwards.
WEIGHT = dict(zip((word for _, word in DEGREES), (0.85, 0.55, 0.25), strict=True))
WHOLE = 1.0  # of a fault without a degree
WITHOUT_DEGREE = tuple(fault for fault in FAULTS.values() if "{much}" not in fault)
NOTHING_SEEN = 3.0  # as much as all faults that a description may name
ANSWER = re.compile(r"A: (?P<a>.*?)(?: Grade: \w+)?\nB: (?P<b>.*?)(?: Grade: \w+)?\n<")


@dataclass(frozen=True)
class Compared:
    """Two clips of a prompt; `gap` is the first one's score less the second one's."""

    prompt: str
    caption: str
    dimension: Dimension
    first: SeenClip
    second: SeenClip
    gap: float


Reader = Callable[[Sequence[Compared]], list[float]]  # a lean to the first clip of each pair


def compared(pool: ClipPool, num: int) -> list[Compared]:
    """Return up to `num` pairs of each dimension, at random."""
    rng = np.random.default_rng(0)
    pairs = list(_all_pairs(pool))
    chosen = []
    for dimension in DIMENSIONS:
        own = [pair for pair in pairs if pair.dimension == dimension]
        chosen += [own[n] for n in rng.permutation(len(own))[:num]]
    return chosen


def _all_pairs(pool: ClipPool) -> Iterator[Compared]:
    for shard, prompt, clips in pool.prompts():
        scores = [score_measurement(clip.measurement, clip.asked) for clip in clips]
        caption = speak(clips[0].asked, np.random.default_rng(prompt))
        for second in range(CLIPS_PER_PROMPT):
            for first in range(second):
                for dimension in DIMENSIONS:
                    gap = getattr(scores[first], dimension) - getattr(scores[second], dimension)
                    if abs(gap) >= LEAST_GAP:
                        name = f"{shard}/{prompt}"
                        pair = (clips[first], clips[second])
                        yield Compared(name, caption, dimension, *pair, gap)


def by_formula(facts_of: Callable[[SeenClip], FrameFacts]) -> Reader:
    """Order clips by the oracle's formula on some facts of them."""

    def score(pair: Compared, clip: SeenClip) -> float:
        scores = score_measurement(measurement_of(facts_of(clip)), clip.asked)
        return float(getattr(scores, pair.dimension))

    return lambda pairs: [score(pair, pair.first) - score(pair, pair.second) for pair in pairs]


def by_true_words(pairs: Sequence[Compared]) -> list[float]:
    """Order clips by what a true description of each says."""
    return [
        severity(_true_words(pair, pair.second)) - severity(_true_words(pair, pair.first))
        for pair in pairs
    ]


def _true_words(pair: Compared, clip: SeenClip) -> str:
    scored = parts(clip.measurement, clip.asked, pair.dimension)
    view = view_of_measurement(clip.measurement)
    return describe(view, pair.dimension, asked=clip.asked, parts=scored)


def severity(words: str) -> float:
    """Weigh the faults that a description names."""
    if words.strip() == NOTHING:
        return NOTHING_SEEN
    named = sum(weight * len(re.findall(rf"\b{word}\b", words)) for word, weight in WEIGHT.items())
    return named + WHOLE * sum(fault in words for fault in WITHOUT_DEGREE)


def shipped(part: str) -> Path:
    """Return the folder of the generator or the critic that the package ships."""
    return model_folder(EMBEDDED, part)


def shipped_tower(work: Path) -> Callable[[SeenClip], FrameFacts]:
    """Return what the shipped tower sees in a clip."""
    vila = Vila.load(shipped("critic"), settings=Critic())
    return tower_facts(sight.Sight(vila.module.float()), work, work / "readout")


def new_tower(work: Path, name: str) -> Callable[[SeenClip], FrameFacts]:
    """Train a control's tower as the pretraining's first stage does; return what it sees."""
    shards = settings.SHARDS_PER_GENERATOR
    pools = [clip_pool(work, [DRAWN], shards)]
    if turns := CONTROLS[name]:
        pools += [clip_pool(work, READ[1:], shards)] * turns
    torch.manual_seed(settings.SEED)
    seeing = sight.Sight(critic.build(pools).module)
    stage = work / name.replace(",", "").replace(" ", "-")
    learn(seeing, pools, settings.TOWER_TRAINING, stage / "tower")
    return tower_facts(seeing, work, stage / "readout")


def tower_facts(seeing: sight.Sight, work: Path, folder: Path) -> Callable[[SeenClip], FrameFacts]:
    """Learn a linear readout of a tower; return what it sees in a clip."""
    for part in (seeing.vision_tower, seeing.mm_projector):
        part.requires_grad_(False)
    torch.manual_seed(settings.SEED)
    for readout in (seeing.readout, seeing.words):
        readout.reset_parameters()
    learn(seeing, [clip_pool(work, READ, 1)], READOUT_TRAINING, folder)
    seeing.eval()

    @torch.no_grad()
    def look(clip: SeenClip) -> FrameFacts:
        pixels_FCHW = torch.from_numpy(clip.frames_FHW3).permute(0, 3, 1, 2).float() / 127.5 - 1
        read = seeing(pixels_FCHW)
        return replace(
            clip.facts,
            place_FKP=read.place_BKP.numpy(),
            shape_FKS=read.shape_BKS.softmax(-1).numpy(),
            background=int(read.background_B3.mean(0).argmax()),
        )

    return look


def clip_pool(work: Path, kinds: Sequence[Kind], num_shards: int) -> ClipPool:
    """Return clips of some kinds, of the shipped generator and its lineages."""
    return ClipPool(shipped("generator"), work, kinds=kinds, shards_per_kind=num_shards)


def learn(seeing: sight.Sight, pools: Sequence[ClipPool], how: Optimizer, folder: Path) -> None:
    """Train what is not at rest to read frames, resumable in a folder."""
    train(
        seeing,
        sight.FrameReading(seeing),
        batches=partial(sight.batch, pools=pools),
        settings=how,
        checkpoint_folder=folder,
        seed=settings.SEED,
    )


def critic_readers(run: Run) -> dict[str, Reader]:
    """Return the warm critic's two readers: its own words, and its verdict."""

    def clips_of(pairs: Sequence[Compared]) -> tuple[list[Item], dict[str, np.ndarray]]:
        clips: dict[str, np.ndarray] = {}

        def name(clip: SeenClip) -> str:
            # A critic remembers what it saw by a clip's hash, beyond the clips of one generator.
            clip_hash = hashlib.sha256(clip.frames_FHW3.tobytes()).hexdigest()
            clips[clip_hash] = clip.frames_FHW3
            return clip_hash

        items = [
            Item(str(n), pair.caption, (name(pair.first), name(pair.second)), (pair.dimension,))
            for n, pair in enumerate(pairs)
        ]
        return items, clips

    def verdict(pairs: Sequence[Compared]) -> list[float]:
        items, clips = clips_of(pairs)
        by_place = forced_choice.margins(
            run.critic(WARM), items, clips=clips.__getitem__, settings=run.config.critic
        )
        return [by_place.get((item.item_id, item.dimensions[0]), 0.0) for item in items]

    def own_words(pairs: Sequence[Compared]) -> list[float]:
        items, clips = clips_of(pairs)
        asks = [ask for ask in asks_about(items) if ask.order == "ab"]
        leans = []
        for start in range(0, len(asks), run.config.critic.judge_batch_size):
            batch = asks[start : start + run.config.critic.judge_batch_size]
            greedy = Sampling([[0]] * len(batch), 0.0, run.config.critic.max_new_tokens)
            queries = load_queries(batch, clips.__getitem__)
            for (path,) in run.critic(WARM).sample(queries, greedy):
                said = ANSWER.match(path.text)
                leans.append(severity(said["b"]) - severity(said["a"]) if said else 0.0)
        return leans

    return {"own words": own_words, "verdict": verdict}


def measure(pairs: Sequence[Compared], readers: Mapping[str, Sequence[Reader]]) -> dict[str, Any]:
    """Return how often each reader agrees with the oracle, in all and by dimension.

    A name may stand for several readers, which are the same one in several runs.
    """
    found: dict[str, Any] = {}
    for name, same in readers.items():
        answers = [
            (pair, lean) for read in same for pair, lean in zip(pairs, read(pairs), strict=True)
        ]
        found[name] = {}
        for dimension in (*DIMENSIONS, "all"):
            own = [(p, lean) for p, lean in answers if dimension in (p.dimension, "all")]
            hits = [0.5 if lean == 0 else float((lean > 0) == (p.gap > 0)) for p, lean in own]
            mean = bootstrap.clustered_mean(hits, clusters=[p.prompt for p, _ in own])
            found[name][dimension] = {"num": len(own), **asdict(mean)}
    return found


def table(results: dict[str, Any]) -> str:
    """Write the readers below each other, for each generator, as a table in markdown."""
    rows = [
        [
            kind,
            reader,
            *(with_ends(readers[reader][name], percent) for name in (*DIMENSIONS, "all")),
        ]
        for kind, readers in results.items()
        for reader in READERS
        if reader in readers
    ]
    return Table(["generator", "reader", *DIMENSIONS, "all"], rows).in_markdown()


def main() -> None:
    """Measure every reader on every generator, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--work", type=Path, required=True, help="for clips, generators, readout")
    parser.add_argument("--num-pairs", type=int, default=100, help="of each dimension")
    parser.add_argument("--controls", action="store_true", help="also train two new towers")
    parser.add_argument("--output", type=Path, help="a JSON file")
    arguments = parser.parse_args()
    kinds = [Kind("generator", UNSEEN[0])]
    kinds += [Kind("generator", lineage, settings.LINEAGE_ROUNDS) for lineage in UNSEEN]
    readers: dict[str, list[Reader]] = {
        "facts": [by_formula(lambda clip: clip.facts)],
        "tower": [by_formula(shipped_tower(arguments.work))],
        "true words": [by_true_words],
    }
    for name in CONTROLS if arguments.controls else ():
        readers[name] = [by_formula(new_tower(arguments.work, name))]
    results = {}
    with ExitStack() as stack:
        for path in arguments.runs:
            run = stack.enter_context(loop.opened(commands.config_of(path), PlainProgress()))
            for name, reader in critic_readers(run).items():
                readers.setdefault(name, []).append(reader)
        for kind in kinds:
            pool = clip_pool(arguments.work, (kind,), 1)
            results[str(kind)] = measure(compared(pool, arguments.num_pairs), readers)
            if arguments.output:
                atomic.write_json(arguments.output, results)
    print(table(results))


if __name__ == "__main__":
    main()
