"""A recipe as a tree of plain values: read from TOML, and overridden by `group.key=value`.

An override's value is read as JSON where it is JSON, else as text. Leaves out which keys exist: see
`config`.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

from dualipo.errors import ConfigError


def read(path: Path) -> dict[str, Any]:
    """The tree of a TOML file; `-` and `_` are the same in a key."""
    try:
        tree = tomllib.loads(path.read_text())
    except FileNotFoundError as missing:
        raise ConfigError(f"{path}: no such recipe. See `ls recipes/`.") from missing
    except (IsADirectoryError, PermissionError) as refusal:
        raise ConfigError(f"{path}: {refusal.strerror}. Name a TOML file.") from refusal
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise ConfigError(f"{path}: not TOML ({broken}). Mend that line.") from broken
    return snake_case(tree)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """The tree of `{"group.key": value, ...}`."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *groups, leaf = key.split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[leaf] = value
    return tree


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
