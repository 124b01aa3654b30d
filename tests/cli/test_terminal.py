"""The live line: what stays on the terminal when it is over."""

import io
import itertools

from rich.console import Console

from dualipo.cli.terminal import TerminalProgress


def test_finished_stages_and_sayings_stay() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    progress = TerminalProgress(console, clock=itertools.repeat(5.0).__next__)
    progress.plan({"sample": 4, "align": 2})
    progress.stage("sample", round=0, attempt=0, total=4)
    progress.advance(4)
    progress.stage("align", round=0, attempt=1, total=2)
    progress.say("kept [3 of 4] pairs")  # brackets are no markup
    progress.advance(1, loss=0.5)
    progress.close()
    said = stream.getvalue()
    assert "round 0: sample  4 in 0.0 s" in said
    assert "kept [3 of 4] pairs" in said
    assert "round 0, attempt 1: align  1 in 0.0 s" in said
