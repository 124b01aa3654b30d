"""Measures the critic's accuracy by number of labels, with pairs asked at random or by uncertainty.

    dualipo run recipes/quick.toml rounds=0 output_dir=runs/seed     # base clips, once
    python benchmarks/label_order.py runs/seed --pairs 20 40 80 160 --seeds 0 1 2

The pool holds all pairs of the run's seed clips. Both arms begin with the same first pairs, drawn
at random. A critic trained on them votes on the rest, which the arm `uncertain` asks in the order
of `label_queue.uncertainty`, as `dualipo label --next` does, and the arm `random` in random order.
At each number of pairs the shipped critic is trained anew (`warm_start_sft`) on the simulated
annotators' answers, three labels a pair, and measured by forced choice on pairs of test prompts
that the oracle orders. The oracle only reports: no label, order or training reads it.

Every result is written as soon as it is measured; the same command continues where it stopped. The
result is written as data, whichever arm is ahead.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from dualipo import config
from dualipo.critic import judge
from dualipo.critic.asks import Item
from dualipo.critic.learning import warm_start
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.trust import forced_choice
from dualipo.evaluation.bootstrap import wilson
from dualipo.preferences import label_queue
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Candidate, Prompt
from dualipo.rounds import accuracy, loop, seed_labels, world_sources
from dualipo.rounds.questions import PairQuestion
from dualipo.rounds.run import SHIPPED, Run
from dualipo.seeds import derive
from dualipo.store import atomic

ARMS = ("random", "uncertain")


@dataclass(frozen=True)
class PooledPair:
    """Two clips of one prompt, asked about in all dimensions."""

    prompt_id: str
    item: Item


Pool = list[PooledPair]


def pool_of(candidates: Sequence[Candidate], *, seed: int) -> Pool:
    """List all pairs of clips of one prompt, in an order drawn by `seed`."""
    by_prompt: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_prompt.setdefault(candidate.prompt_id, []).append(candidate)
    pool = [
        PooledPair(
            a.prompt_id, Item(f"{a.prompt_id}:{a.index}-{b.index}", a.caption, (a.clip, b.clip))
        )
        for group in by_prompt.values()
        for a, b in combinations(group, 2)
        if a.clip != b.clip
    ]
    random.Random(seed).shuffle(pool)
    return pool


def by_uncertainty(run: Run, critic: ChatCritic, pool: Pool, *, seed: int) -> Pool:
    """Sort the pairs by this critic's own votes, the least certain first."""
    votes = judge.confirm(
        critic,
        [pair.item for pair in pool],
        clips=run.clip,
        settings=run.config.critic,
        seed_of=lambda *place: derive(seed, "label order", *place),
    )
    doubts = label_queue.uncertainty(votes)
    return sorted(pool, key=lambda pair: -doubts.get(pair.item.item_id, 0.0))


def trained(run: Run, pool: Pool, *, steps: int | None, seed: int) -> ChatCritic:
    """Fine-tune the shipped critic on the annotators' labels of these pairs."""
    asked = [
        PairQuestion(Prompt(pair.prompt_id, pair.item.caption), clip_a, clip_b, dimension)
        for pair in pool
        for clip_a, clip_b in [pair.item.clip_hashes]
        for dimension in DIMENSIONS
    ]
    labels = world_sources.label_pairs(asked, clips=run.clip, seed=seed)
    settings = run.config.warm_start_sft
    if steps is not None:
        settings = settings.model_copy(update={"max_train_steps": steps})
    critic = run.learner(SHIPPED)
    with tempfile.TemporaryDirectory() as folder:
        warm_start.supervise(
            critic,
            warm_start.traces(labels),
            clips=run.clip,
            settings=settings,
            checkpoint_folder=Path(folder),
            seed=seed,
        )
    critic.freeze()
    return critic


def measured(run: Run, critic: ChatCritic) -> dict[str, Any]:
    """Compare the critic's forced choice on pairs of test prompts with the oracle's order."""
    asked, verdicts = accuracy.oracle_ordered_pairs(run)
    items = [
        Item(str(n), prompt.caption, (clip_a, clip_b), (dimension,))
        for n, (prompt, clip_a, clip_b, dimension) in enumerate(asked)
    ]
    expected = {(i.item_id, i.dimensions[0]): v for i, v in zip(items, verdicts, strict=True)}
    margins = forced_choice.margins(critic, items, clips=run.clip, settings=run.config.critic)
    hits = [forced_choice.accuracy(margins, {at: v}) or 0.0 for at, v in expected.items()]
    ends = wilson(sum(hits), len(hits))
    return {"accuracy": ends.mean, "low": ends.low, "high": ends.high, "num_test": len(hits)}


def study(run: Run, sizes: Sequence[int], seed: int, output: Path, steps: int | None) -> None:
    """Do all trainings of one seed that are not in `output` yet."""
    candidates = seed_labels.seed_candidates(run)
    shuffled = pool_of(candidates, seed=derive(seed, "pool"))
    if len(shuffled) < sizes[-1]:
        raise SystemExit(
            f"--pairs: {sizes[-1]} pairs are wanted, but the pool holds {len(shuffled)}. "
            "Ask for fewer."
        )
    rows: list[dict[str, Any]] = json.loads(output.read_text()) if output.exists() else []
    done = {(row["arm"], row["seed"], row["num_pairs"]) for row in rows}
    if all((arm, seed, num) in done for arm in ARMS for num in sizes):
        return
    first, rest = shuffled[: sizes[0]], shuffled[sizes[0] :]
    critic = trained(run, first, steps=steps, seed=seed)
    shared = measured(run, critic)
    orders = {"random": rest, "uncertain": by_uncertainty(run, critic, rest, seed=seed)}
    for num in sizes:
        for arm in ARMS:
            if (arm, seed, num) in done:
                continue
            if num == sizes[0]:
                result = shared
            else:
                items = [*first, *orders[arm][: num - len(first)]]
                result = measured(run, trained(run, items, steps=steps, seed=seed))
            place = {"arm": arm, "seed": seed, "num_pairs": num, "num_labels": 3 * num}
            rows.append(place | result)
            atomic.write_json(output, rows)
            print(json.dumps(rows[-1]), flush=True)


def main() -> None:
    """Train and measure every arm, size and seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="a run whose seed clips are sampled")
    parser.add_argument("--pairs", type=int, nargs="+", default=[20, 40, 80, 160])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, help="steps of a training (default: the run's)")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/label-order.json"))
    arguments = parser.parse_args()
    atomic.make_folder(arguments.output.parent)
    config_path = arguments.run / "config.json"
    settings = config.from_leaves(
        atomic.read_json(config_path),
        subject=str(config_path),
        overrides=[f"output_dir={json.dumps(str(arguments.run))}"],
    )
    with loop.opened(settings, PlainProgress()) as run:
        for seed in arguments.seeds:
            study(run, sorted(arguments.pairs), seed, arguments.output, arguments.steps)


if __name__ == "__main__":
    main()
