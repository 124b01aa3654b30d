"""Bad input ends with one clear message and the right code, never with a traceback."""

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dualipo.cli import main
from tests.cli.conftest import ROOT, Ended

Dualipo = Callable[..., Ended]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text("[align]\nbeta_dpo = 500.0\n")
    return path


def test_help_groups_every_verb_with_its_sentence(dualipo: Dualipo) -> None:
    ended = dualipo("--help")
    assert ended.returncode == 0
    verbs = [verb for verbs in main.GROUPS.values() for verb in verbs]
    assert sorted(verbs) == sorted(parsers(main.build_parser())), "each in one group"
    lines = ended.stdout.splitlines()
    assert all(f"{group}:" in lines for group in main.GROUPS)
    assert [line.split()[0] for line in lines if line.startswith("  ")][2:] == verbs
    assert max(map(len, lines)) < 80


def test_the_program_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"dualipo \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_run_without_a_recipe_lists_those_that_ship(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run"]) == 2
    told = capsys.readouterr().err
    assert "no recipe is named" in told and "Traceback" not in told
    shipped = sorted(path.name for path in (ROOT / "recipes").glob("*.toml"))
    assert re.findall(r"recipes/(\S+\.toml)  +\S", told) == shipped


def parsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of a parser's verbs, by name."""
    actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(actions[0].choices) if actions else {}


VERBS = {
    " ".join(filter(None, (verb, part))): inner
    for verb, parser in parsers(main.build_parser()).items()
    for part, inner in {"": parser, **parsers(parser)}.items()
}


@pytest.mark.parametrize("parser", VERBS.values(), ids=VERBS)
def test_help_is_written_in_sentences(parser: argparse.ArgumentParser) -> None:
    sentences = [parser.description] + [
        action.help
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
    ]
    for sentence in sentences:
        assert sentence and sentence[0].isupper() and sentence.endswith("."), sentence
    assert parser.format_help()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            ["run", "nowhere.toml"],
            "nowhere.toml: there is no such recipe. Name a TOML file, or one of",
        ),
        (["run", "."], ".: it is a folder, not a file. Correct the recipe."),
        (["run", "recipe.toml", "align.beta_dop=3"], "Did you mean `align.beta_dpo`?"),
        (
            ["run", "recipe.toml", "align.beta_dpo=-3"],
            "align.beta_dpo is -3, but it must be greater than 0.",
        ),
        (
            ["run", "recipe.toml", "align.beta_dpo"],
            "align.beta_dpo: this is no override. Write it as",
        ),
        (
            ["run", "recipe.toml", "seed.x=1"],
            "must be a whole number. `dualipo settings seed`",
        ),
        (["status", "runs/none"], "runs/none: there is no run here"),
        (["report", "."], ".: there is no run here"),
        (["align", "runs/none", "--round", "1"], "runs/none: there is no run here"),
        (["convert", "none.pt"], "none.pt: there is no such file."),
        (["settings", "no", "xyzzy"], "no name and no meaning contains no and xyzzy."),
        (["import", "trl", "x.csv", "--output", "."], "in use, but is no label set"),
        (
            ["import", "lift", "x.csv", "--output", "o"],
            "x.csv: there is no such file. Name a file of rows.",
        ),
        (["export", "trl", ".", "out"], ".: this is no label set, for it has no labels.json."),
        (["run", "recipe.toml", "--dryrun"], "unrecognized arguments: --dryrun"),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
        (["run"], "run: no recipe is named"),
        ([], "there is no verb. `dualipo --help` lists them."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_explained(
    recipe: Path,
    given: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(recipe.parent)
    try:
        code: object = main.main(given)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    shown = capsys.readouterr()
    assert said in shown.err and not shown.out
    assert sorted(recipe.parent.iterdir()) == [recipe]


@pytest.mark.parametrize("given", [["frobnicate"], ["settings", "no", "xyzzy"]], ids=" ".join)
def test_a_process_ends_as_its_command_does(dualipo: Dualipo, given: list[str]) -> None:
    ended = dualipo(*given)
    assert ended.returncode == 2 and not ended.stdout
    assert ended.stderr and "Traceback" not in ended.stderr


@pytest.mark.slow
def test_fault_10_the_command_line_stops_well_and_says_how_to_go_on(tmp_path: Path) -> None:
    command = ["pretrain", "vae", "--output", "made", "--work", "work"]
    process = subprocess.Popen(
        [sys.executable, "-m", "dualipo.cli.main", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None and process.stderr.readline().startswith("start: vae")
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM" in said and "Traceback" not in said
    assert said.endswith(f"  dualipo {' '.join(command)}\n")
    assert list((tmp_path / "work/vae").glob("step-*/manifest.json"))
