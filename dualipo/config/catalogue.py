"""The settings as a list to be shown: each with its default and its meaning, and what differs."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dualipo import redaction
from dualipo.config.experiment import Config
from dualipo.config.fields import Group
from dualipo.config.reading import leaves


@dataclass(frozen=True)
class Setting:
    """One setting: its key, the key of its group, its default, and what it means."""

    key: str
    group: str
    default: Any
    description: str


def settings() -> list[Setting]:
    """Return every setting in the order of a run's `config.json`."""
    defaults = leaves(Config())
    return [
        Setting(f"{prefix}{name}", prefix.rstrip("."), defaults[f"{prefix}{name}"], description)
        for prefix, group in _groups(Config(), "")
        for name, description in _descriptions(group)
    ]


def groups() -> dict[str, str]:
    """Return the sentence that says what each group is, by its key; "" is the whole tree."""
    return {
        prefix.rstrip("."): (type(group).__doc__ or "").strip().splitlines()[0]
        for prefix, group in _groups(Config(), "")
    }


def as_toml(value: Any) -> str:
    """Spell a value as in a recipe; `null`, for no value, is an override's.

    An override spells a table as JSON, so with colons.
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key} = {as_toml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, dict):
        members = (f"{json.dumps(key)} = {as_toml(inner)}" for key, inner in value.items())
        return f"{{ {', '.join(members)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def in_short(value: Any) -> Any:
    """Return a value as a line can hold it: of a whole set of questions its name and its hash."""
    if not isinstance(value, dict) or "name" not in value:
        return value
    plain = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return f"{value['name']} ({hashlib.sha256(plain.encode()).hexdigest()[:8]})"


def marked(config: Config) -> list[str]:
    """Return a line for each setting, with a star and the default where the two differ.

    Secrets are left out.
    """
    defaults = leaves(Config())
    lines = []
    for key, value in redaction.redact(leaves(config)).items():
        text = f"{key} = {as_toml(in_short(value))}"
        differs = value != defaults[key]
        note = f"  (default: {as_toml(defaults[key])})" if differs else ""
        lines.append(f"{'*' if differs else ' '} {text}{note}")
    return lines


def _groups(group: Group, prefix: str) -> Iterator[tuple[str, Group]]:
    """Yield a group and those inside it, each with the beginning of its settings' keys."""
    yield prefix, group
    for name in type(group).model_fields:
        if isinstance(inner := getattr(group, name), Group):
            yield from _groups(inner, f"{prefix}{name}.")


def _descriptions(group: Group) -> Iterator[tuple[str, str]]:
    for name, field in type(group).model_fields.items():
        if not isinstance(getattr(group, name), Group):
            yield name, field.description or ""
