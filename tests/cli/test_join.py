"""A machine that joins a run's trainings knows its number, and waits for the run."""

from pathlib import Path

import pytest

from dualipo.cli import join, main
from dualipo.errors import ConfigError, StageError
from dualipo.store.lock import Lock


def test_the_number_of_a_machine_is_what_its_scheduler_or_a_person_says() -> None:
    assert join.node_rank_in({"SLURM_NODEID": "3", "NODE_RANK": "1"}) == 3
    assert join.node_rank_in({"SKYPILOT_NODE_RANK": "2"}) == 2
    assert join.node_rank_in({"NODE_RANK": "1"}) == 1
    for variables in ({}, {"NODE_RANK": "first"}):
        with pytest.raises(ConfigError, match="Give --node-rank"):
            join.node_rank_in(variables)


def test_the_machine_that_drives_the_run_does_not_join_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = str(Path(__file__).parents[2] / "recipes" / "smoke.toml")
    assert main.main(["join", recipe, "align.num_nodes=1", "--node-rank", "0"]) == 2
    assert "Start `dualipo run` here" in capsys.readouterr().err
    assert main.main(["join", recipe, "--node-rank", "-1"]) == 2
    assert "-1 is no machine" in capsys.readouterr().err


def test_a_run_that_nobody_drives_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(StageError, match="no process runs it"):
        join.wait_for(tmp_path)
    (tmp_path / "LOCK").touch()  # as one that was killed leaves it
    with pytest.raises(StageError, match="no process runs it"):
        join.wait_for(tmp_path)
    held = Lock.acquire(tmp_path / "LOCK")
    join.wait_for(tmp_path)
    held.release()
