"""`dualipo settings [WORD ...]`: what every setting means, its default, and what recipes set.

The recipes are those of the folder `recipes` where the command runs, else those beside the package
in a checkout; where there are none, nothing is said of them. `docs/settings.md` is what
`dualipo settings --markdown` prints.
"""

import argparse
import fnmatch
import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dualipo import recipes
from dualipo.cli.verbs import add_verb
from dualipo.config import Setting, as_toml, groups, settings
from dualipo.errors import ConfigError

MAX_WIDTH = 100  # columns: longer lines are hard to read
MAX_VALUES = 6  # different values in recipes that are listed

PAGE = """\
# Settings

Every setting of a recipe, its default, what it means, and what the recipes that ship set it to.
`dualipo settings WORD` prints those whose name or meaning contains a word. `dualipo settings
--markdown` wrote this page.

A recipe is a TOML file. It sets what differs from the defaults, and `key=value` behind the recipe
replaces a setting:

```toml
[align]
beta_dpo = 300
```

```sh
dualipo run recipes/quick.toml align.beta_dpo=300
```

`null` means "no value": a recipe leaves such a setting out.
"""

Values = dict[str, dict[str, str]]  # setting, recipe, and the value in it


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "settings",
        "Explain the settings of a recipe. Each is shown with its default, its meaning, and what "
        "the recipes set it to.",
    )
    parser.add_argument(
        "words",
        nargs="*",
        metavar="WORD",
        help="Show the settings whose name or meaning contains every WORD.",
    )
    parser.add_argument(
        "--markdown", action="store_true", help="Print a page in Markdown, as docs/settings.md is."
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Print the settings that the words choose."""
    chosen = [setting for setting in settings() if _matches(setting, arguments.words)]
    if not chosen:
        raise ConfigError(
            f"settings: no name and no meaning contains {' and '.join(arguments.words)}. Try "
            "another word, or `dualipo settings` for all of them."
        )
    values = recipe_values(recipe_files())
    if arguments.markdown:
        print(page(chosen, values), end="")
    else:
        show(chosen, values, Console(highlight=False))
    return 0


def recipe_files() -> list[Path]:
    """List the recipes of this folder, else those beside the package."""
    folders = (Path("recipes"), Path(__file__).parents[2] / "recipes")
    files = (sorted(folder.glob("*.toml")) for folder in folders)
    return next(filter(None, files), [])


def recipe_values(files: Sequence[Path]) -> Values:
    """Read what each recipe sets, by setting and by the recipe's name."""
    defaults = {setting.key: setting.default for setting in settings()}
    values: Values = {}
    for path in files:
        for key, value in recipes.flat(recipes.read(path)).items():
            is_number = isinstance(defaults.get(key), float) and isinstance(value, int)
            spelled = as_toml(float(value) if is_number else value)
            values.setdefault(key, {})[path.stem] = spelled
    return values


def show(chosen: Sequence[Setting], values: Values, console: Console) -> None:
    """Print the settings on a terminal, group by group."""
    every, sentences, width = _names(values), groups(), min(console.width, MAX_WIDTH)

    def say(text: str, style: str = "", *, indent: str = "") -> None:
        for line in textwrap.wrap(
            text,
            width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            console.print(Text(line, style=style), soft_wrap=True)

    for group, members in groupby(chosen, key=lambda setting: setting.group):
        say(f"{_title(group)} {sentences[group]}", "bold")
        for setting in members:
            console.print()
            say(f"{setting.key} = {as_toml(setting.default)}", "cyan", indent="  ")
            say(setting.description, indent="      ")
            if by_recipe := values.get(setting.key):
                say("; ".join(_by_value(by_recipe, every)), "dim", indent="      ")
        console.print()


def page(chosen: Sequence[Setting], values: Values) -> str:
    """Return the settings as a page in Markdown, a table for each group."""
    every, sentences = _names(values), groups()
    titles = ["setting", "default", "meaning", *(["in recipes"] if every else [])]
    blocks = [PAGE]
    for group, members in groupby(chosen, key=lambda setting: setting.group):
        rows = [titles, ["---"] * len(titles)]
        for setting in members:
            cells = [f"`{setting.key}`", f"`{as_toml(setting.default)}`", setting.description]
            if every:
                spoken = "; ".join(_by_value(values.get(setting.key, {}), every, code="`"))
                cells.append(spoken.replace("*", "\\*"))
            rows.append([cell.replace("|", "\\|") for cell in cells])
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        blocks.append(f"## {_title(group)}\n\n{sentences[group]}\n\n{table}\n")
    return "\n".join(blocks)


def _title(group: str) -> str:
    """Return a group as a recipe writes it."""
    return f"[{group}]" if group else "[top level]"


def _matches(setting: Setting, words: Sequence[str]) -> bool:
    text = f"{setting.key} {setting.description}".lower()
    return all(word.lower() in text or word.replace("-", "_").lower() in text for word in words)


def _names(values: Values) -> list[str]:
    return sorted({name for by_recipe in values.values() for name in by_recipe})


def _by_value(by_recipe: Mapping[str, str], every: Sequence[str], *, code: str = "") -> list[str]:
    """Say what recipes set, those with the same value together: `8 in quick, world`."""
    names: dict[str, list[str]] = {}
    for name, value in by_recipe.items():
        names.setdefault(value, []).append(name)
    if len(names) == len(by_recipe) > MAX_VALUES:
        return ["another value in each recipe"]
    return [
        f"{code}{value}{code} in {', '.join(abbreviated(equal, every))}"
        for value, equal in names.items()
    ]


def abbreviated(names: Sequence[str], every: Sequence[str]) -> list[str]:
    """Replace recipes by a pattern such as `wan2.1-*` where it stands for no others."""
    left = set(names)
    patterns = {f"{name.partition('-')[0]}-*" for name in names}
    patterns |= {f"{name.rpartition('-')[0]}-*" for name in names}
    patterns |= {f"*-{name.rpartition('-')[2]}" for name in names}
    short = []
    for pattern in sorted(patterns, key=lambda p: (-len(fnmatch.filter(every, p)), p[0] == "*", p)):
        meant = set(fnmatch.filter(every, pattern))
        if len(meant) > 1 and meant <= left:
            short.append(pattern)
            left -= meant
    return [*sorted(left), *short]
