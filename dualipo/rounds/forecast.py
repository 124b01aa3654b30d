"""What `--dry-run` prints: the settings, what goes in, the plan, what is measured, and the needs.

Each part that cannot be told is left out: the preflight tells why.
"""

from collections.abc import Callable

from dualipo.config import Config, marked
from dualipo.errors import DualipoError
from dualipo.progress import readable
from dualipo.rounds import bill, estimating, measured
from dualipo.rounds.bill import Devices
from dualipo.rounds.planning import plan


def text(config: Config, devices: Devices | None = None) -> str:
    """Return all that is known of a run before it begins, billed for these devices."""
    settings = [
        "settings (* marks what differs from the default; `dualipo settings WORD` explains):",
        *marked(config),
    ]
    parts: dict[str, Callable[[Config], list[str]]] = {
        "inputs": measured.inputs,
        "plan (units of each stage in the whole run, if no critic is refreshed)": _plan,
        "what it will measure": measured.lines,
        "estimate": estimating.lines,
        "the bill, if no critic is refreshed": lambda own: bill.lines(own, devices),
    }
    return "\n".join([*settings, *(_part(title, of, config) for title, of in parts.items())])


def _part(title: str, lines_of: Callable[[Config], list[str]], config: Config) -> str:
    try:
        lines = lines_of(config)
    except DualipoError:
        lines = ["not known before the problems below are solved"]
    return "\n".join(["", f"{title}:", *(f"  {line}" for line in lines)]) if lines else ""


def _plan(config: Config) -> list[str]:
    return [f"{readable(stage)}: {num}" for stage, num in plan(config).items()]
