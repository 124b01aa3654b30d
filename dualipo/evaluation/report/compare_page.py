"""Runs and tunings side by side: one self-contained page, whose HTML `build` returns.

It shows the settings that differ, the last figures, the alignments' curves over one another, and
clips of the same captions and seeds. A clip is shown beside another one only if both began from the
same noise, which an equal caption and an equal seed of the recipe give. Captions and names are
escaped, and the page loads nothing, as a report does not (`report_page.py`). Left out: which one is
better; `dualipo study` asks people.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dualipo.evaluation import run_history
from dualipo.evaluation.report import charts, report_page, sections, templates
from dualipo.evaluation.report.browser_clips import data_uri
from dualipo.evaluation.report.charts import Series, percent, short, three_decimals
from dualipo.evaluation.report.exhibits import Gallery
from dualipo.evaluation.report.headline import DASH
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.report.sections import Section
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.events import AlignEvent, GalleryEvent, PreferEvent
from dualipo.store.run_reader import RunReader

_PAGE = "compare_page.html.j2"
# Settings that name places and reports, not work.
_PLACES = {"output_dir", "logging_dir", "report_to", "push_to_hub", "hub_model_id"}


def build(paths: Sequence[Path]) -> str:
    """Return the page that sets the runs at `paths` side by side, finished or not."""
    runs = [RunReader(path) for path in paths]
    histories = [run_history.read(run) for run in runs]
    names = _names(paths)
    page = templates.environment(report_page.FOLDER).get_template(_PAGE)
    css, script = report_page.read("report.css"), report_page.read("report.js")
    return page.render(
        names=names,
        policy=report_page.policy(css=css, script=script),
        css=Markup(css),
        script=Markup(script),
        settings=differences(names, histories),
        figures=figures(names, histories),
        curves=curves(names, histories),
        gallery=gallery(names, runs, histories),
    )


def differences(names: Sequence[str], histories: Sequence[RunHistory]) -> Table:
    """Tabulate the settings in which the runs differ, one row for each."""
    settings = [history.settings for history in histories]
    keys = list(dict.fromkeys(key for own in settings for key in own))
    rows = [
        [key, *(_shown(own.get(key)) for own in settings)]
        for key in keys
        if key not in _PLACES and any(own.get(key) != settings[0].get(key) for own in settings)
    ]
    return Table(["setting", *names], rows)


def figures(names: Sequence[str], histories: Sequence[RunHistory]) -> Table:
    """Tabulate the runs' last figures; a figure that none of them has gets no row."""
    columns = [_figures(history) for history in histories]
    rows = [
        [label, *(column.get(label, DASH) for column in columns)]
        for label in dict.fromkeys(label for column in columns for label in column)
    ]
    return Table(["figure", *names], rows)


def curves(names: Sequence[str], histories: Sequence[RunHistory]) -> Section:
    """Draw each curve of the runs' last alignments into one chart, a tone for each run."""
    drawn = []
    for key, title, reference, caption in sections.CURVES:
        series = [
            line
            for place, history in enumerate(histories)
            for line in _lines(names[place], history, key, tone=1 + place % charts.NUM_TONES)
        ]
        if series:
            chart = charts.line_chart(
                series, title=f"{title} by step", reference=reference, value_format=short
            )
            drawn.append((title, chart, caption))
    legend = [(name, 1 + place % charts.NUM_TONES) for place, name in enumerate(names)]
    return Section(drawn, legend, [], [])


def gallery(
    names: Sequence[str], runs: Sequence[RunReader], histories: Sequence[RunHistory]
) -> Gallery:
    """Collect the clips that began from one noise: the base's, then each run's last generator's."""
    clips = [_clips(run, history) for run, history in zip(runs, histories, strict=True)]
    keys = [key for key in clips[0][1] if all(key in last for _, last in clips)] if clips else []
    bases = {tuple(base.get(key) for key in keys) for base, _ in clips}
    one_base = len(bases) == 1 and None not in next(iter(bases), (None,))
    address = [partial(data_uri, run.clip_store) for run in runs]
    rows = []
    for key in keys:
        first = [address[0](clips[0][0][key])] if one_base else []
        rows.append(
            (key[0], [*first, *(address[n](last[key]) for n, (_, last) in enumerate(clips))])
        )
    return Gallery([*(["base"] if one_base else []), *names], rows)


Clips = dict[tuple[str, int], str]  # by caption and seed


def _clips(run: RunReader, history: RunHistory) -> tuple[Clips, Clips]:
    """Return the gallery's clips of the base and of the last round."""
    if not run.has_ledger:
        return {}, {}
    seeds = {candidate.clip: candidate.seed for candidate in run.candidates()}
    shown = [
        {
            (caption, seeds.get(clip, -1)): clip
            for caption, clip in zip(event.captions, event.clips, strict=True)
        }
        for round_ in history.all_rounds
        if (event := round_.event(GalleryEvent))
    ]
    return (shown[0], shown[-1]) if shown else ({}, {})


def _figures(history: RunHistory) -> dict[str, str]:
    last = history.rounds[-1] if history.rounds else history.base
    shown: dict[str, str] = {
        "kind": "tuning" if history.tuning else f"{len(history.rounds)} rounds"
    }
    if prefer := last.event(PreferEvent):
        shown["preferences"] = str(prefer.kept)
    if aligned := last.event(AlignEvent):
        shown["steps"] = str(aligned.num_steps)
        shares = {
            "agreement on held-out preferences": aligned.holdout_accuracy,
            "implicit accuracy, last step": aligned.implicit_accuracy,
        }
        shown |= {label: percent(x) for label, x in shares.items() if x is not None}
        gaps = {"winner gap": aligned.winner_gap, "loser gap": aligned.loser_gap}
        gaps |= {"spread of z": aligned.z_std}
        shown |= {label: short(x) for label, x in gaps.items() if x is not None}
        if aligned.best_step is not None:
            shown["best weights after step"] = str(aligned.best_step)
    return shown | _scores(history) | _minutes(last)


def _scores(history: RunHistory) -> dict[str, str]:
    """Return the test scores of the base and of the last scored round, with their intervals."""
    scored = history.scored()
    if not scored:
        return {}
    ends = {"test score of the base": scored[0], "test score": scored[-1]}
    return {
        label: f"{three_decimals(s.mean)} ({s.ends(three_decimals)})"
        for label, round_ in ends.items()
        if (s := round_.score("total"))
    }


def _minutes(last: RoundHistory) -> dict[str, str]:
    clock = last.clocks.get("align")
    return {"minutes of the alignment": f"{clock.seconds / 60:.1f}"} if clock else {}


def _lines(name: str, history: RunHistory, key: str, *, tone: int) -> list[Series]:
    aligned = [round_ for round_ in history.rounds if round_.metrics.get("align")]
    return sections.curve(aligned[-1], key, name=name, tone=tone) if aligned else []


def _names(paths: Sequence[Path]) -> list[str]:
    """Return short names that tell the folders apart."""
    short_names = [path.resolve().name for path in paths]
    if len(set(short_names)) == len(paths):
        return short_names
    return [str(path) for path in paths]


def _shown(value: Any) -> str:
    return DASH if value is None else str(value)
