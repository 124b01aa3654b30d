"""Follows one seed over many rounds: the loop, the loop without critic updates, one static round.

    python benchmarks/later_rounds.py recipes/world.toml --seed 0 --rounds 5
    python benchmarks/later_rounds.py recipes/smoke.toml --rounds 2 --runs runs/try        # a trial

All arms share one warm start and take as many alignment steps in all. The static arm judges once:
it takes the steps of all rounds on the preferences of its first. Every version's gain over the base
is a 95 % paired bootstrap clustered by prompt, as are the last differences between the arms. The
runs resume. With `--claims` the runs of `claims.py` are gone on with, and need not be made again.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from claims import ARMS, run_arms
from intervals import difference

from dualipo import config, open_run
from dualipo.evaluation.bootstrap import by_prompt, paired_difference
from dualipo.evaluation.report.report_tables import Table
from dualipo.events import ScoresEvent
from dualipo.store import atomic

HEADINGS = {"dual": "dual", "no_update": "no critic updates", "static": "one static round"}


def main() -> None:
    """Run the missing rounds, compare, and write the result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=Path("runs/later-rounds"))
    parser.add_argument("--claims", type=Path, help="where benchmarks/claims.py keeps its runs")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/later-rounds.json"))
    arguments = parser.parse_args()
    steps = config.load(arguments.recipe).align.max_train_steps * arguments.rounds
    rounds = f"rounds={arguments.rounds}"
    arms = {name: [*ARMS[name], rounds] for name in ("dual", "no_update")}
    arms["static"] = ["refresh.update_critic=false", "rounds=1", f"align.max_train_steps={steps}"]
    run_arms(
        arguments.recipe, arms, runs=arguments.runs, seed=arguments.seed, claims=arguments.claims
    )
    result = {
        "recipe": arguments.recipe.stem,
        "seed": arguments.seed,
        "rounds": arguments.rounds,
        "steps": steps,
        **compared({arm: totals(arguments.runs / f"{arm}-{arguments.seed}") for arm in arms}),
    }
    atomic.write_text(arguments.output, json.dumps(result, indent=1) + "\n")
    print(table(result))


def totals(run: Path) -> list[dict[str, list[float]]]:
    """Return the oracle's totals by test prompt, of the base and of every round."""
    return [
        by_prompt(event.total, event.prompt_ids) for _, event in open_run(run).events(ScoresEvent)
    ]


def compared(arms: Mapping[str, list[dict[str, list[float]]]]) -> dict[str, Any]:
    """Return each round's gain over the base by arm, and the dual arm's end less the others'."""
    gains = {
        arm: [asdict(paired_difference(base, later)) for later in rounds]
        for arm, (base, *rounds) in arms.items()
    }
    dual = arms["dual"][-1]
    others = {arm: rounds[-1] for arm, rounds in arms.items() if arm != "dual"}
    added = {arm: asdict(paired_difference(other, dual)) for arm, other in others.items()}
    return {"gain_over_base": gains, "dual_minus": added}


def table(result: Mapping[str, Any]) -> str:
    """Write the gains round by round, and the last differences, as a table in markdown.

    The static arm's only round stands in the row whose number of steps it took.
    """
    gains, rounds = result["gain_over_base"], result["rounds"]
    columns = {
        arm: [*["-"] * (rounds - len(own)), *map(difference, own)] for arm, own in gains.items()
    }
    rows = [
        [f"after round {number}", *cells]
        for number, cells in enumerate(zip(*(columns[arm] for arm in HEADINGS), strict=True))
    ]
    added = [
        difference(result["dual_minus"][arm]) if arm in result["dual_minus"] else ""
        for arm in HEADINGS
    ]
    return Table(
        ["gain over base", *HEADINGS.values()], [*rows, ["dual less it", *added]]
    ).in_markdown()


if __name__ == "__main__":
    main()
