"""`dualipo fork RUN NEW [key=value ...]`: begin ablations that share a seed and a warm start."""

import argparse
from pathlib import Path
from typing import Any

from dualipo.cli.run import begun_with
from dualipo.cli.verbs import add_force_disk, add_verb
from dualipo.errors import ConfigError
from dualipo.stages import REDOABLE

_DESCRIPTION = """Copy a run, to go on with other settings. The copy shares all that the run has
done, or with --stage what came before a stage of a round; settings may change that nothing which is
kept has used."""


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(verbs, "fork", _DESCRIPTION)
    add_force_disk(parser)
    parser.add_argument("run", type=Path, help="The folder of a run.")
    parser.add_argument("new", type=Path, help="The folder of the copy.")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="Change a setting, e.g. rounds=3."
    )
    parser.add_argument(
        "--stage", choices=tuple(REDOABLE), help="Leave out this stage, and all that followed."
    )
    parser.add_argument(
        "--from-round", type=int, help="The round of --stage, from 0 (default: the last begun)."
    )
    parser.add_argument(
        "--version",
        help="Let the next round go on from this version of the generator, e.g. g001.0, where all "
        "rounds that were begun are over (default: the recommended).",
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Copy the run, and print the command that goes on."""
    from dualipo.store.fork import fork

    settings = begun_with(arguments.run, arguments.overrides, output_dir=arguments.new)
    from dualipo.rounds import preflight  # imports torch

    if arguments.from_round is not None and arguments.stage is None:
        raise ConfigError("--from-round: it needs --stage. Add for example `--stage align`.")
    kept = _kept(arguments)
    preflight.require(settings, begun_at=arguments.run, force_disk=arguments.force_disk)
    fork(
        arguments.run,
        arguments.new,
        settings,
        from_round=arguments.from_round,
        stage=arguments.stage,
        kept=kept,
    )
    print(f"{arguments.new}: the copy is ready. Go on with `dualipo resume {arguments.new}`.")
    return 0


def _kept(arguments: argparse.Namespace) -> tuple[int, str] | None:
    """Return round and id of the generator that the next round goes on from; None for the last.

    It is chosen at the end of a round only, and said where it is not the one that was made last.
    """
    from dualipo.evaluation import recommended, run_history
    from dualipo.store.run_reader import RunReader

    run = RunReader(arguments.run)
    history = run_history.read(run) if run.has_ledger else None
    is_between = history is not None and 0 < len(history.finished_rounds) == len(history.rounds)
    if arguments.stage is not None or history is None or not is_between:
        if arguments.version is not None:
            raise ConfigError(
                "--version: a round is under way in the copy, and it began from another version. "
                "Leave --version out, or end the round first."
            )
        return None
    choice = recommended.recommend(history)
    wanted, why = choice.version_id, f"it is recommended: {choice.why}"
    if arguments.version is not None:
        wanted, why = arguments.version, "--version names it"
    version = run.version("generator", wanted)
    if wanted == recommended.version_of(history.rounds[-1]):
        return None
    print(f"The next round goes on from {wanted}, as {why}. `--version` names another.")
    return version.round, wanted
