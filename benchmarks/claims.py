"""Tests the claims in the embedded world: dual iteration against the base and against its controls.

    python benchmarks/claims.py recipes/world.toml --seeds 0 1 2 --output benchmarks/results
    python benchmarks/claims.py recipes/world.toml --seeds 0 --arms dual      # this run alone

A seed's runs share the warm start (`dualipo fork`), and each resumes where it stopped. For every
seed the last round's oracle total on test prompts is compared, prompt by prompt, with (a) the base
generator, (b) the same run without critic updates, (c) the same run with coin-flip verdicts, (d)
the same run with the NLL terms alone; the intervals are 95 % paired bootstraps clustered by prompt.
The accuracy of the shipped and of the warm-started critic is measured by forced choice on pairs
that the oracle orders. The result is written as data, whether the claims hold or not.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from intervals import bold, difference

from dualipo import config, open_run
from dualipo.config import Config
from dualipo.evaluation import summary
from dualipo.evaluation.bootstrap import by_prompt, paired_difference
from dualipo.evaluation.report.charts import percent, three_decimals
from dualipo.evaluation.report.report_tables import Table
from dualipo.events import ScoresEvent
from dualipo.progress import PlainProgress
from dualipo.store import atomic
from dualipo.store.fork import fork

# The bounds of the critic's forced-choice accuracy: at most before, at least after its warm start.
MOST_SHIPPED, LEAST_WARM = 0.60, 0.75
# The controls take as many optimizer steps on as many pairs, but never refresh their critic.
ARMS: dict[str, list[str]] = {
    "dual": [],
    "no_update": ["refresh.update_critic=false"],
    "coin_flip": ["verdicts=coin_flip", "refresh.update_critic=false"],
    "nll_alone": ["align.preference_weight=0", "refresh.update_critic=false"],
}
HEADINGS = {
    "base": "- base",
    "no_update": "- no critic updates",
    "coin_flip": "- coin flips",
    "nll_alone": "- NLL alone",
}
CONTROLS = tuple(name for name in HEADINGS if name != "base")


def scores(run_path: Path) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Return the oracle's totals by test prompt, of the base and of the last round."""
    events = [event for _, event in open_run(run_path).events(ScoresEvent)]
    first, last = (by_prompt(event.total, event.prompt_ids) for event in (events[0], events[-1]))
    return first, last


def in_words(claims: Mapping[str, Any]) -> str:
    """Say the method's gain, and beside it that of the NLL terms alone and of critic updates."""
    differences = [seed["dual_minus"] for seed in claims.values()]
    gains = [difference["base"]["mean"] for difference in differences]
    alone = [each["base"]["mean"] - each["nll_alone"]["mean"] for each in differences]
    tried = [outcome for seed in claims.values() for outcome in _tried(seed["rounds"]["dual"])]
    return (
        f"In {len(gains)} seeds of a larger run, the total rose by {fmean(gains):.3f} on average, "
        f"and by {fmean(alone):.3f} where the NLL terms trained alone, without any preference. "
        f"{tried.count('refreshed')} of {len(tried)} refreshes gave a critic that served."
        f"{_of_updates([each.get('no_update') for each in differences])}"
    )


def _of_updates(differences: Sequence[Mapping[str, Any] | None]) -> str:
    """Say what the critic's updates added; nothing where a seed was not run without them."""
    known = [difference for difference in differences if difference is not None]
    if len(known) < len(differences):
        return ""
    mean = fmean(difference["mean"] for difference in known)
    shown = sum(difference["excludes_zero"] for difference in known)
    return (
        f" The critic's updates changed the total by {mean:+.3f} on average, against the same run "
        f"without them; in {shown} of {len(known)} seeds the interval excludes 0."
    )


def run_arms(
    recipe: Path,
    arms: Mapping[str, Sequence[str]],
    *,
    runs: Path,
    seed: int,
    shared: Sequence[str] = (),
    claims: Path | None = None,
) -> None:
    """Make or resume `runs`/ARM-SEED for every arm's overrides, all from one warm start.

    Of what the folder `claims` of this benchmark holds already, nothing is made again.
    """
    from dualipo.rounds import loop

    common = [*shared, f"seed={seed}"]
    before = runs / f"before-{seed}"
    settings = config.load(recipe, [*common, "rounds=0", f"output_dir={before}"])
    begin_with(claims, before.name, settings)
    loop.run(settings, progress=PlainProgress())
    for arm, overrides in arms.items():
        path = runs / f"{arm}-{seed}"
        settings = config.load(recipe, [*common, *overrides, f"output_dir={path}"])
        begin_with(claims, path.name, settings)
        begin_with(runs, before.name, settings)
        loop.run(settings, progress=PlainProgress())


