"""Overrides of a recipe, `group.key=value`, applied to its tree of plain values.

A value is read as JSON where it is JSON, else as text. Leaves out which keys exist: see `config`.
"""

import json
from typing import Any

from dualipo.errors import ConfigError


def snake_case(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with `beta-dpo` written `beta_dpo` at every level."""
    return {
        key.replace("-", "_"): snake_case(value) if isinstance(value, dict) else value
        for key, value in tree.items()
    }


def apply(tree: dict[str, Any], override: str) -> None:
    """Put an override's value into the tree, in place."""
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"{override}: an override has the form group.key=value.")
    *groups, leaf = key.replace("-", "_").split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            raise ConfigError(
                f"{override}: `{group}` is a value, not a group. Drop what follows it."
            )
    try:
        tree[leaf] = json.loads(text)
    except json.JSONDecodeError:
        tree[leaf] = text
