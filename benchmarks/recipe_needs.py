"""Writes what the recipes for real models need: their first lines, and a table of docs/recipes.md.

    python benchmarks/recipe_needs.py

All numbers are estimates from configurations, as `--dry-run` prints them; nothing is run. Hours are
those of the named device by the time that the README of a published model gives for one clip.
"""

from pathlib import Path
from typing import NamedTuple

from dualipo import config
from dualipo.amounts import storage
from dualipo.evaluation.report.report_tables import Table
from dualipo.rounds import needs
from dualipo.rounds.needs import Needs

ROOT = Path(__file__).resolve().parent.parent
RECIPES, PAGE = ROOT / "recipes", ROOT / "docs" / "recipes.md"


class Card(NamedTuple):
    """The device that a recipe is written for: its name in `bill`, its bytes, and how many."""

    device: str
    num_bytes: float
    num: int = 1


CARDS = {
    "24gb": Card("rtx4090", 24e9),
    "80gb": Card("h100", 80e9),
    "8x80gb": Card("h100", 80e9, num=8),
    **{
        f"{generator}-{critic}": Card("h100", 80e9)
        for generator in ("wan2.1-1.3b", "cogvideox-2b", "cogvideox-5b")
        for critic in ("qwen", "vila")
    },
}


def main() -> None:
    """Write the first line of every recipe, and the table."""
    import readme  # a script beside this one, which tests of this module cannot see

    estimated = {name: needs_of(name) for name in CARDS}
    for name, needed in estimated.items():
        path = RECIPES / f"{name}.toml"
        _, _, rest = path.read_text().partition("\n")
        path.write_text(f"{first_line(name, needed)}\n{rest}")
    readme.write(PAGE, "recipe-needs", table(estimated))


def needs_of(name: str) -> Needs:
    """Estimate what a recipe needs."""
    return needs.of(config.load(RECIPES / f"{name}.toml"), CARDS[name].device)


def first_line(name: str, needed: Needs) -> str:
    """Return the first line of a recipe."""
    return f"# Needs {needed.in_words(CARDS[name].device)}."


def table(estimated: dict[str, Needs]) -> str:
    """Return the needs as a table in Markdown."""
    rows = [
        [
            f"`recipes/{name}.toml`",
            *(storage(max(needed.memory[use] for use in _uses(needed, kind))) for kind in _KINDS),
            storage(needed.disk),
            f"{needed.hours:,.0f} of an {CARDS[name].device}",
            f"{needed.num_labels:,}",
        ]
        for name, needed in estimated.items()
    ]
    heads = ["recipe", *_KINDS, "disk", "hours, at least", "labels"]
    return Table(heads, rows).in_markdown()


_KINDS = ("sampling", "aligning", "the critic judging", "the critic learning")


def _uses(needed: Needs, kind: str) -> list[str]:
    if kind in needed.memory:
        return [kind]
    return [use for use in needed.memory if use not in _KINDS]


if __name__ == "__main__":
    main()
