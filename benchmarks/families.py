"""The gain in oracle score that DPO and KTO each bring to each embedded generator.

    python benchmarks/families.py recipes/world.toml rounds=1 refresh.update_critic=false
    python benchmarks/families.py RECIPE KEY=VALUE --claims runs/claims   # Wan: its warm starts
    python benchmarks/families.py RECIPE KEY=VALUE --families cogvideox --losses kto --seeds 0

For each family and seed both losses share a warm start (`dualipo fork`), and every run resumes
where it stopped; overrides hold for all of them. The last round's oracle total on test prompts is
compared with the base generator's, prompt by prompt, from the same noise, for each seed and for all
seeds together. It is also compared with the large Wan's base: does a small generator, aligned, beat
it? Intervals are 95 % paired bootstraps clustered by prompt. Beside them stands the standard
deviation of z, which tells whether beta fits: METHOD.md 4.2 wants 0.3 to 1. KTO's labels are the
best and the worst clip of a prompt, since a small critic's grades name too few clips desirable. The
result is written as data, whether the claim holds or not, and so is why a run could not go on.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import claims
from intervals import difference

from dualipo import config, open_run
from dualipo.errors import DualipoError
from dualipo.evaluation.bootstrap import Interval, paired_difference
from dualipo.evaluation.report.charts import three_decimals
from dualipo.evaluation.report.report_tables import Table
from dualipo.event_json import to_json
from dualipo.events import AlignEvent
from dualipo.rounds.run import model_folder
from dualipo.store import atomic

LARGE = "wan-large"
# z of DPO is half a beta times a gap of two gains, that of KTO a beta times one gain.
FAMILIES = {
    LARGE: ["generator.pretrained_model_name_or_path=embedded-large", "align.beta_kto=100"],
    "wan": ["generator.pretrained_model_name_or_path=embedded", "align.beta_kto=100"],
    "cogvideox": [  # a velocity has half the variance of Wan's flow, hence twice the betas
        "generator.pretrained_model_name_or_path=embedded-cogvideox",
        "align.beta_dpo=200",
        "align.beta_kto=200",
    ],
}
LOSSES = {
    "dpo": ["align.loss_type=dpo"],
    "kto": ["align.loss_type=kto", "align.kto_labels=extremes"],
}
DEFAULT_SEEDS = [0, 1, 2]
SHOWN = ("z_std", "implicit_accuracy", "winner_gap", "loser_gap")
Scores = dict[str, list[float]]


def alignments(run_path: Path) -> list[dict[str, Any]]:
    """Read the last metrics of each alignment of a run."""
    events = [to_json(event) for _, event in open_run(run_path).events(AlignEvent)]
    return [{name: value[name] for name in SHOWN if name in value} for value in events]


def compare(runs: Path, loss: str, seeds: list[int]) -> dict[str, Any]:
    """Compute the gains over the base of each seed and of all, for a family's runs and a loss."""
    paths = {seed: runs / f"{loss}-{seed}" for seed in seeds}
    ends = {seed: claims.scores(path) for seed, path in paths.items()}
    gains = {f"{seed}": described(paired_difference(*both)) for seed, both in ends.items()}
    base, last = (of_all({seed: both[end] for seed, both in ends.items()}) for end in (0, 1))
    return {
        "base": mean(base),
        "last_round": mean(last),
        "gain": described(paired_difference(base, last)),
        "gain_by_seed": gains,
        "alignments": {f"{seed}": alignments(path) for seed, path in paths.items()},
    }


def against_large(runs: Path, family: str, loss: str, seeds: list[str]) -> dict[str, Any]:
    """Subtract the large Wan's base from the last round of `family`, over the same prompts."""
    large, last = (
        of_all({seed: claims.scores(runs / name / f"{loss}-{seed}")[end] for seed in seeds})
        for end, name in enumerate((LARGE, family))
    )
    return described(paired_difference(large, last))


def of_all(by_seed: Mapping[Any, Scores]) -> Scores:
    """Pool the seeds' scores; the same prompt of two seeds counts as two prompts."""
    return {
        f"{seed} {prompt}": values
        for seed, scores in by_seed.items()
        for prompt, values in scores.items()
    }


