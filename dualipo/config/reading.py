"""Reads a configuration from a recipe or from a run's `config.json`, and explains what is wrong.

A dotted override (`align.beta_dpo=3000`) replaces one setting; `-` and `_` are the same in a key.
An unknown key is an error that names the nearest known one.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dualipo import recipes, redaction
from dualipo.config import sense
from dualipo.config.experiment import Config
from dualipo.config.fields import Group
from dualipo.config.questions import Questions
from dualipo.errors import ConfigError

# Settings of older versions that could have one value alone; what it said is always so now.
RETIRED: dict[str, Any] = {
    "align.lora_dropout": 0.0,
    "critic.cross_check": "talking",
    "refresh.max_holdout_drop": 0.0,
    "refresh.srpo.unanimous": "hint",
}
_INSTEAD = {
    "critic.cross_check": "Set critic.cross_check_share, where 1 tries every caption.",
    "refresh.srpo.unanimous": "Set refresh.srpo.keep_unanimous = false to leave them out.",
    "refresh.max_holdout_drop": "A gate decides; refresh.gate_margin is what it should see.",
}

# What a value must be, by pydantic's name of the error, where its own words are a programmer's.
_KINDS = {
    "finite_number": "a finite number",
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
    "model_type": "a table of settings",
}


def load(recipe: Path, overrides: Sequence[str] | None = None) -> Config:
    """Read a TOML recipe, apply dotted overrides, and check every key and value."""
    config, problems = examine(recipe, overrides)
    refuse(problems)
    return config


def examine(
    recipe: Path, overrides: Sequence[str] | None = None
) -> tuple[Config, list[ConfigError]]:
    """Read a recipe; return it with every problem of its settings, so that all are mended at once.

    In the configuration a default stands for what cannot be read.
    """
    tree = recipes.read(recipe)
    recipes.require_one_spelling(overrides or [])
    problems = []
    for override in overrides or []:
        try:
            recipes.apply(tree, override)
        except ConfigError as wrong:
            problems.append(wrong)
    config, of_settings = _checked(tree, subject=str(recipe))
    return config, problems + of_settings


def resolve(tree: dict[str, Any], *, subject: str) -> Config:
    """Check a tree of plain values; `subject` is named in the errors."""
    config, problems = _checked(tree, subject=subject)
    refuse(problems)
    return config


def refuse(problems: Sequence[ConfigError]) -> None:
    """Raise one error that names every problem; return where there is none."""
    if problems:
        raise ConfigError("\n".join(map(str, problems)))


def _checked(tree: dict[str, Any], *, subject: str) -> tuple[Config, list[ConfigError]]:
    """Return the configuration and its problems; one that cannot be read is left out first."""
    flat = recipes.flat(tree)
    problems: list[ConfigError] = []
    flat = without_retired(flat, subject=subject, problems=problems)
    while True:
        try:
            config = Config.model_validate(recipes.nested(sense.with_defaults(flat)))
            break
        except ValidationError as invalid:
            wrong = invalid.errors()
        problems += [ConfigError(_explain(error, subject)) for error in wrong]
        keys = [".".join(str(part) for part in error["loc"]) for error in wrong]
        flat = {key: value for key, value in flat.items() if not _is_below(key, keys)}
    problems += [ConfigError(f"{subject}: {clash}") for clash in sense.conflicts(config)]
    return config, problems


def _is_below(key: str, others: Sequence[str]) -> bool:
    """Tell whether a key is one of the others, of a group among them, or holds one of them."""
    return any(
        f"{key}.".startswith(f"{other}.") or f"{other}.".startswith(f"{key}.") for other in others
    )


def leaves(config: Group, prefix: str = "") -> dict[str, Any]:
    """Flatten to `{"align.beta_dpo": 500.0, ...}` in declaration order."""
    flat: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Group):
            flat |= leaves(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = _plain(value)
    return flat


def _plain(value: Any) -> Any:
    """Return a leaf as JSON has it; of a list's tables what the recipe sets."""
    if isinstance(value, Questions):
        return value.leaf()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.model_dump(mode="json", exclude_unset=True) if isinstance(value, Group) else value


def from_leaves(flat: dict[str, Any], *, subject: str, overrides: Sequence[str] = ()) -> Config:
    """Read back what `leaves` gave, such as a run's `config.json`, and apply dotted overrides."""
    tree = recipes.nested(flat)
    for override in overrides:
        recipes.apply(tree, override)
    return resolve(tree, subject=subject)


def without_retired(
    flat: dict[str, Any], *, subject: str, problems: list[ConfigError] | None = None
) -> dict[str, Any]:
    """Return leaves without retired settings.

    One with another value is refused, or added to `problems`.
    """
    wrong = [
        ConfigError(
            f"{subject}: {key} is {flat[key]!r}, but it is no setting any more: {value!r} is "
            f"what always happens now. {_INSTEAD.get(key, 'Remove it.')}"
        )
        for key, value in RETIRED.items()
        if key in flat and flat[key] != value
    ]
    if problems is None:
        refuse(wrong)
    else:
        problems += wrong
    return {key: value for key, value in flat.items() if key not in RETIRED}


def _explain(error: Any, subject: str) -> str:
    """Turn one of pydantic's errors into a subject, a fact and a remedy."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{subject}: there is no setting `{key}`. {_nearest(key)}"
    if error["type"] == "value_error":
        return f"{subject}: {key}: {error['ctx']['error']}."
    if error["type"] == "missing":
        return f"{subject}: {key} has to be set. `dualipo settings {key}` says what it means."
    must = _KINDS.get(error["type"]) or error["msg"].removeprefix("Input should be ")
    if error["type"] == "string_pattern_mismatch":
        must = f"of the form {error['ctx']['pattern']}"
    value = redaction.redact(error["input"], name=key)
    return (
        f"{subject}: {key} is {value!r}, but it must be {must}. "
        f"`dualipo settings {key}` says what it means."
    )


def _nearest(key: str) -> str:
    """Suggest the setting or group that looks most like an unknown key; a setting of its name."""
    keys = list(leaves(Config()))
    groups = {known.rpartition(".")[0] for known in keys} - {""}
    namesakes = [known for known in keys if _name(known) == _name(key)]
    near = namesakes or difflib.get_close_matches(key, [*sorted(groups), *keys], n=1)
    remedy = "`dualipo settings` lists them all."
    return f"Did you mean `{near[0]}`? {remedy}" if near else remedy


def _name(key: str) -> str:
    return key.rpartition(".")[2]
