"""Progress: rates, the time left of the whole run, and few plain lines."""

import io

import pytest

from dualipo.progress import Pace, PlainProgress


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def work(pace: Pace, clock: Clock, name: str, *, num: int, seconds_each: float) -> None:
    pace.begin(name, round=0, attempt=0, total=num)
    for _ in range(num):
        clock.now += seconds_each
        pace.advance(1)


def test_time_left_is_every_stage_at_its_own_rate(clock: Clock) -> None:
    pace = Pace(clock=clock)
    pace.plan({"sample": 30, "align": 20})
    work(pace, clock, "sample", num=10, seconds_each=1.0)
    assert pace.time_left() == "over 20 s"  # nobody has seen an alignment step yet
    work(pace, clock, "align", num=10, seconds_each=4.0)
    assert pace.time_left() == "about 60 s"  # 20 clips of 1 s and 10 steps of 4 s
    assert pace.rate == pytest.approx(0.25)
    work(pace, clock, "sample", num=20, seconds_each=1.0)
    work(pace, clock, "align", num=10, seconds_each=4.0)
    assert pace.time_left() == ""


def test_a_stage_outside_the_plan_counts_while_it_runs(clock: Clock) -> None:
    pace = Pace(clock=clock)
    pace.begin("refresh", round=1, attempt=0, total=10)
    assert pace.time_left() == ""
    clock.now += 5
    pace.advance(5)
    assert pace.time_left() == "about 5 s"


def test_plain_lines_are_few_and_a_stage_ends_with_its_duration(clock: Clock) -> None:
    stream = io.StringIO()
    progress = PlainProgress(stream=stream, every_seconds=5, clock=clock)
    progress.stage("align", round=1, attempt=1, total=20)
    for _ in range(20):
        clock.now += 1
        progress.advance(1, loss=0.69314)
    progress.stage("monitor", round=1, attempt=1, total=3)
    progress.say("round 1: win rate 0.61")
    progress.close()
    progress.close()
    assert stream.getvalue().splitlines() == [
        "round 1, attempt 1: align  0/20",
        "round 1, attempt 1: align  5/20  1/s  loss 0.693  about 15 s left",
        "round 1, attempt 1: align  10/20  1/s  loss 0.693  about 10 s left",
        "round 1, attempt 1: align  15/20  1/s  loss 0.693  about 5 s left",
        "round 1, attempt 1: align  20/20  1/s  loss 0.693",
        "round 1, attempt 1: align  20 in 20 s",
        "round 1, attempt 1: monitor  0/3",
        "round 1: win rate 0.61",
    ]
