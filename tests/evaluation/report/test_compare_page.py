"""Two runs side by side: what differs, the curves, and clips of one noise alone."""

import shutil
from pathlib import Path

import pytest

from dualipo.cli import main as command_line
from dualipo.evaluation import run_history
from dualipo.evaluation.report import compare_page
from dualipo.store.run_reader import RunReader
from tests.evaluation.conftest import RunMaker

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def two(make_run: RunMaker, tmp_path: Path) -> list[Path]:
    """Make two runs that differ in one setting and in how far they are."""
    paths = []
    for name, num_rounds, beta in (("first", 1, 500.0), ("second", 2, 5000.0)):
        align = {"max_train_steps": 40, "beta_dpo": beta}
        made = make_run(num_rounds=num_rounds, text=HOSTILE, align=align)
        paths.append(Path(shutil.move(made, tmp_path / name)))
    return paths


def test_the_page_shows_the_settings_that_differ_and_no_other(two: list[Path]) -> None:
    histories = [run_history.read(RunReader(path)) for path in two]
    table = compare_page.differences(["first", "second"], histories)
    assert table.rows == [["align.beta_dpo", "500.0", "5000.0"]]
    figures = dict((row[0], row[1:]) for row in compare_page.figures(["a", "b"], histories).rows)
    assert figures["kind"] == ["1 rounds", "2 rounds"]
    assert len(set(figures["test score"])) == 2
    assert figures["test score of the base"][0] == figures["test score of the base"][1]


def test_curves_of_both_lie_in_one_chart(two: list[Path]) -> None:
    page = compare_page.build(two)
    assert page.count('aria-label="Implicit accuracy by step"') == 1
    assert page.count("first, each step") == 0  # only a tooltip would name it
    chart = page[page.index('aria-label="Implicit accuracy by step"') :].partition("</svg>")[0]
    assert chart.count('class="line tone-1') == chart.count('class="line tone-2') == 2
    assert HOSTILE not in page and "&lt;script&gt;" in page


def test_clips_of_other_noise_are_not_set_side_by_side(two: list[Path]) -> None:
    runs = [RunReader(path) for path in two]
    histories = [run_history.read(run) for run in runs]
    same = compare_page.gallery(["first", "second"], runs, histories)
    assert [len(clips) for _, clips in same.rows] == [len(same.columns)] * len(same.rows)
    assert same.rows
    # The captions of the second run are others: nothing can be compared.
    other = run_history.read(runs[1])
    for round_ in other.all_rounds:
        for event in round_.events:
            if hasattr(event, "captions") and hasattr(event, "clips"):
                object.__setattr__(event, "captions", ["another"] * len(event.clips))
    assert compare_page.gallery(["first", "second"], runs, [histories[0], other]).rows == []


def test_the_command_writes_the_page_and_wants_two_folders(
    two: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert command_line.main(["compare", *map(str, two), "--output", str(page)]) == 0
    assert "Settings that differ" in page.read_text()
    assert command_line.main(["compare", str(two[0]), str(two[0])]) == 2
    assert "two or more different folders" in capsys.readouterr().err
