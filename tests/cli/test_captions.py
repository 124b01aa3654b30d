"""The way from elements to a list that a run draws from, by commands alone."""

import json
from pathlib import Path

import pytest

from dualipo.cli.main import main
from dualipo.prompts.corpus import choose, read_captions
from tests.prompts.writer import good
from tests.servers import loopback


@pytest.fixture(autouse=True)
def _signals_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dualipo.interrupt.install", lambda: None)


def test_from_elements_to_a_draw_by_quota(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    short, long, out = (str(tmp_path / name) for name in ("short", "long", "out"))
    shares = ["--share", "human=3", "animal=1"]
    assert main(["captions", "compose", short, "--num", "80", *shares]) == 0
    style = tmp_path / "style.toml"
    style.write_text('instructions = "Write."\nmin_words = 20\nmax_words = 99\n')
    with loopback.serving(good) as server:
        written = ["--model", "m", "--style", str(style), "--base-url", server.url]
        assert main(["captions", "expand", short, long, *written]) == 0
    assert main(["captions", "screen", long, out]) == 0
    printed = capsys.readouterr().out
    assert "80 captions" in printed and "80 expanded" in printed
    assert "80 read" in printed and "80 kept" in printed
    assert main(["captions", "count", out, "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts["categories"] == {"human": 60, "animal": 20} and counts["num_repeats"] == 0
    drawn = choose(read_captions(Path(out)), num=20, seed=0).prompts
    assert sorted(prompt.category for prompt in drawn) == ["animal"] * 5 + ["human"] * 15


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["compose", "OUT", "--share", "human"], "--share human: no part"),
        (["compose", "OUT", "--share", "cars=1"], "share of 'cars': no such category"),
        (["compose", "OUT", "--num", "0"], "--num and --rows-per-shard: under 1"),
        (["compose", "OUT", "--elements", "none"], "human.toml: there is no such file"),
        (["screen", "none.txt", "OUT"], "none.txt: there is no such file"),
        (["screen", "none.txt", "OUT", "--max-tokens", "9"], "only one is given"),
        (["screen", "none.txt", "OUT", "--near-copies", "0.2"], "a similarity is from 0.5 to 1"),
        (["count", "none.txt"], "none.txt: there is no such file"),
        (
            ["expand", "none.txt", "OUT", "--model", "m", "--style", "wan", "--timeout", "-1"],
            "--timeout: Input should be greater than 0",
        ),
    ],
)
def test_a_wrong_command_is_told_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys, given, message
):
    monkeypatch.chdir(tmp_path)
    assert main(["captions", *given]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
