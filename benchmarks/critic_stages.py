"""The worth of each stage of the critic's training, by forced choice against the oracle's order.

    python benchmarks/critic_stages.py recipes/world.toml --seeds 0 1 2
    python benchmarks/critic_stages.py recipes/world.toml --claims runs/claims   # its warm starts
    python benchmarks/critic_stages.py RECIPE critic.max_new_tokens=48 --seeds 7 --output out

For each seed it measures the accuracy of five critics:
- `shipped`: before any warm start,
- `without_reasons`: warm start on the same labels with the answer alone,
- `with_reasons`: warm start as a run does it,
- `srpo`: after a refresh on the clips of a generator that one round of alignment has shifted,
- `reward_head`: the baseline on the same labels.
The pairs are held-out pairs of test prompts on which the oracle decides, balanced over the
dimensions and shown in both orders: clips of the base generator (`base`) and of the shifted one
(`shifted`). Intervals are 95 % bootstraps clustered by prompt. The refreshed critic is measured
even where a run would revert it. The command goes on where it stopped when it is repeated. Any key
of the recipe can be overridden.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import claims
from intervals import difference, with_ends
from warm_starts import warmed

from dualipo import config
from dualipo.config import Config
from dualipo.critic.learning import reward_head, warm_start
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.vlm import Vlm
from dualipo.evaluation import bootstrap
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.report.report_tables import Table
from dualipo.events import RefreshEvent
from dualipo.progress import PlainProgress
from dualipo.rounds import (
    accuracy,
    aligning,
    judging,
    loop,
    preferring,
    refreshing,
    sampling,
    seed_labels,
    warming,
)
from dualipo.rounds.run import SHIPPED, WARM, Run
from dualipo.rounds.versions import generator_made
from dualipo.store import atomic
from dualipo.store.ledger import Unit

SRPO = "c001.0"
SHIFTED = generator_made(0, 0)
OVERRIDES = ["rounds=2"]
ARMS = {
    "shipped": "shipped",
    "reward_head": "reward head",
    "without_reasons": "warm start, labels alone",
    "with_reasons": "warm start, with reasons",
    "srpo": "after SRPO",
}
DIFFERENCES = (
    ("with_reasons", "without_reasons"),
    ("with_reasons", "shipped"),
    ("with_reasons", "reward_head"),
    ("srpo", "with_reasons"),
)
Hits = dict[str, dict[str, list[float]]]  # arm -> prompt -> 1 for each pair it got right, or 0


def learn(run: Run) -> str:
    """Run a warm start, a round, and a refresh on the next round's clips; return its outcome."""
    warming.warm_start_critic(run)
    for round_ in (0, 1):
        prompts = sampling.choose_prompts(run, round_)
        candidates = sampling.sample_candidates(run, round_, prompts)
        judging.score(run, round_, 0, candidates)
        judging.confirm(run, round_, 0, candidates)
        if round_ == 0:
            aligning.align(run, 0, 0, preferring.prefer(run, 0, 0, candidates))
    refresh = Unit(1, 0, "refresh")
    if not run.is_done(refresh):
        refreshing.refine(run, refresh, candidates, ["the benchmark asks for it"])
    return run.recorded(refresh, RefreshEvent).outcome


def without_reasons(run: Run, folder: Path) -> ChatCritic:
    """Train a critic by a warm start on the labels alone, without evidence and clips' grades."""
    pairs, points = seed_labels.training_labels(run)
    silent: dict[str, Any] = {
        "rationale": "",
        "reason_a": "",
        "reason_b": "",
        "grade_a": None,
        "grade_b": None,
    }
    pairs = [replace(pair, **silent) for pair in pairs]
    points = [replace(point, rationale="") for point in points]
    traces = warm_start.traces([*pairs, *points])
    asked = warm_start.traces(pairs)
    return warmed(run, traces, asked, folder=folder, name="without reasons")


def baseline(run: Run, folder: Path) -> RewardCritic:
    """Train a reward head on the same labels."""
    head = run.load_reward_head(SHIPPED)
    reward_head.train(
        head,
        seed_labels.training_labels(run)[0],
        clips=run.clip,
        settings=run.config.critic.reward_head,
        checkpoint_folder=folder / "reward_head",
        seed=run.seed("warm_start_sft"),
    )
    return RewardCritic(head)


