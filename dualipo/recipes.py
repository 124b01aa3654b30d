"""A recipe as a tree of plain values: read from TOML, and overridden by `group.key=value`.

An override's value is read as JSON where it is JSON, else as text. Which keys exist is not known
here, but in `config`.
"""

import os
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from dualipo import text_files
from dualipo.errors import ConfigError


def read(path: Path) -> dict[str, Any]:
    """Read the tree of a TOML file; `-` and `_` are the same in a key.

    The recipes that ship are in the package too, so `recipes/quick.toml` is found in any folder.
    """
    is_elsewhere = os.path.exists(path) or path.parent.name not in ("", "recipes")
    found = path if is_elsewhere else _shipped(path)
    if not os.path.exists(found):  # a name that is too long exists nowhere
        names = ", ".join(sorted(recipe.name for recipe in _shipped(path).parent.glob("*.toml")))
        fact = f"{path}: there is no such recipe."
        raise ConfigError(f"{fact} Name a TOML file, or one of those that ship: {names}.")
    tree = text_files.read_toml(found, remedy="Correct the recipe.", error=ConfigError)
    return snake_case(tree, subject=str(path))


def overview() -> str:
    """Return the recipes that ship, one a line, each with its first sentence."""
    lines = []
    for path in sorted(_shipped(Path()).glob("*.toml")):
        first = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"  recipes/{path.name:<24}{re.split('[:.] ', first)[0]}")
    return "\n".join(lines)


def _shipped(path: Path) -> Path:
    return Path(str(files("dualipo") / "shipped_recipes" / path.name))


def nested(leaves: dict[str, Any]) -> dict[str, Any]:
    """Return the tree of `{"group.key": value, ...}`."""
    tree: dict[str, Any] = {}
    for key, value in leaves.items():
        *groups, leaf = key.split(".")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{key}: `{group}` is a value, not a group. Remove one of both.")
        inner[leaf] = value
    return tree


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a tree as `{"group.key": value, ...}`."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            inner = flat(value, f"{prefix}{name}.")
        else:
            inner = {prefix + name: value}
        if repeated := leaves.keys() & inner.keys():
            raise ConfigError(f"`{min(repeated)}` stands there twice. Remove one of both.")
        leaves |= inner
    return leaves


def snake_case(tree: dict[str, Any], *, subject: str, prefix: str = "") -> dict[str, Any]:
    """Return the tree with `beta-dpo` written `beta_dpo` at every level.

    A key that stands there in two spellings is refused, since one of its values would be lost.
    """
    renamed: dict[str, Any] = {}
    for key, value in tree.items():
        name = key.replace("-", "_")
        if name in renamed:
            raise ConfigError(
                f"{subject}: `{prefix}{name}` stands there twice, with - and with _. Remove one."
            )
        inner = f"{prefix}{name}."
        is_group = isinstance(value, dict)
        renamed[name] = snake_case(value, subject=subject, prefix=inner) if is_group else value
    return renamed


def require_one_spelling(overrides: Sequence[str]) -> None:
    """Refuse overrides of one key with - and with _: nobody knows which of them is meant."""
    spelling_of: dict[str, str] = {}
    for key in (override.partition("=")[0] for override in overrides):
        other = spelling_of.setdefault(key.replace("-", "_"), key)
        if other != key:
            raise ConfigError(f"{key}: given twice, also as {other}. Leave out one of both.")


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
        tree[leaf] = text_files.json_value(text)
    except text_files.Unreadable:
        tree[leaf] = text
