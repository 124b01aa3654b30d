"""`dualipo settings`: every setting with its meaning, for a terminal and as the committed page."""

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from dualipo.cli import settings
from dualipo.config import Config, leaves
from tests.cli.conftest import ROOT, Ended

Dualipo = Callable[..., Ended]


def shown(width: int, *words: str) -> list[str]:
    """Return the lines that a terminal of this width shows."""
    stream = io.StringIO()
    chosen = [setting for setting in settings.settings() if settings._matches(setting, words)]
    values = settings.recipe_values(sorted((ROOT / "recipes").glob("*.toml")))
    settings.show(chosen, values, Console(file=stream, width=width, color_system=None))
    return stream.getvalue().splitlines()


def test_the_committed_page_is_what_the_command_prints(dualipo: Dualipo) -> None:
    ended = dualipo("settings", "--markdown")
    assert ended.returncode == 0 and not ended.stderr
    remedy = "run `dualipo settings --markdown > docs/settings.md`"
    assert ended.stdout == (ROOT / "docs" / "settings.md").read_text(), remedy
    assert all(f"| `{key}` |" in ended.stdout for key in leaves(Config()))


@pytest.mark.parametrize("width", [80, 120])
def test_lines_fit_the_terminal(width: int) -> None:
    lines = shown(width)
    assert max(map(len, lines)) <= min(width, settings.MAX_WIDTH)
    assert all(line == line.rstrip() for line in lines)
    assert sum(line.startswith("  ") and " = " in line for line in lines) >= len(leaves(Config()))


def test_words_choose_by_name_and_by_meaning() -> None:
    assert [line for line in shown(80, "Clip-QP") if line.startswith("  generator")] == [
        "  generator.clip_qp = 0"
    ]
    lines = shown(80, "votes", "refresh")
    assert "  critic.keep_vote_share = 0.75" in lines
    assert not any("align.beta_dpo = " in line for line in lines)


def test_a_setting_says_what_recipes_set_it_to() -> None:
    lines = shown(80, "align.num_slots")
    assert lines[-2] == "      1 in cogvideox-*, wan2.1-*; 8 in quick; 2 in smoke"


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a-1", "a-2", "b-1", "b-2"], ["a-*", "b-*"]),
        (["a-1", "b-1"], ["*-1"]),
        (["a-1", "c"], ["a-1", "c"]),
        (["a-1", "a-2", "b-1", "c"], ["b-1", "c", "a-*"]),
    ],
)
def test_recipes_are_named_by_a_pattern_that_means_no_others(
    names: Sequence[str], short: list[str]
) -> None:
    assert settings.abbreviated(names, ["a-1", "a-2", "b-1", "b-2", "c"]) == short


def test_own_recipes_stand_for_those_that_ship(dualipo: Dualipo, tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.toml").write_text("[align]\nrank = 64\n")
    ended = dualipo("settings", "align.rank")
    assert "      64 in mine\n" in ended.stdout and "cogvideox" not in ended.stdout


def test_the_command_starts_without_torch() -> None:
    script = "from dualipo.cli.main import main; import sys; main(['settings', 'align.rank'])"
    check = "assert 'torch' not in sys.modules and 'pyarrow' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", f"{script}; {check}"], cwd=ROOT, check=False)
    assert ended.returncode == 0


def test_without_recipes_nothing_is_said_of_them() -> None:
    page = settings.page(settings.settings(), settings.recipe_values([]))
    assert "| setting | default | meaning |\n" in page and "in recipes" not in page
