"""`dualipo vbench prepare | run | score`: VBench, which runs in an environment of its own.

`prepare` checks that environment, `run` samples VBench's prompts with a version of a run's
generator and scores them, and `score` reads result files that VBench wrote.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from dualipo.cli.verbs import add_run, add_verb
from dualipo.errors import ConfigError
from dualipo.evaluation.vbench import environment, prompt_file, result_files, table, totals
from dualipo.evaluation.vbench.environment import Environment
from dualipo.evaluation.vbench.prompt_file import Plan, PromptFile
from dualipo.evaluation.vbench.result_files import DimensionScore
from dualipo.evaluation.vbench.totals import DIMENSIONS
from dualipo.store import rundir

_SHOWN = 12  # letters of a hash


def add(verbs: Any) -> None:
    """Declare the verb and its parts."""
    parser = add_verb(
        verbs,
        "vbench",
        "Score generators with VBench, in an environment of its own. It has three parts: prepare, "
        "run, score.",
    )
    parts = parser.add_subparsers(metavar="PART", required=True)
    _add_prepare(parts)
    _add_run(parts)
    _add_score(parts)


def _add_prepare(parts: Any) -> None:
    prepare = add_verb(parts, "prepare", "Check VBench's environment and say what it can score.")
    prepare.add_argument(
        "--python",
        type=Path,
        required=True,
        help="The Python of the environment in which vbench is installed.",
    )
    prepare.set_defaults(act=act_prepare)


def _add_run(parts: Any) -> None:
    run = add_verb(
        parts, "run", "Sample VBench's prompts with a version of the generator and score the clips."
    )
    add_run(run)
    run.add_argument(
        "--version", required=True, help="A version of the run's generator, e.g. base or g002.0."
    )
    run.add_argument(
        "--python",
        type=Path,
        help="The Python of VBench's environment (default: the run's monitor.suite_python).",
    )
    run.add_argument(
        "--subset",
        action="store_true",
        help="Score what the recipe's monitor scores in every round, by its settings.",
    )
    add_dimensions(run)
    run.set_defaults(act=act_run)


def _add_score(parts: Any) -> None:
    score = add_verb(
        parts, "score", "Print the totals of a folder of result files that VBench wrote."
    )
    score.add_argument("folder", type=Path, help="A folder with files *_eval_results.json.")
    score.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="VBench_full_info.json, which says which clips there should be (default: the prompts "
        "that VBench wrote beside each result).",
    )
    score.add_argument(
        "--into",
        type=Path,
        metavar="RUN",
        help="Record the scores in this run, for its report and model card.",
    )
    score.add_argument("--version", help="The version of the run's generator that was scored.")
    add_dimensions(score)
    score.set_defaults(act=act_score)


def add_dimensions(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses dimensions; a total of fewer than all is no VBench total."""
    parser.add_argument(
        "--dimensions",
        nargs="+",
        choices=DIMENSIONS,
        metavar="NAME",
        default=list(DIMENSIONS),
        action=_EachOnce,
        help="The dimensions that the total is made of (default: all sixteen).",
    )


class _EachOnce(argparse.Action):
    """The option's values in their order, with none of them twice."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, list(dict.fromkeys(values)))


def act_prepare(arguments: argparse.Namespace) -> int:
    """Print what the environment can do, and the lines for a recipe."""
    with tempfile.TemporaryDirectory(prefix="dualipo-") as work:
        checked = environment.check(arguments.python, Path(work))
    prompts = prompt_file.read(checked.prompts_path)
    for line in _facts(checked, prompts):
        print(line)
    return 0


def _facts(checked: Environment, prompts: PromptFile) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in checked.versions.items())
    plan = prompt_file.plan(prompts.rows, DIMENSIONS)
    ready = [name for name in DIMENSIONS if name not in checked.unavailable]
    facts = [
        f"{checked.python}: {versions}; device {checked.device}",
        f"prompt file {checked.prompts_path}, sha256 {prompts.sha256[:_SHOWN]}",
        _planned(prompts, plan),
        f"can be imported: {', '.join(ready) or 'none'}",
    ]
    facts += [f"cannot: {name} ({why})" for name, why in checked.unavailable.items()]
    return [
        *facts,
        "VBench fetches a dimension's weights when it is first scored; temporal_flickering has "
        "none.",
        "",
        "For a score in every round, put this into the recipe:",
        "[monitor]",
        'suite = "vbench"',
        f'suite_python = "{checked.python.absolute()}"',
    ]


def _planned(prompts: PromptFile, plan: Plan) -> str:
    num = sum(plan.num_clips.values())
    return (
        f"{len(prompts.rows)} prompts with {len(prompts.prompts)} names; {plan.num_planned:,} "
        f"clips planned, {num:,} to sample, as {plan.num_planned - num} are scored for two prompts"
    )


def act_run(arguments: argparse.Namespace) -> int:
    """Score the version, and print the table or the dimensions that are missing."""
    rundir.require_run(arguments.run)
    rundir.refuse_tuning(arguments.run)
    from dualipo.cli.terminal import watching
    from dualipo.rounds import commands  # imports torch

    with watching() as progress:
        scored = commands.score_version(
            arguments.run,
            arguments.version,
            progress,
            python=arguments.python,
            dimensions=None if arguments.subset else arguments.dimensions,
        )
    print(f"VBench of {scored.version}, {scored.num_prompts} prompts ({scored.source})")
    print("\n".join(table.event_lines(scored)))
    totals.require(
        {score.dimension: score.raw for score in scored.dimensions if score.raw is not None},
        [score.dimension for score in scored.dimensions],
    )
    return 0


def act_score(arguments: argparse.Namespace) -> int:
    """Print each dimension's score, then the totals, or the gaps for which there are none."""
    if arguments.version and not arguments.into:
        raise ConfigError("--version: in which run was it scored? Name its folder with --into.")
    planned, prompts_hash = None, ""
    if arguments.prompts:
        prompts = prompt_file.read(arguments.prompts)
        plan, prompts_hash = prompt_file.plan(prompts.rows, DIMENSIONS), prompts.sha256
        per_prompt = prompt_file.CLIPS_PER_PROMPT
        planned = {name: plan.scored(name, per_prompt) for name in DIMENSIONS}
    scores = result_files.read_folder(arguments.folder, planned)
    if arguments.into:
        _record(arguments, scores, prompts_hash)
    raw = {name: score.raw for name, score in scores.items()}
    if totals.missing(raw, arguments.dimensions):
        print("\n".join(table.lines(scores)))
    reached = totals.totals(raw, arguments.dimensions)
    print("\n".join(table.lines(scores, reached)))
    return 0


def _record(
    arguments: argparse.Namespace, scores: dict[str, DimensionScore], prompts_hash: str
) -> None:
    """Record the scores in a run."""
    rundir.require_run(arguments.into)
    if not arguments.version:
        raise ConfigError("--into: which version was scored? Name it with --version, e.g. base.")
    from dualipo.cli.terminal import watching
    from dualipo.rounds import commands  # imports torch

    with watching() as progress:
        commands.import_scores(
            arguments.into, arguments.version, scores, progress, prompts_hash=prompts_hash
        )
    print(f"recorded in {arguments.into}, for {arguments.version}\n")
