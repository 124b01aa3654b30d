"""Measures how stale a critic grows, and how much of that a refresh brings back (METHOD.md 5).

    python benchmarks/staleness.py recipes/world.toml --pairs 1000 --sizes 240 960 2400
    python benchmarks/staleness.py recipes/smoke.toml --sizes 30 --rounds 1 --runs runs/try # trial

For each seed a run of the recipe makes the generators of its rounds, every round with a refresh.
For a generator version g and a number of labels n, on pairs of g's test clips that the oracle
orders:

- `warm`: a critic warmed on n labels of the base's clips,
- `ceiling`: one warmed in the same way on n labels of g's own clips; for the base it is `warm`,
- `staleness`: ceiling less warm,
- `refreshed`: the critic that g's round refreshed, also where the gate kept it from serving, and
  the critic that it began from (`served`); both have the recipe's number of labels,
- `forgotten`: refreshed less served, on the base's clips.

Accuracy is by forced choice, the mean over both orders of a pair's clips. A refresh may also teach
that one answer is right whichever clip is shown first: so its gain is given in each order, too.
Accuracies are given by dimension and at matched oracle gaps as well. All arms have the recipe's
steps. Every critic's hits are kept; the same command goes on where it stopped. With `--claims`
the dual runs of `claims.py` are gone on with, and need not be made again.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import claims
import ordered_pairs
from intervals import difference, with_ends
from ordered_pairs import Rows, points
from warm_starts import warmed

from dualipo import config
from dualipo.critic.learning import warm_start
from dualipo.evaluation.report.charts import percent
from dualipo.progress import PlainProgress
from dualipo.records import Pair
from dualipo.rounds import loop, sampling, seed_labels, world_sources
from dualipo.rounds.bad_clips import intact
from dualipo.rounds.clip_units import ClipSet
from dualipo.rounds.questions import pair_questions
from dualipo.rounds.run import BASE_GENERATOR, Run
from dualipo.rounds.versions import attempt_of, critic_made, critic_of, generator_made
from dualipo.store import atomic

Hits = dict[str, dict[str, Rows]]  # arm -> generator version -> a row for each pair


def main() -> None:
    """Make what is missing, compare, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="such as align.beta_dpo=500")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--sizes", type=int, nargs="+", default=[120, 240, 480, 960, 2400])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, help="a critic is measured on, of each generator")
    parser.add_argument("--runs", type=Path, default=Path("runs/staleness"))
    parser.add_argument("--claims", type=Path, help="where benchmarks/claims.py keeps its runs")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/staleness.json"))
    arguments = parser.parse_args()
    by_seed = {seed: one_seed(arguments, seed) for seed in arguments.seeds}
    versions = list(next(iter(by_seed.values()))["warm"])
    result = {
        "recipe": arguments.recipe.stem,
        "overrides": arguments.overrides,
        "seeds": arguments.seeds,
        "cells": [cell(by_seed, version, size) for version in versions for size in arguments.sizes],
        "refreshes": [refresh_of(by_seed, version) for version in versions[1:]],
    }
    atomic.write_text(arguments.output, json.dumps(result, indent=1) + "\n")
    print(table(result))


