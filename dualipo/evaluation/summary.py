"""The summary of a run: a table with one line a round, and the same numbers for JSON.

Nothing in a run reads the scores of test prompts and the critic's accuracy on oracle-ordered pairs:
they are for people. Left out: intervals, clips and curves. They are in the report.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dualipo import attempt_log
from dualipo.evaluation import judgements, measured, pixels, recommended, run_history, tunings
from dualipo.evaluation.report import did_it_help, findings
from dualipo.evaluation.report.charts import Format, percent, short, three_decimals
from dualipo.evaluation.report.did_it_help import Answer
from dualipo.evaluation.report.headline import DASH, accuracies, signed
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import BASE, RoundHistory, RunHistory
from dualipo.events import PreferEvent, RefreshEvent, WarmStartEvent
from dualipo.records import DIMENSIONS
from dualipo.store.run_reader import RunReader

_SCORES = ("total", *DIMENSIONS)
# What begins the names of the measurements that stand beside a round's own numbers.
_MONITORS = (f"{judgements.WIN_RATE} (", f"{pixels.DYNAMICS} (", f"{measured.TOTAL} (")
_FORMATS: dict[str, Format] = {
    **{name: three_decimals for name in _SCORES},
    "held-out": percent,
    "kept": lambda kept: f"{kept:.0f}",
    "vote share": percent,
}


def table(run_path: Path) -> str:
    """Return the table that `dualipo run` and `dualipo status` print."""
    history = _history(run_path)
    if history.tuning:
        helped = did_it_help.answer(history)
        lines = [f"{history.name}: a tuning", *helped.lines, "", *tunings.sentences(history)]
        return "\n".join([*lines, "", helped.table.in_text()])
    return _text(_values(run_path, history), did_it_help.answer(history))


def as_dict(run_path: Path) -> dict[str, Any]:
    """Return the summary as plain values; None stands for what is not measured yet."""
    return _values(run_path, _history(run_path))


def _history(run_path: Path) -> RunHistory:
    """Read the history without the clocks of its units, of which a large round has many."""
    return run_history.read(RunReader(run_path), with_clocks=False)


def _values(run_path: Path, history: RunHistory) -> dict[str, Any]:
    scored = history.scored()
    change = run_history.difference(scored[0], scored[-1]) if len(scored) > 1 else None
    choice, helped = recommended.recommend(history), did_it_help.answer(history)
    return {
        "run": history.name,
        "finished": history.is_finished,
        "ended_because": history.end_reason,
        "failed": attempt_log.last_failure(run_path / "logs"),
        "waits": attempt_log.last_wait(run_path / "logs"),
        "state": _state(run_path, history),
        "rounds_done": len(history.finished_rounds),
        "rounds_asked": history.settings.get("rounds"),
        "recommended": {
            "version": choice.version_id,
            "why": choice.why,
            "in_words": choice.sentence,
        },
        "did_it_help": {"in_words": helped.text, "rows": [vars(row) for row in helped.rows]},
        "findings": findings.sentences(history),
        "simulated_labels": history.labels_are_simulated,
        "rounds": [_row(round_) for round_ in history.all_rounds],
        "critic_on_oracle_pairs": dict(accuracies(history)),
        "warm_start": _warm_start(history),
        "total_gain": {
            "mean": change.mean,
            "low": change.low,
            "high": change.high,
            "in_words": signed(change),
        }
        if change
        else None,
    }


def _state(run_path: Path, history: RunHistory) -> str | None:
    """Say whether a process works on an unfinished run, and how to go on if none does."""
    if history.is_finished:
        return None
    if RunReader(run_path).is_working:
        return "A process works on it now."
    return f"It was stopped. Go on with `dualipo resume {shlex.quote(str(run_path))}`."


def _warm_start(history: RunHistory) -> dict[str, Any] | None:
    """Return the accuracy of the warm critic, and that of the annotators on the same pairs."""
    event = history.base.event(WarmStartEvent)
    if event is None:
        return None
    return {
        "num": event.warm.num,
        "forced_choice": event.warm.forced_choice,
        "free_form": event.warm.free_form,
        "annotators": event.annotators,
    }


def _row(round_: RoundHistory) -> dict[str, Any]:
    """Return a round's numbers; those of an attempt that is not over are None."""
    done = round_.round == BASE or round_.is_finished
    scores = {name: round_.score(name) if done else None for name in _SCORES}
    prefer, refresh = round_.event(PreferEvent), round_.event(RefreshEvent)
    return {
        "round": round_.label,
        **{name: interval.mean if interval else None for name, interval in scores.items()},
        "held-out": round_.holdout() if done else None,
        "kept": prefer.kept if prefer else None,
        "of": prefer.num_prompts if prefer else None,
        "vote share": prefer.mean_vote_share if prefer else None,
        "refresh": refresh.outcome if refresh else None,
        "became": round_.refresh_outcome(),
        "why": refresh.why if refresh else [],
        "measured": measured.figures(round_.measured),
    }


