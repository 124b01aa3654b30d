"""What a process said stands in its log, and status tells the error that ended the newest one."""

import io
from pathlib import Path

from dualipo.attempt_log import LoggedProgress, last_failure, last_wait
from dualipo.errors import StageError, WaitsForPeople
from dualipo.progress import PlainProgress


def test_a_log_holds_what_was_said_and_the_error_that_ended_it(tmp_path: Path) -> None:
    shown = io.StringIO()
    log = tmp_path / "attempt-2.log"
    progress = LoggedProgress(PlainProgress(stream=shown), log)
    progress.stage("score", round=1, attempt=0, total=3)
    progress.say("the key is hf_abcdefghijklmnopqrstuvwxyz")
    assert "the key is" in shown.getvalue() and "hf_abc" not in log.read_text()
    assert last_failure(tmp_path) is None
    try:
        raise StageError("critic: 90 % of the paths could not be read.\nLower its temperature.")
    except StageError as error:
        progress.fail(error)
    text = log.read_text()
    assert "Traceback" in text and "round 1, attempt 0): 3 units" in text
    told = last_failure(tmp_path)
    assert told is not None and told.startswith("failed at ") and told.endswith(" ago)")
    assert "(round 1, attempt 0): critic: 90 % of the paths could not be read. Lower its" in told
    (tmp_path / "attempt-10.log").write_text("the run goes on\n")
    assert last_failure(tmp_path) is None


def test_a_run_that_waits_for_people_has_not_failed(tmp_path: Path) -> None:
    log = tmp_path / "attempt-1.log"
    progress = LoggedProgress(PlainProgress(stream=io.StringIO()), log)
    progress.fail(WaitsForPeople("runs/a: 2 of 4 pairs are answered.\nOpen the page."))
    assert last_failure(tmp_path) is None and "Traceback" not in log.read_text()
    told = last_wait(tmp_path)
    assert told is not None and told.startswith("waits for people: runs/a: 2 of 4 pairs are")
