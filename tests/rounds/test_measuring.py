"""The best round's generator serves when a run ends early."""

from pathlib import Path

import pytest

from dualipo.config import Config
from dualipo.event_parts import Signals
from dualipo.events import AlignEvent, MonitorEvent
from dualipo.progress import PlainProgress
from dualipo.rounds import measuring
from dualipo.rounds.run import Run
from dualipo.store.ledger import Unit, Version
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
