"""Reads a configuration from a recipe or from a run's `config.json`, and explains what is wrong.

A dotted override (`align.beta_dpo=3000`) replaces one setting; `-` and `_` are the same in a key.
An unknown key is an error that names the nearest known one.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from dualipo import recipes
from dualipo.config.critic import LEARNING
from dualipo.config.experiment import Config
from dualipo.config.fields import Group
from dualipo.errors import ConfigError

# Settings of older versions that could have one value alone; what it said is always so now.
RETIRED: dict[str, Any] = {"align.lora_dropout": 0.0}

# What a value must be, by pydantic's name of the error, where its own words are a programmer's.
_KINDS = {
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
    tree = recipes.read(recipe)
    for override in overrides or []:
        recipes.apply(tree, override)
    return resolve(tree, subject=str(recipe))


def resolve(tree: dict[str, Any], *, subject: str) -> Config:
    """Check a tree of plain values; `subject` is named in the errors."""
    try:
        config = Config.model_validate(without_retired(tree, subject=subject))
    except ValidationError as invalid:
        raise ConfigError(
            "\n".join(_explain(error, subject) for error in invalid.errors())
        ) from None
    _require_sense(config, subject)
    return config


def leaves(config: Group, prefix: str = "") -> dict[str, Any]:
    """Flatten to `{"align.beta_dpo": 500.0, ...}` in declaration order."""
    flat: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Group):
            flat |= leaves(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def from_leaves(flat: dict[str, Any], *, subject: str, overrides: Sequence[str] = ()) -> Config:
    """Read back what `leaves` gave, such as a run's `config.json`, and apply dotted overrides."""
    tree = recipes.nested(flat)
    for override in overrides:
        recipes.apply(tree, override)
    return resolve(tree, subject=subject)


def without_retired(tree: dict[str, Any], *, subject: str, prefix: str = "") -> dict[str, Any]:
    """Return a tree or its leaves without retired settings; refuse one with another value."""
    kept: dict[str, Any] = {}
    for name, value in tree.items():
        key = prefix + name
        if isinstance(value, dict):
            kept[name] = without_retired(value, subject=subject, prefix=f"{key}.")
        elif key not in RETIRED:
            kept[name] = value
        elif value != RETIRED[key]:
            raise ConfigError(
                f"{subject}: {key} is {value!r}, but it is no setting any more, as it could only "
                f"be {RETIRED[key]!r}. Remove it."
            )
    return kept


def _require_sense(config: Config, subject: str) -> None:
    """Refuse settings that exclude each other although each is valid."""
    if config.push_to_hub and not config.hub_model_id:
        raise ConfigError(
            f"{subject}: push_to_hub is true, but hub_model_id is not set. Set it to OWNER/NAME."
        )
    if config.critic.backend not in LEARNING and config.refresh.update_critic:
        raise ConfigError(
            f'{subject}: critic.backend = "{config.critic.backend}" cannot refine itself. Set '
            f"refresh.update_critic = false, or use one of: {', '.join(LEARNING)}."
        )
    if config.rounds and not config.align.rank and config.generator.torch_dtype != "float32":
        raise ConfigError(
            f"{subject}: align.rank = 0 trains every weight, and generator.torch_dtype = "
            f'"{config.generator.torch_dtype}" rounds its updates away. Set it to "float32"; '
            'generator.mixed_precision and align.mixed_precision = "bf16" compute in bfloat16. '
            "Or set align.rank to train a LoRA."
        )
    if config.prompts.source == "file":
        _require_nothing_of_the_world(config, subject)


def _require_nothing_of_the_world(config: Config, subject: str) -> None:
    """Refuse settings that mix a user's captions with the embedded world's judges and clips."""
    if config.monitor.num_audit_labels or config.monitor.num_accuracy_pairs:
        raise ConfigError(
            f'{subject}: prompts.source is "file", but monitor.num_audit_labels and '
            "monitor.num_accuracy_pairs ask programs that judge clips of the embedded world's own "
            "captions only. Set both to 0."
        )
    if config.rounds and config.align.real_nll_ratio and config.align.dataset_name is None:
        raise ConfigError(
            f'{subject}: prompts.source is "file", but align.dataset_name is not set, so '
            "align.real_nll_ratio would train on clips of the embedded world. Name your real "
            "clips, or set align.real_nll_ratio to 0."
        )


def _explain(error: Any, subject: str) -> str:
    """Turn one of pydantic's errors into a subject, a fact and a remedy."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{subject}: there is no setting `{key}`. {_nearest(key)}"
    if error["type"] == "value_error":
        return f"{subject}: {key}: {error['ctx']['error']}."
    must = _KINDS.get(error["type"]) or error["msg"].removeprefix("Input should be ")
    return (
        f"{subject}: {key} is {error['input']!r}, but it must be {must}. "
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
