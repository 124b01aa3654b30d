"""`dualipo labels check | drop LABELS`: finds clips that cannot be decoded, takes labels off."""

import argparse
from pathlib import Path
from typing import Any

from dualipo.cli.verbs import add_verb

ABOUT = "Find clips of a label set that no reader decodes, or drop labels."
ABOUT_ACTION = {
    "check": "Decode every clip of a label set. The command ends with 1 if one cannot be decoded.",
    "drop": "Take labels off a label set, with the clips that no other label names, or off what "
    "people answered for a run. A run that has begun keeps its own copy of the labels, and leaves "
    "out a clip that it cannot decode.",
}
SHOWN = 20  # labels and clips that are listed; the rest is counted


def add(verbs: Any) -> None:
    """Declare the verb and its actions."""
    actions = add_verb(verbs, "labels", ABOUT).add_subparsers(metavar="ACTION", required=True)
    for name, act in (("check", check), ("drop", drop)):
        action = add_verb(actions, name, ABOUT_ACTION[name])
        action.add_argument(
            "labels", type=Path, help="The folder of a label set, or a run that people labelled."
        )
        action.set_defaults(act=act)
    dropping = actions.choices["drop"]
    dropping.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="The id of a label; or the sha256 or the file of a clip, for all labels of it.",
    )
    dropping.add_argument(
        "--unreadable", action="store_true", help="Drop all labels of clips that cannot be decoded."
    )
    dropping.add_argument("--dry-run", action="store_true", help="Report and change nothing.")


def check(arguments: argparse.Namespace) -> int:
    """Decode every clip, and list those that cannot be."""
    from dualipo.preferences import dropping

    faults = dropping.unreadable(arguments.labels)
    _list([*faults.values()])
    if faults:
        print(
            f"{arguments.labels}: {len(faults)} clips cannot be decoded. Take their labels off "
            f"with `dualipo labels drop {arguments.labels} --unreadable`."
        )
        return 1
    print(f"{arguments.labels}: every clip can be decoded.")
    return 0


def drop(arguments: argparse.Namespace) -> int:
    """Take the labels off, and print which."""
    from dualipo.errors import ConfigError
    from dualipo.preferences import dropping

    if not arguments.names and not arguments.unreadable:
        raise ConfigError("labels drop: no label is named. Give an id, a clip, or --unreadable.")
    dropped = dropping.drop(
        arguments.labels,
        arguments.names,
        and_unreadable=arguments.unreadable,
        dry_run=arguments.dry_run,
    )
    _list([*dropped.unreadable.values()])
    _list([f"{label.dimension} of {label.prompt!r}" for label in dropped.labels])
    verb = "would be dropped" if arguments.dry_run else "dropped"
    print(
        f"{arguments.labels}: {len(dropped.labels)} labels {verb}, {len(dropped.left.every)} left."
    )
    return 0


def _list(lines: list[str]) -> None:
    for line in lines[:SHOWN]:
        print(f"  {line}")
    if len(lines) > SHOWN:
        print(f"  and {len(lines) - SHOWN} more")