def begin_with(claims: Path | None, name: str, settings: Config) -> None:
    """Copy a run from the folder of this benchmark to where a run of these settings shall be.

    Nothing is done without a folder, without that run in it, or where the run has begun.
    """
    path = Path(settings.output_dir)
    if claims is not None and (claims / name).exists() and not path.exists():
        fork(claims / name, path, settings)


def compare(folder: Path, seed: int) -> dict[str, Any]:
    """Return one seed's paired differences, each run's rounds, and the critic's accuracy."""
    base, dual = scores(folder / f"dual-{seed}")
    others = {"base": base}
    others |= {arm: scores(folder / f"{arm}-{seed}")[1] for arm in CONTROLS}
    differences = {name: paired_difference(scored, dual) for name, scored in others.items()}
    tables = {arm: summary.as_dict(folder / f"{arm}-{seed}") for arm in ARMS}
    return {
        "num_test_prompts": len(base),
        "dual_minus": {
            name: asdict(difference) | {"excludes_zero": difference.excludes_zero}
            for name, difference in differences.items()
        },
        "critic_on_oracle_pairs": tables["dual"]["critic_on_oracle_pairs"],
        "warm_start": tables["dual"]["warm_start"],
        "rounds": {arm: table["rounds"] for arm, table in tables.items()},
    }


def table(results: dict[str, Any]) -> str:
    """Return the seeds' differences and critics in markdown, in bold where a claim holds.

    A difference should exclude 0; a critic's accuracy should keep to its bound.
    """
    heads = ["seed", "base", "last round", *HEADINGS.values()]
    heads += [
        f"critic shipped (at most {percent(MOST_SHIPPED)})",
        f"warm start (at least {percent(LEAST_WARM)})",
        "refreshed critics that served",
    ]
    rows = []
    for seed, result in results.items():
        of_dual = result["rounds"]["dual"]
        ends = (three_decimals(of_dual[0]["total"]), three_decimals(of_dual[-1]["total"]))
        shipped, warm = (
            result["critic_on_oracle_pairs"][name] for name in ("shipped", "warm start")
        )
        differences = [_difference(result["dual_minus"], name) for name in HEADINGS]
        critics = (
            _bold_if(shipped <= MOST_SHIPPED, percent(shipped)),
            _bold_if(warm >= LEAST_WARM, percent(warm)),
        )
        rows.append([seed, *ends, *differences, *critics, _served(of_dual)])
    return Table(heads, rows).in_markdown()


def _difference(differences: Mapping[str, Any], name: str) -> str:
    return difference(differences[name]) if name in differences else "-"  # an older result


def _served(rounds: Sequence[Mapping[str, Any]]) -> str:
    tried = _tried(rounds)
    return f"{tried.count('refreshed')} of {len(tried)}"


def _tried(rounds: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how each refresh ended that was tried."""
    outcomes = [row["refresh"] for row in rounds]
    tried = ("refreshed", "reverted", "empty", "too few")
    return [outcome for outcome in outcomes if outcome in tried]


def _bold_if(holds: bool, text: str) -> str:
    return bold(text) if holds else text


def main() -> None:
    """Run the missing arms, compare them, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="*", choices=ARMS, help="make these, compare nothing")
    parser.add_argument("--runs", type=Path, default=Path("runs/claims"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    only = arguments.arms
    arms = ARMS if only is None else {name: ARMS[name] for name in only}
    for seed in arguments.seeds:
        run_arms(arguments.recipe, arms, runs=arguments.runs, seed=seed)
    if only is not None:
        return
    results = {f"{seed}": compare(arguments.runs, seed) for seed in arguments.seeds}
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / f"claims-{arguments.recipe.stem}.json", results)
    print(table(results))


if __name__ == "__main__":
    main()
