"""The model card of a generator: how it was made, its scores, and whose labels it learnt from.

The card says where labels are simulated. Text from a run is quoted as code, so that it cannot
become markup on a model page. Folders and servers of the run's machine are not named. A card may
name `example_clips` that are published beside it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dualipo.evaluation import recommended, run_history, tunings
from dualipo.evaluation.report import did_it_help, monitors, suite_scores
from dualipo.evaluation.report.charts import percent, three_decimals
from dualipo.evaluation.report.headline import signed
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.evaluation.share import diffusers_usage, recipe
from dualipo.events import AlignEvent, GalleryEvent
from dualipo.records import DIMENSIONS
from dualipo.store.ledger import Version
from dualipo.store.run_reader import RunReader

NUM_CLIPS = 4

_SIMULATED = (
    "**The labels behind this model are simulated.** They come from programs that stand in for "
    "annotators in the embedded world, and the scores below from a program that measures pixels. "
    "No human judged any clip."
)
_BY_PEOPLE = "People made the seed labels behind this model; the recipe names their label set."
_AUDIT = (
    "The audit's labels are simulated, and the scores below come from a program that measures "
    "pixels."
)


def example_clips(run_path: Path, version_id: str) -> dict[str, tuple[str, str]]:
    """Return a few clips of a version: path beside the card -> (caption, clip's sha256)."""
    run = RunReader(run_path)
    origin = _origin_of(run, run_history.read(run), version_id)
    gallery = origin.round_.event(GalleryEvent) if origin.is_last else None
    if not gallery:
        return {}
    pairs = zip(gallery.captions, gallery.clips, strict=False)
    return {f"clips/{n}.mp4": pair for n, pair in enumerate(pairs) if n < NUM_CLIPS}


def render(
    run_path: Path,
    version_id: str,
    *,
    beside: Mapping[str, str] | None = None,
    is_pipeline: bool = False,
) -> str:
    """Return the card of generator `version_id` as markdown with the Hub's header.

    `beside` are the clips published with it, path -> caption. With `is_pipeline` the card is that
    of a whole pipeline.
    """
    run = RunReader(run_path)
    history = run_history.read(run)
    history = replace(history, settings=recipe.published(history.settings))
    origin = _origin_of(run, history, version_id)
    sections = [
        _header(history, is_pipeline=is_pipeline),
        f"# {_code(version_id)} of {_code(run.name)}",
        _facts(history, origin),
        _labels(history),
        "\n".join(f"- {note}" for note in recipe.notes(history.settings)),
        _helped(history, origin),
        _results(history, origin),
        diffusers_usage.section(history.settings, run, origin.version, is_pipeline=is_pipeline),
        _clip_list(beside or {}),
        f"## Recipe\n\nEvery setting that differs from the defaults:\n\n"
        f"{_fenced(recipe.minimal(history.settings), 'toml')}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


@dataclass(frozen=True)
class _Origin:
    """A version and the round that made it.

    The round's numbers are the version's only if it `is_last`: another attempt may have replaced
    it.
    """

    version: Version
    round_: RoundHistory

    @property
    def is_last(self) -> bool:
        made_in = (self.version.round, self.version.attempt)
        return made_in == (self.round_.round, self.round_.attempt)


def _origin_of(run: RunReader, history: RunHistory, version_id: str) -> _Origin:
    version = run.version("generator", version_id)
    own = (round_ for round_ in history.rounds if round_.round == version.round)
    return _Origin(version, next(own, history.base))


def _clip_list(beside: Mapping[str, str]) -> str:
    if not beside:
        return ""
    lines = [f"- [{path}]({path}): {_code(caption)}" for path, caption in beside.items()]
    return "\n".join(["## Clips", "", *lines])


def _header(history: RunHistory, *, is_pipeline: bool) -> str:
    # The Hub shows how a named library loads the folder, which is right for a whole pipeline only.
    tags = ["text-to-video", "dual-ipo", *(["simulated-labels"] * history.labels_are_simulated)]
    library = ["library_name: diffusers"] * is_pipeline
    lines = [*library, "pipeline_tag: text-to-video", "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in tags), "---"])


def _labels(history: RunHistory) -> str:
    """Say whose labels the model learnt from."""
    if history.tuning:
        return " ".join(tunings.sentences(history, shown=recipe.placeless))
    if history.labels_are_simulated:
        return _SIMULATED
    return _BY_PEOPLE if history.has_own_captions else f"{_BY_PEOPLE} {_AUDIT}"


def _facts(history: RunHistory, origin: _Origin) -> str:
    version = origin.version
    align = origin.round_.event(AlignEvent) if origin.is_last else None
    base = str(history.settings.get("generator.pretrained_model_name_or_path"))
    facts = {
        "Base model": _code(base),
        "Made in": f"round {version.round}, attempt {version.attempt}" if version.round >= 0
        else "the start of the run",
        "From": _code(version.parent) if version.parent else "nothing before it",
        "Judged by critic": _code(align.critic_version) if align else "not recorded",
        "Recommended": _recommendation(history, version.version_id),
        "Alignment steps": str(align.num_steps) if align else "not recorded",
        "Seed": str(history.settings.get("seed")),
        "sha256 of the weights": _code(version.sha256),
    }  # fmt: skip
    method = "Trained by Dual-IPO: a critic judges the generator's clips, both improve in turns."
    if history.tuning:
        method = "Aligned on preferences by dualipo."
        facts["Preferences"] = _code(recipe.placeless(history.tuning.preferences))
        del facts["Made in"], facts["Judged by critic"], facts["Recommended"]
    return "\n".join([method, "", *(f"- {name}: {fact}" for name, fact in facts.items())])


def _recommendation(history: RunHistory, version_id: str) -> str:
    """Say whether the run recommends this version, and why; reasons are this program's words."""
    choice = recommended.recommend(history)
    if choice.version_id == version_id:
        return f"yes, because {choice.why}"
    return f"no; the run recommends {_code(choice.version_id)}, because {choice.why}"


def _helped(history: RunHistory, origin: _Origin) -> str:
    """Say whether the newest version helped; a card of an older one leaves it to the report."""
    helped = did_it_help.answer(history)
    if not helped.rows or not origin.is_last or origin.round_ is not history.rounds[-1]:
        return ""
    rows = [[_plain(cell) for cell in row] for row in helped.table.rows]
    return f"## Did it help?\n\n{helped.text}\n\n{Table(helped.table.head, rows).in_markdown()}"


def _plain(cell: str) -> str:
    """Return a text that is no markup in a table's cell."""
    return " ".join(cell.replace("|", "/").replace("<", "&lt;").split())


def _results(history: RunHistory, origin: _Origin) -> str:
    """Tabulate the test scores of the version; a tuning has none."""
    if history.tuning:
        return ""
    if not origin.is_last:
        return "This version was replaced by another attempt."
    compared = [history.base] if origin.round_ is history.base else [history.base, origin.round_]
    further = [monitors.in_markdown(compared), suite_scores.in_markdown(compared)]
    scores = "" if history.has_own_captions else _scores(history, origin.round_)
    return "\n\n".join(filter(None, [scores, *further]))


def _scores(history: RunHistory, round_: RoundHistory) -> str:
    """Tabulate mean test scores, and the paired difference against the base model."""
    compared = [history.base] if round_ is history.base else [history.base, round_]
    measured = [own for own in compared if own.score("total")]
    if not measured:
        return "## Scores\n\nNot measured."
    names = ("total", *DIMENSIONS)
    rows = [[own.label, *(_score(own, name) for name in names)] for own in measured]
    table = Table(["generator", *names], rows).in_markdown()
    change = run_history.difference(*compared) if len(compared) > 1 else None
    tail = [f"Paired difference of the total: {signed(change)}."] if change else []
    if (share := round_.holdout()) is not None:
        tail.append(f"The critic agrees with held-out labels in {percent(share)}.")
    intro = "Mean over test prompts with 95 % intervals."
    return "\n".join(["## Scores", "", intro, "", table, "", *tail])


def _score(round_: RoundHistory, name: str) -> str:
    interval = round_.score(name)
    if interval is None:
        return "not measured"
    return f"{three_decimals(interval.mean)} ({interval.ends(three_decimals)})"


def _code(text: str) -> str:
    """Quote a text as inline code that it cannot leave."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _fenced(text: str, language: str) -> str:
    """Quote a text as a code block; its fence is longer than any run of backticks inside."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{fence}"
