"""The run's configuration as people read it, and as a recipe that repeats the run.

Left out: the recipe file the run was begun with. What it resolved to is all that matters.
"""

from typing import Any

from dualipo.config import RETIRED, Config, as_toml, leaves

_NOTES: tuple[tuple[str, Any, str], ...] = (
    ("verdicts", "coin_flip", "Control: verdicts are coin flips, not the critic's."),
    ("align.preference_weight", 0, "Control: only the likelihood terms train, no preference."),
    ("refresh.update_critic", False, "Ablation: the critic is never refreshed."),
    ("refresh.srpo.pce_filter", False, "Ablation: uncertain judgements train the critic too."),
    ("refresh.srpo.srpo_weight", False, "Ablation: all judgements weigh the same in a refresh."),
)


def rows(config: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(key, value as TOML, whether it differs from the default) of every effective setting."""
    defaults = leaves(Config())
    return [
        (key, as_toml(value), key not in defaults or value != defaults[key])
        for key, value in config.items()
        if key not in RETIRED
    ]


def minimal(config: dict[str, Any]) -> str:
    """A TOML recipe with what differs from the defaults: it resolves to the same configuration."""
    changed = [(key, value) for key, value, differs in rows(config) if differs]
    tables: dict[str, list[str]] = {"": []}
    for key, value in changed:
        table, _, leaf = key.rpartition(".")
        tables.setdefault(table, []).append(f"{leaf} = {value}")
    blocks = ["\n".join(tables.pop(""))]
    blocks += ["\n".join([f"[{table}]", *lines]) for table, lines in sorted(tables.items())]
    return "\n\n".join(block for block in blocks if block) + "\n"


def notes(config: dict[str, Any]) -> list[str]:
    """What makes the run a control or an ablation, as sentences; empty for the full method."""
    return [sentence for key, value, sentence in _NOTES if config.get(key) == value]