def measure(run: Run, folder: Path, *, has_srpo: bool) -> dict[str, Hits]:
    """Return the hits of every arm on both sets; an arm that was measured is read from its file."""
    critics: dict[str, Callable[[], Vlm]] = {
        "shipped": lambda: run.critic(SHIPPED),
        "reward_head": lambda: baseline(run, folder),
        "without_reasons": lambda: without_reasons(run, folder),
        "with_reasons": lambda: run.critic(WARM),
    }
    if has_srpo:
        critics["srpo"] = lambda: run.critic(SRPO)
    pairs = {
        name: accuracy.oracle_ordered_pairs(run, version=version)
        for name, version in (("base", "base"), ("shifted", SHIFTED))
    }
    hits_by_set: dict[str, Hits] = {name: {} for name in pairs}
    for arm, load in critics.items():
        path = folder / f"hits-{arm}.json"
        if not path.exists():
            critic = load()
            hits = {
                name: bootstrap.by_prompt(
                    accuracy.forced_hits(run, critic, asked, verdicts),
                    [prompt.prompt_id for prompt, *_ in asked],
                )
                for name, (asked, verdicts) in pairs.items()
            }
            atomic.write_json(path, hits)
            run.forget_models()
        for name, of_arm in atomic.read_json(path).items():
            hits_by_set[name][arm] = of_arm
    return hits_by_set


def summary(hits: Hits) -> dict[str, Any]:
    """Compute accuracies and differences, pair by pair, with intervals over prompts."""
    table: dict[str, Any] = {"num_pairs": sum(map(len, hits["with_reasons"].values()))}
    prompts = [prompt for prompt, values in hits["with_reasons"].items() for _ in values]
    of_pairs = {
        arm: [hit for prompt in hits["with_reasons"] for hit in by_prompt[prompt]]
        for arm, by_prompt in hits.items()
    }
    for arm, values in of_pairs.items():
        table[arm] = asdict(bootstrap.clustered_mean(values, clusters=prompts))
    for after, before in DIFFERENCES:
        if after in hits and before in hits:
            gains = [a - b for a, b in zip(of_pairs[after], of_pairs[before], strict=True)]
            gain = bootstrap.clustered_mean(gains, clusters=prompts)
            table[f"{after} - {before}"] = asdict(gain) | {"excludes_zero": gain.excludes_zero}
    return table


def table(results: Mapping[str, Any]) -> str:
    """Write each arm's accuracy over all seeds, and the differences, as a table in markdown."""
    sets = results["all seeds"]
    heads = ["forced choice", *(f"on {name} clips" for name in sets)]
    arms = [name for name in ARMS if all(name in of_set for of_set in sets.values())]
    rows = [
        [ARMS[arm], *(with_ends(of_set[arm], percent) for of_set in sets.values())] for arm in arms
    ]
    for after, before in DIFFERENCES:
        name = f"{after} - {before}"
        if all(name in of_set for of_set in sets.values()):
            cells = [difference(of_set[name], _points) for of_set in sets.values()]
            rows.append([f"{ARMS[after]} - {ARMS[before]}", *cells])
    return Table(heads, rows).in_markdown()


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"


def pooled(seeds: Sequence[dict[str, Hits]], name: str) -> Hits:
    """Join the seeds' prompts, numbered by seed; an arm that a seed lacks is left out."""
    arms = set.intersection(*(set(of_seed[name]) for of_seed in seeds))
    return {
        arm: {
            f"{n} {prompt}": values
            for n, of_seed in enumerate(seeds)
            for prompt, values in of_seed[name][arm].items()
        }
        for arm in seeds[0][name]
        if arm in arms
    }


def one_seed(loaded: Config, folder: Path) -> tuple[str, dict[str, Hits]]:
    """Train and measure one seed; return its refresh's outcome and the hits."""
    atomic.make_folder(folder)
    with loop.opened(loaded, PlainProgress()) as run:
        outcome = learn(run)
        return outcome, measure(run, folder, has_srpo=outcome not in ("empty", "too few"))


def main() -> None:
    """Run what is missing, compare, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="such as monitor.num_accuracy_pairs=60")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--runs", type=Path, default=Path("runs/critic-stages"))
    parser.add_argument("--claims", type=Path, help="where benchmarks/claims.py keeps its runs")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    results: dict[str, Any] = {"recipe": arguments.recipe.stem, "overrides": arguments.overrides}
    hits_by_seed = []
    for seed in arguments.seeds:
        path = arguments.runs / f"run-{seed}"
        own = [f"seed={seed}", f"output_dir={path}"]
        loaded = config.load(arguments.recipe, [*OVERRIDES, *arguments.overrides, *own])
        claims.begin_with(arguments.claims, f"before-{seed}", loaded)
        outcome, hits = one_seed(loaded, arguments.runs / f"seed-{seed}")
        hits_by_seed.append(hits)
        tables = {name: summary(of_set) for name, of_set in hits.items()}
        results[f"seed {seed}"] = {"refresh": outcome, **tables}
        results["all seeds"] = {name: summary(pooled(hits_by_seed, name)) for name in hits}
        atomic.make_folder(arguments.output)
        atomic.write_json(arguments.output / f"critic-stages-{arguments.recipe.stem}.json", results)
        print(json.dumps({f"seed {seed}": results[f"seed {seed}"]}, indent=2), flush=True)
    print(json.dumps({"all seeds": results["all seeds"]}, indent=2))


if __name__ == "__main__":
    main()
