"""What one stage of a run came to, in a line: what `dualipo sample`, `judge` and so on print last.

It is read from the run's records, so a stage that was done already says the same again.
"""

from collections.abc import Callable
from pathlib import Path

from dualipo.evaluation import run_history
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.run_history import RoundHistory
from dualipo.events import (
    AlignEvent,
    EndedEvent,
    MonitorEvent,
    PreferEvent,
    RefreshEvent,
    SampleEvent,
)
from dualipo.stages import COMMANDS, Command
from dualipo.store.run_reader import RunReader


def text(run_path: Path, command: Command, round: int) -> str:
    """Return the line about a stage of a round, with the command that follows."""
    run = RunReader(run_path)
    history = run_history.read(run, with_clocks=False)
    (own,) = [each for each in history.rounds if each.round == round]
    fact = _judged(run, own) if command == "judge" else _FACTS[command](own)
    return f"{run_path}: round {round}, {command}: {fact}{_next(run_path, command, own)}"


def _next(run_path: Path, command: Command, own: RoundHistory) -> str:
    if own.event(EndedEvent) and not own.event(AlignEvent):
        return ""
    refresh = own.event(RefreshEvent)
    following = COMMANDS[(COMMANDS.index(command) + 1) % len(COMMANDS)]
    if command == "refresh" and refresh and refresh.outcome == "refreshed":
        following = "judge"
    if command == "evaluate" and own.attempt:  # a second attempt closes its round
        following = "sample"
    return f" Next: dualipo {following} {run_path}"


def _sampled(own: RoundHistory) -> str:
    sample = own.event(SampleEvent)
    assert sample, "the stage has ended"
    return (
        f"{sample.num_clips} clips, {sample.num_rejected} unusable ones sampled anew, "
        f"{sample.num_prompts_dropped} prompts dropped."
    )


def _judged(run: RunReader, own: RoundHistory) -> str:
    cast = run.num_votes(own.round, own.attempt)
    unread = sum(run.num_votes(own.round, own.attempt, outcome="abstain").values())
    return f"{cast['point']} grades and {cast['pair']} votes, {unread} of them unreadable."


def _preferred(own: RoundHistory) -> str:
    prefer = own.event(PreferEvent)
    assert prefer, "the stage has ended"
    dropped = ", ".join(f"{num} {reason}" for reason, num in prefer.dropped.items()) or "none"
    units = prefer.of or "prompts"
    return f"{prefer.kept} of {prefer.num_prompts} {units} kept; dropped: {dropped}."


def _aligned(own: RoundHistory) -> str:
    ended, aligned = own.event(EndedEvent), own.event(AlignEvent)
    if ended and not aligned:
        return f"the run ends here: {ended.why}"
    assert aligned, "the stage has ended"
    accuracy = aligned.implicit_accuracy
    shown = "" if accuracy is None else f", implicit accuracy {percent(accuracy)}"
    return f"generator {aligned.generator_version} after {aligned.num_steps} steps{shown}."


def _evaluated(own: RoundHistory) -> str:
    monitor = own.event(MonitorEvent)
    assert monitor, "the stage has ended"
    rate = monitor.signals.win_rate
    won = "win rate not measured" if rate is None else f"win rate {percent(rate)}"
    triggers = "; ".join(monitor.triggers) or "none"
    return f"{won} against the version before; reasons to refresh the critic: {triggers}."


def _refreshed(own: RoundHistory) -> str:
    refresh = own.event(RefreshEvent)
    assert refresh, "the stage has ended"
    return f"{own.refresh_outcome()}; critic {refresh.critic_version} serves."


_FACTS: dict[Command, Callable[[RoundHistory], str]] = {
    "sample": _sampled,
    "prefer": _preferred,
    "align": _aligned,
    "evaluate": _evaluated,
    "refresh": _refreshed,
}