def mean(scores: Scores) -> float:
    """Average over prompts, each with the same weight."""
    return sum(sum(values) / len(values) for values in scores.values()) / len(scores)


def described(gain: Interval) -> dict[str, Any]:
    """Return an interval as JSON values, and whether all of it is a rise."""
    return asdict(gain) | {"rises": gain.low > 0}


def table(results: dict[str, Any]) -> str:
    """Format a line for each family and loss, in markdown; a bold gain is a rise."""
    heads = ["generator", "loss", "base", "last round", "gain", "seeds that rise alone"]
    heads += ["- the large Wan's base"]
    rows = []
    for family, of_family in results["families"].items():
        for loss, result in of_family.items():
            if "gain" not in result:
                continue
            alone = [gain["rises"] for gain in result["gain_by_seed"].values()]
            ends = (three_decimals(result["base"]), three_decimals(result["last_round"]))
            gain = difference(result["gain"])
            large = difference(result["minus_large_base"]) if "minus_large_base" in result else ""
            rows.append([family, loss, *ends, gain, f"{sum(alone)} of {len(alone)}", large])
    return Table(heads, rows).in_markdown()


def results_of(
    family: str, overrides: list[str], arguments: argparse.Namespace
) -> dict[str, dict[str, Any]]:
    """Make or resume this family's runs, and compare those that reach their end."""
    runs = arguments.runs / family
    ended: dict[str, list[int]] = {loss: [] for loss in arguments.losses}
    stopped: dict[str, dict[str, str]] = {loss: {} for loss in arguments.losses}
    for seed in arguments.seeds:
        has_warm = family == "wan" and arguments.claims
        for loss in arguments.losses:
            try:
                claims.run_arms(
                    arguments.recipe,
                    {loss: LOSSES[loss]},
                    runs=runs,
                    seed=seed,
                    shared=overrides,
                    claims=arguments.claims if has_warm else None,
                )
                ended[loss].append(seed)
            except DualipoError as failure:  # one run's labels, say, must not cost the others
                stopped[loss][f"{seed}"] = str(failure)
    return {
        loss: {"stopped": stopped[loss]} | (compare(runs, loss, seeds) if seeds else {})
        for loss, seeds in ended.items()
    }


def file_name(arguments: argparse.Namespace) -> str:
    """Name the file after what was left out, so that no part overwrites another."""
    parts = ["families", arguments.recipe.stem]
    for chosen, everything in (
        (arguments.families, [*FAMILIES]),
        (arguments.losses, [*LOSSES]),
        (arguments.seeds, DEFAULT_SEEDS),
    ):
        parts += [] if chosen == everything else [str(part) for part in chosen]
    return "-".join(parts)


def main() -> None:
    """Run what is missing, compare, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="of every run, such as rounds=1")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=[*FAMILIES])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=[*LOSSES])
    parser.add_argument("--seeds", type=int, nargs="+", default=DEFAULT_SEEDS)
    parser.add_argument("--runs", type=Path, default=Path("runs/families"))
    parser.add_argument("--claims", type=Path, help="where benchmarks/claims.py keeps its runs")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    shared = {name: [*FAMILIES[name], *arguments.overrides] for name in arguments.families}
    for overrides in shared.values():  # before an hour is spent on the first family
        loaded = config.load(arguments.recipe, overrides)
        model_folder(loaded.generator.pretrained_model_name_or_path, "generator")
    atomic.make_folder(arguments.output)
    path = arguments.output / f"{file_name(arguments)}.json"
    by_family: dict[str, Any] = {}
    results = {"overrides": shared, "seeds": arguments.seeds, "families": by_family}
    for family, overrides in shared.items():
        by_family[family] = results_of(family, overrides, arguments)
        for loss, of_loss in by_family[family].items():
            seeds = [*of_loss.get("gain_by_seed", {})]
            large = by_family.get(LARGE, {}).get(loss, {}).get("gain_by_seed", {})
            if seeds and large.keys() >= {*seeds}:
                of_loss["minus_large_base"] = against_large(arguments.runs, family, loss, seeds)
        atomic.write_json(path, results)
        print(json.dumps({family: by_family[family]}, indent=2), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
