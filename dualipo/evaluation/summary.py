"""The table that the command line prints: one line a round, and the same numbers for JSON.

Scores of test prompts and the critic on oracle-ordered pairs are for people; nothing in a run reads
them. Left out: intervals, clips and curves. They are in the report.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dualipo.evaluation import run_history
from dualipo.evaluation.report.charts import Format, percent, three_decimals
from dualipo.evaluation.report.headline import DASH, accuracies
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.events import PreferEvent, RefreshEvent, WarmStartEvent
from dualipo.records import DIMENSIONS

_SCORES = ("total", *DIMENSIONS)
_FORMATS: dict[str, Format] = {
    **{name: three_decimals for name in _SCORES},
    "held-out": percent,
    "kept": lambda kept: f"{kept:.0f}",
    "vote share": percent,
}


def table(run_path: Path) -> str:
    """What `dualipo run` and `dualipo status` print."""
    return _text(as_dict(run_path))


def as_dict(run_path: Path) -> dict[str, Any]:
    """The table as plain values; None for what is not measured yet."""
    run = run_history.read(run_path)
    scored = run.scored()
    change = run_history.difference(scored[0], scored[-1]) if len(scored) > 1 else None
    return {
        "run": run.name,
        "finished": run.is_finished,
        "rounds_done": len(run.finished_rounds),
        "rounds_asked": run.config.get("rounds"),
        "simulated_labels": run.labels_are_simulated,
        "rounds": [_row(run, one) for one in (run.base, *run.rounds)],
        "critic_on_oracle_pairs": dict(accuracies(run)),
        "warm_start": _warm_start(run),
        "total_gain": {"mean": change.mean, "low": change.low, "high": change.high}
        if change
        else None,
    }


def _warm_start(run: RunHistory) -> dict[str, Any] | None:
    """The warm critic beside those who taught it, on the same oracle-ordered pairs."""
    event = run.base.event(WarmStartEvent)
    if event is None:
        return None
    return {
        "num": event.warm.num,
        "forced_choice": event.warm.forced_choice,
        "free_form": event.warm.free_form,
        "annotators": event.annotators,
    }


def _row(run: RunHistory, one: RoundHistory) -> dict[str, Any]:
    """Numbers of an attempt that was superseded or is not measured yet are left out."""
    done = one is run.base or one.is_finished
    scores = {name: one.score(name) if done else None for name in _SCORES}
    prefer, refresh = one.event(PreferEvent), one.event(RefreshEvent)
    return {
        "round": one.label,
        **{name: interval.mean if interval else None for name, interval in scores.items()},
        "held-out": one.holdout() if done else None,
        "kept": prefer.kept if prefer else None,
        "of": prefer.num_prompts if prefer else None,
        "vote share": prefer.mean_vote_share if prefer else None,
        "refresh": refresh.outcome if refresh else None,
        "became": one.refresh_outcome(),
        "why": refresh.why if refresh else [],
    }


def _text(found: dict[str, Any]) -> str:
    labels = ", simulated labels" if found["simulated_labels"] else ""
    title = f"{found['run']}: {found['rounds_done']} of {found['rounds_asked']} rounds{labels}"
    rows = [["", *_FORMATS, "critic"], *(_cells(row) for row in found["rounds"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column in (0, len(widths) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([title, "", *lines, *_refreshes(found["rounds"]), *_tail(found)])


def _cells(row: dict[str, Any]) -> list[str]:
    shown = {
        name: DASH if row[name] is None else write(row[name]) for name, write in _FORMATS.items()
    }
    if row["of"] is not None:
        shown["kept"] += f" of {row['of']}"
    return [row["round"], *shown.values(), row["refresh"] or ""]


def _refreshes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What became of a round's refresh, and why there was one: too long for the table."""
    lines = []
    for row in rows:
        if row["why"]:
            lines += ["", f"{row['round']}: critic {row['became']}; a refresh was due:"]
            lines += [f"  {why}" for why in row["why"]]
    return lines


def _tail(found: dict[str, Any]) -> list[str]:
    lines = []
    if gain := found["total_gain"]:
        ends = f"{gain['low']:+.3f} to {gain['high']:+.3f}"
        lines.append(f"total, base to last round: {gain['mean']:+.3f} (95 % interval {ends})")
    if shares := found["critic_on_oracle_pairs"]:
        steps = ", ".join(f"{percent(share)} {stage}" for stage, share in shares.items())
        lines.append(f"critic on pairs that the oracle orders: {steps}")
    if warm := found["warm_start"]:
        people = ", ".join(f"{name} {percent(x)}" for name, x in warm["annotators"].items())
        lines.append(
            f"of {warm['num']} such pairs: warm start {percent(warm['forced_choice'])} by forced "
            f"choice, {percent(warm['free_form'])} in free form; annotators {people}"
        )
    return ["", *lines] if lines else []
