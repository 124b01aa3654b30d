"""A recipe as a tree of plain values: read from TOML, and overridden by `group.key=value`.

An override's value is read as JSON where it is JSON, else as text. Which keys exist is not known
here, but in `config`.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

from dualipo.errors import ConfigError


def read(path: Path) -> dict[str, Any]:
    """Read the tree of a TOML file; `-` and `_` are the same in a key."""
    try:
        tree = tomllib.loads(path.read_text())
    except FileNotFoundError as missing:
        raise ConfigError(f"{path}: there is no such recipe. See `ls recipes/`.") from missing
    except (IsADirectoryError, PermissionError) as refusal:
        raise ConfigError(
            f"{path}: the recipe cannot be read ({refusal.strerror}). Name a TOML file."
        ) from refusal
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise ConfigError(
            f"{path}: the recipe is not TOML ({broken}). Correct that line."
        ) from broken
    return snake_case(tree)


def nested(leaves: dict[str, Any]) -> dict[str, Any]:
    """Return the tree of `{"group.key": value, ...}`."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        *groups, leaf = key.split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[leaf] = value
    return tree


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a tree as `{"group.key": value, ...}`."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{name}.")
        else:
            leaves[prefix + name] = value
    return leaves


def snake_case(tree: dict[str, Any]) -> dict[str, Any]:
    """Return the tree with `beta-dpo` written `beta_dpo` at every level."""
    return {
        key.replace("-", "_"): snake_case(value) if isinstance(value, dict) else value
        for key, value in tree.items()
    }


def apply(tree: dict[str, Any], override: str) -> None:
    """Put an override's value into the tree, in place."""
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(
            f"{override}: this is no override. Write it as group.key=value, e.g. align.rank=64."
        )
    *groups, leaf = key.replace("-", "_").split(".")
    for group in groups:
        tree = tree.setdefault(group, {})
        if not isinstance(tree, dict):
            raise ConfigError(
                f"{override}: `{group}` is a value, not a group. Leave out what follows it."
            )
    try:
        tree[leaf] = json.loads(text)
    except json.JSONDecodeError:
        tree[leaf] = text
