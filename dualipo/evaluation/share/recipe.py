"""The settings of a run as people read them, and as a recipe that repeats the run.

They are what the recipe resolved to. Left out: the recipe's own file and its comments.
"""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dualipo.config import RETIRED, Config, as_toml, leaves
from dualipo.redaction import is_address

_NOTES: tuple[tuple[str, Any, str], ...] = (
    ("verdicts", "coin_flip", "Control: verdicts are coin flips, not the critic's."),
    ("align.preference_weight", 0, "Control: only the likelihood terms train, no preference."),
    ("refresh.update_critic", False, "Ablation: the critic is never refreshed."),
    ("refresh.srpo.pce_filter", False, "Ablation: uncertain judgements train the critic too."),
    ("refresh.srpo.srpo_weight", False, "Ablation: all judgements weigh the same in a refresh."),
)


def rows(settings: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """Return each setting's key, its value as TOML, and whether it differs from the default."""
    defaults = leaves(Config())
    return [
        (key, as_toml(value), key not in defaults or value != defaults[key])
        for key, value in settings.items()
        if key not in RETIRED
    ]


def minimal(settings: dict[str, Any]) -> str:
    """Return a TOML recipe of the settings that differ from the defaults."""
    changed = [(key, value) for key, value, differs in rows(settings) if differs]
    tables: dict[str, list[str]] = {"": []}
    for key, value in changed:
        table, _, leaf = key.rpartition(".")
        tables.setdefault(table, []).append(f"{leaf} = {value}")
    blocks = ["\n".join(tables.pop(""))]
    blocks += ["\n".join([f"[{table}]", *lines]) for table, lines in sorted(tables.items())]
    return "\n\n".join(block for block in blocks if block) + "\n"


def published(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings for strangers, without the folders and servers of this machine."""
    defaults = leaves(Config())
    return {
        key: value if value == defaults.get(key) else placeless(value)
        for key, value in settings.items()
    }


def placeless(value: Any) -> Any:
    """Reduce an absolute path to its last part, and the host of an address to "server"."""
    if isinstance(value, dict):
        return {key: placeless(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [placeless(inner) for inner in value]
    if not isinstance(value, str):
        return value
    if is_address(value):
        return urlsplit(value)._replace(netloc="server").geturl()
    return Path(value).name if value.startswith(("/", "~")) else value


def notes(settings: dict[str, Any]) -> list[str]:
    """Say what makes the run a control or an ablation; nothing for the full method."""
    return [sentence for key, value, sentence in _NOTES if settings.get(key) == value]
