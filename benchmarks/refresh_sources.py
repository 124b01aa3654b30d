"""Measures what each source of pairs teaches a critic, alone and together with the others.

    python benchmarks/refresh_sources.py recipes/world.toml --seeds 0 1 2 --pairs 600
    python benchmarks/refresh_sources.py recipes/smoke.toml --rounds 1 --runs runs/try     # a trial

For each seed a run of the recipe without refreshes makes the generators. Then the warm critic is
refreshed on the clips of the last round, once with each source alone and once with all of them, and
measured on pairs that the oracle orders: of the last generator's clips (what it gained) and of the
base's (what it forgot). Two readings are given: the forced choice on both, and on the last
generator's clips a sampled answer, as a round counts them. No gate decides, and the oracle only
reports.

With each arm stand the number of pairs of its sources, and how many are right by fresh labels.
Every arm is written as soon as it is measured; the same command goes on where it stopped. With
`--claims` the runs of `claims.py` without updates are gone on with, and need not be made again.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import claims
import ordered_pairs
from intervals import difference, with_ends
from ordered_pairs import Rows, points

from dualipo import config
from dualipo.critic.models.chat import ChatCritic
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.report.report_tables import Table
from dualipo.progress import PlainProgress
from dualipo.rounds import gathering, loop, refreshing, sampling
from dualipo.rounds.run import BASE_GENERATOR, WARM, Run
from dualipo.rounds.versions import generator_made
from dualipo.store import atomic
from dualipo.store.ledger import Unit

SOURCES = ("votes", "constructed", "newer", "audit")
ARMS: dict[str, tuple[str, ...]] = {
    **{f"{name} only": (name,) for name in SOURCES},
    "all sources": SOURCES,
}

# What is measured, in the order in which `ordered_pairs.measured` returns it.
READINGS = FORCED_ON_BASE, FORCED, ONE_ANSWER = "base, forced choice", "forced choice", "one answer"


def main() -> None:
    """Make what is missing, compare, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="such as refresh.num_constructed=1000")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, help="a critic is measured on, of each generator")
    parser.add_argument("--runs", type=Path, default=Path("runs/refresh-sources"))
    parser.add_argument("--claims", type=Path, help="where benchmarks/claims.py keeps its runs")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/refresh-sources.json")
    )
    arguments = parser.parse_args()
    by_seed = {seed: one_seed(arguments, seed) for seed in arguments.seeds}
    keep = config.load(arguments.recipe, arguments.overrides).critic.confirm_vote_share
    result = {
        "recipe": arguments.recipe.stem,
        "overrides": arguments.overrides,
        "seeds": arguments.seeds,
        "arms": {name: summary(by_seed, name, keep) for name in ("warm", *ARMS)},
    }
    atomic.write_text(arguments.output, json.dumps(result, indent=1) + "\n")
    print(table(result))


def one_seed(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run the recipe without refreshes; refresh by every arm, and measure."""
    path, folder = arguments.runs / f"run-{seed}", arguments.runs / f"seed-{seed}"
    own = [f"seed={seed}", f"output_dir={path}", f"rounds={arguments.rounds}"]
    # The run itself refreshes nothing; half of its monitor prompts are for learning all the same.
    fixed = ["refresh.update_critic=false", f"refresh.sources={json.dumps(SOURCES)}"]
    loaded = config.load(arguments.recipe, [*arguments.overrides, *own, *fixed])
    claims.begin_with(arguments.claims, f"no_update-{seed}", loaded)
    loop.run(loaded, progress=PlainProgress())
    atomic.make_folder(folder)
    last = arguments.rounds - 1
    versions = [BASE_GENERATOR, generator_made(last, 0)]
    with loop.opened(loaded, PlainProgress()) as run:
        ordered_pairs.take_pairs(run, arguments.pairs)
        path = folder / "warm.json"
        warm = ordered_pairs.measured(
            run, path, versions, lambda: run.critic(WARM), voted=versions[-1:]
        )
        arms: dict[str, Any] = {"warm": {"hits": [*warm.values()], "sources": []}}
        for name, sources in ARMS.items():
            arms[name] = one_arm(run, folder, name, sources, Unit(last, 0, "refresh"), versions)
        return arms


def one_arm(
    run: Run, folder: Path, name: str, sources: tuple[str, ...], unit: Unit, versions: list[str]
) -> dict[str, Any]:
    """Refresh the warm critic by an arm's sources and measure it; no pairs at all are no arm."""
    refresh = run.config.refresh.model_copy(update={"sources": sources, "min_pairs": 1})
    stem = name.replace(" ", "-")
    counted = folder / f"{stem}-sources.json"
    before, run.config = run.config, run.config.model_copy(update={"refresh": refresh})

    def load() -> ChatCritic:
        prompts = sampling.choose_prompts(run, unit.round)
        candidates = sampling.sample_candidates(run, unit.round, prompts)
        gathered = gathering.gather(run, unit, candidates, critic=WARM)
        learner, used = refreshing.train(run, unit, gathered, WARM, folder=folder / stem)
        counts = gathering.counts(run, gathered, used.kept)
        atomic.write_json(counted, {count.name: asdict(count) for count in counts})
        learner.freeze()
        return learner

    try:
        path = folder / f"{stem}.json"
        found = ordered_pairs.measured(run, path, versions, load, voted=versions[-1:])
    finally:
        run.config = before
    return {"hits": [*found.values()], "sources": [*atomic.read_json(counted).values()]}


def summary(by_seed: Mapping[int, Any], name: str, keep: float) -> dict[str, Any]:
    """Return an arm's accuracy on both generators' clips, and its changes from the warm critic.

    A verdict with the share `keep` of its votes is sure.
    """
    result: dict[str, Any] = {
        "sources": {str(seed): arms[name]["sources"] for seed, arms in by_seed.items()}
    }
    for place, key in enumerate(READINGS):
        own, warm = (_pooled(by_seed, arm, place) for arm in (name, "warm"))
        result |= {key: ordered_pairs.share(own)}
        result |= {f"change: {key}": ordered_pairs.change(warm, own)}
    result |= {"kept": ordered_pairs.kept(own, keep), "for the first": ordered_pairs.leaning(own)}
    return result


def _pooled(by_seed: Mapping[int, Any], arm: str, place: int) -> Rows:
    return ordered_pairs.pooled({seed: arms[arm]["hits"][place] for seed, arms in by_seed.items()})


def table(result: Mapping[str, Any]) -> str:
    """Write the arms as a table in markdown."""
    heads = ["learnt from", "pairs", ONE_ANSWER, "gained, points", "sure verdicts, right"]
    heads += ["for the first clip", FORCED, "gained, points", "on the base's"]
    rows = []
    for name, arm in result["arms"].items():
        num = sum(count["num_pairs"] for counts in arm["sources"].values() for count in counts)
        sure = arm["kept"]
        gained = {
            key: difference(arm[f"change: {key}"], points) if name != "warm" else ""
            for key in READINGS
        }
        row = [name, f"{num:,}", with_ends(arm[ONE_ANSWER], percent), gained[ONE_ANSWER]]
        row.append(f"{sure['num']} of {sure['of']}, {percent(sure['precision']['mean'])}")
        row.append(percent(arm["for the first"]))
        row += [with_ends(arm[FORCED], percent), gained[FORCED], gained[FORCED_ON_BASE]]
        rows.append(row)
    return Table(heads, rows).in_markdown()


if __name__ == "__main__":
    main()
