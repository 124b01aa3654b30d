"""The best round's generator serves when a run ends early."""

from pathlib import Path

import pytest

from dualipo.cli.main import main
from dualipo.config import Config
from dualipo.event_parts import Signals
from dualipo.events import AlignEvent, MonitorEvent
from dualipo.progress import PlainProgress
from dualipo.rounds import measuring
from dualipo.rounds.commands import config_of
from dualipo.rounds.run import Run
from dualipo.rounds.versions import generator_before
from dualipo.store.ledger import Ledger, Unit, Version
from dualipo.store.rundir import RunDir


@pytest.mark.parametrize(("totals", "serves"), [((82.0, 81.9, 81.8), 0), ((82.0, 82.1, 82.0), 2)])
def test_fault_65_the_best_round_serves_where_a_critic_was_hacked_twice(
    tmp_path: Path, totals: tuple[float, ...], serves: int
) -> None:
    settings = Config()
    run = Run(RunDir.open(tmp_path / "run", settings), settings, PlainProgress())
    for round, total in enumerate(totals):
        name, signals = f"g{round:03d}.0", Signals(win_rate=0.6, evaluation_total=total)
        version = Version("generator", name, None, round, 0, "", "ab" * 32)
        run.commit(
            Unit(round, 0, "align"),
            events=[AlignEvent(num_steps=1, generator_version=name, critic_version="warm")],
            versions=[version],
            heads={"generator": name},
        )
        monitored = MonitorEvent(signals=signals, triggers=[], stop=[], winner_gap=None)
        run.commit(Unit(round, 0, "monitor"), events=[monitored])
    for _ in range(2):  # again after a crash
        measuring.keep_best(run, 2, 0)
        head = run.ledger.head("generator")
        assert head and head.version_id == f"g{serves:03d}.0"
    run.close()


def test_a_fork_goes_on_from_the_recommended_version(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Config()
    run = Run(RunDir.open(tmp_path / "run", settings), settings, PlainProgress())
    run.commit(
        Unit(-1, 0, "register"), versions=[Version("generator", "base", None, -1, 0, "", "")]
    )
    for round, share in enumerate((0.9, 0.5)):
        name, signals = f"g{round:03d}.0", Signals(win_rate=share, num_win_rate_prompts=40)
        run.commit(
            Unit(round, 0, "align"),
            events=[
                AlignEvent(num_steps=1, generator_version=name, critic_version="warm"),
                MonitorEvent(signals=signals, triggers=[], stop=[], winner_gap=None),
            ],
            versions=[Version("generator", name, None, round, 0, "", "ab" * 32)],
            heads={"generator": name},
        )
        run.commit(Unit(round, 0, "scores"))
    run.close()
    said = {}
    for name, chosen in {"a": (), "b": ("--version", "g001.0"), "c": ("--version", "base")}.items():
        path = tmp_path / name
        assert main(["fork", str(tmp_path / "run"), str(path), "rounds=3", *chosen]) == 0
        said[name] = capsys.readouterr().out
        ledger = Ledger(path / "ledger.sqlite", read_only=True)
        head = ledger.head("generator")
        wanted = {"a": "g000.0", "b": "g001.0", "c": "base"}[name]
        assert head and head.version_id == wanted
        ledger.close()
        forked = Run(RunDir.open(path, config_of(path)), settings, PlainProgress())
        assert generator_before(forked, 2) == wanted
        assert generator_before(forked, 1) == "g000.0", "what is over stays"
        forked.close()
    assert "goes on from g000.0, as it is recommended: it is the last that the critic" in said["a"]
    assert "goes on from" not in said["b"] and "--version names it" in said["c"]
    assert main(["fork", str(tmp_path / "run"), str(tmp_path / "d"), "--version", "g9"]) == 2
    words = ["fork", str(tmp_path / "run"), str(tmp_path / "d"), "--stage", "align"]
    assert main([*words, "--version", "base"]) == 2
    assert "--version: a round is under way" in capsys.readouterr().err