def one_seed(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Run the recipe, warm and measure the critics of one seed."""
    rounds, path = arguments.rounds, arguments.runs / f"run-{seed}"
    own = [f"seed={seed}", f"output_dir={path}", f"rounds={rounds}"]
    forced = f"refresh.force_rounds={list(range(rounds))}"
    loaded = config.load(arguments.recipe, [*arguments.overrides, *own, forced])
    claims.begin_with(arguments.claims, f"dual-{seed}", loaded)
    loop.run(loaded, progress=PlainProgress())
    folder = arguments.runs / f"seed-{seed}"
    atomic.make_folder(folder)
    with loop.opened(loaded, PlainProgress()) as run:
        ordered_pairs.take_pairs(run, arguments.pairs)
        made = [generator_made(r, attempt_of(run, r)) for r in range(rounds)]
        versions = [BASE_GENERATOR, *made]
        names = ["base", *(f"round {r}" for r in range(rounds))]
        hits: dict[str, Any] = {"warm": {name: {} for name in names}, "ceiling": {}}
        for size in arguments.sizes:
            labels = labels_of(run, BASE_GENERATOR, size)
            found = measured(run, folder, f"warm-{size}", labels, versions)
            for name, version in zip(names, versions, strict=True):
                hits["warm"][name][size] = found[version]
                own_hits = found
                if version != BASE_GENERATOR:
                    labels = labels_of(run, version, size)
                    arm = f"ceiling-{name.replace(' ', '-')}-{size}"
                    own_hits = measured(run, folder, arm, labels, [version])
                hits["ceiling"].setdefault(name, {})[size] = own_hits[version]
        hits["refreshed"] = {
            f"round {r}": refreshed(run, folder, r, [BASE_GENERATOR, made[r]])
            for r in range(rounds)
        }
        return hits


def labels_of(run: Run, version: str, num: int) -> list[Pair]:
    """Return `num` simulated labels of a generator's clips of the seed's training prompts."""
    prompts = sampling.fixed_prompts(run, "seed")
    known = run.ledger.version("generator", version)
    clips = ClipSet(
        name="seed" if version == BASE_GENERATOR else "staleness",
        round=known.round,
        attempt=known.attempt,
        version=version,
        prompts=prompts,
        clips_per_prompt=run.config.seed_labels.clips_per_prompt,
    )
    shown = seed_labels.keep_part(
        run.config, intact(run, sampling.sample_set(run, clips)), held_out=False
    )
    asked = pair_questions(shown, num=num, seed=run.seed("staleness", num))
    return world_sources.label_pairs(asked, clips=run.clip, seed=run.seed("annotators"))


def measured(
    run: Run, folder: Path, arm: str, labels: Sequence[Pair], versions: Sequence[str]
) -> dict[str, Rows]:
    """Warm a critic on the labels, unless its hits are known, and measure it."""
    path = folder / f"{arm}.json"
    traces = warm_start.traces(labels)
    return ordered_pairs.measured(
        run, path, versions, lambda: warmed(run, traces, traces, folder=folder / arm, name=arm)
    )


def refreshed(run: Run, folder: Path, round: int, versions: Sequence[str]) -> dict[str, Any]:
    """Measure the critic that a round refreshed and the one that it began from, if there is one."""
    made, served = critic_made(round, 0), critic_of(run, round, 0)
    known = {version.version_id for version in run.ledger.versions()}
    if made not in known:
        return {}
    arms = {"refreshed": made, "served": served}
    found = {
        arm: ordered_pairs.measured(
            run, folder / f"{arm}-{round}.json", versions, partial(run.critic, name)
        )
        for arm, name in arms.items()
    }
    base, own = versions
    return {arm: {"base": rows[base], "own": rows[own]} for arm, rows in found.items()}


def cell(by_seed: Mapping[int, Any], version: str, size: int) -> dict[str, Any]:
    """Compare warm and ceiling of a generator and a number of labels over all seeds."""
    warm, ceiling = (
        ordered_pairs.pooled({seed: hits[arm][version][size] for seed, hits in by_seed.items()})
        for arm in ("warm", "ceiling")
    )
    return {
        "version": version,
        "labels": size,
        "warm": ordered_pairs.share(warm),
        "ceiling": ordered_pairs.share(ceiling),
        "staleness": ordered_pairs.change(warm, ceiling),
    }


def refresh_of(by_seed: Mapping[int, Any], version: str) -> dict[str, Any]:
    """Compare the refreshed critic with the one before it, on its own clips and on the base's."""
    found = {seed: hits["refreshed"][version] for seed, hits in by_seed.items()}
    found = {seed: arms for seed, arms in found.items() if arms}
    result: dict[str, Any] = {"version": version, "seeds": sorted(found)}
    for name, key in (("gained", "own"), ("forgotten", "base")) if found else ():
        served, new = (
            ordered_pairs.pooled({seed: arms[arm][key] for seed, arms in found.items()})
            for arm in ("served", "refreshed")
        )
        in_each = ordered_pairs.change(served, new, ordered_pairs.EACH_ORDER)
        result |= {f"{name} from": ordered_pairs.share(served), f"{name} in each order": in_each}
        result |= {name: ordered_pairs.change(served, new)}
    return result


def table(result: Mapping[str, Any]) -> str:
    """Write the cells and the refreshes as tables in markdown."""
    lines = ["| clips of | labels | warm | ceiling | staleness, points |", "|---|---|---|---|---|"]
    for row in result["cells"]:
        cells = [with_ends(row[arm], percent) for arm in ("warm", "ceiling")]
        cells.append(difference(row["staleness"], points))
        lines.append(f"| {row['version']} | {row['labels']:,} | {' | '.join(cells)} |")
    heads = ["refresh in", "seeds", "gained, points", "in each order", "on the base's clips"]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in result["refreshes"]:
        cells = [
            difference(row[name], points) if name in row else "-"
            for name in ("gained", "gained in each order", "forgotten")
        ]
        lines.append(f"| {row['version']} | {len(row['seeds'])} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