def _text(summary: dict[str, Any], helped: Answer) -> str:
    labels = ", simulated labels" if summary["simulated_labels"] else ""
    title = (
        f"{summary['run']}: {summary['rounds_done']} of {summary['rounds_asked']} rounds{labels}"
    )
    lines = [_rounds(summary["rounds"]).in_text()]
    if helped.rows:
        lines = [helped.table.in_text(), "", *lines]
    if told := summary["failed"] or summary["waits"] or summary["state"]:
        title += f"\n{told}"
    if summary["ended_because"]:
        title += f"\nended: {summary['ended_because']}"
    title = "\n".join([title, *helped.lines])
    title = "\n".join([title, summary["recommended"]["in_words"], *summary["findings"]])
    return "\n".join([title, "", *lines, *_refreshes(summary["rounds"]), *_tail(summary)])


def _rounds(rows: Sequence[dict[str, Any]]) -> Table:
    """Tabulate the rounds; test scores and monitors stand there where a round has some."""
    has_scores = any(row[name] is not None for row in rows for name in _SCORES)
    names = [name for name in _FORMATS if has_scores or name not in _SCORES]
    figures = dict.fromkeys(name for row in rows for name in row["measured"])
    monitors = [name for name in figures if name.startswith(_MONITORS)]
    cells = [_cells(row, names, monitors) for row in rows]
    return Table(["", *names, *monitors, "critic"], cells)


def _cells(row: dict[str, Any], names: Sequence[str], monitors: Sequence[str]) -> list[str]:
    shown = {name: DASH if row[name] is None else _FORMATS[name](row[name]) for name in names}
    if row["of"] is not None:
        shown["kept"] += f" of {row['of']}"
    own = [row["measured"].get(name) for name in monitors]
    further = [DASH if value is None else short(value) for value in own]
    return [row["round"], *shown.values(), *further, row["refresh"] or ""]


def _refreshes(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say why a refresh was due and how it ended, which is too long for the table."""
    lines = []
    for row in rows:
        if row["why"]:
            lines += ["", f"{row['round']}: a refresh was due. Outcome: {row['became']}. Reasons:"]
            lines += [f"  {why}" for why in row["why"]]
    return lines


def _tail(summary: dict[str, Any]) -> list[str]:
    lines = []
    if gain := summary["total_gain"]:
        lines.append(f"total, base to last round: {gain['in_words']}")
    if shares := summary["critic_on_oracle_pairs"]:
        steps = ", ".join(f"{percent(share)} {stage}" for stage, share in shares.items())
        lines.append(f"critic on pairs that the oracle orders: {steps}")
    if warm := summary["warm_start"]:
        people = ", ".join(f"{name} {percent(x)}" for name, x in warm["annotators"].items())
        lines.append(
            f"of {warm['num']} such pairs: warm start {percent(warm['forced_choice'])} by forced "
            f"choice, {percent(warm['free_form'])} in free form; annotators {people}"
        )
    return ["", *lines] if lines else []
