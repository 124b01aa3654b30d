"""What a process said stands in its log, and status tells the error that ended the newest one."""

import io
from pathlib import Path

from dualipo.attempt_log import LoggedProgress, last_failure
from dualipo.errors import StageError
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
