"""A generator version's model card: how it was made, what it scored, whose labels it learnt from.

Simulated labels are called simulated. Text from a run is quoted as code, so that it cannot become
markup on a model page. `clips` are what may stand beside the card, which then names them.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from dualipo.errors import DataError
from dualipo.evaluation import run_history
from dualipo.evaluation.report.charts import percent, three_decimals
from dualipo.evaluation.report.headline import signed
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import RoundHistory, RunHistory
from dualipo.evaluation.share import diffusers_usage, recipe
from dualipo.events import AlignEvent, GalleryEvent
from dualipo.records import DIMENSIONS
from dualipo.store.ledger import Ledger, Version

NUM_CLIPS = 4

_SIMULATED = (
    "**The labels behind this model are simulated.** They come from programs that stand in for "
    "annotators in the embedded world, and the scores below from a program that measures pixels. "
    "No human judged any clip."
)
_IMPORTED = (
    "People made the seed labels behind this model; the recipe names their label set. The audit's "
    "labels are simulated, and the scores below come from a program that measures pixels."
)


def example_clips(run_path: Path, version_id: str) -> dict[str, tuple[str, str]]:
    """Some clips of a version for its card: path beside it -> (caption, sha256)."""
    run = run_history.read(run_path)
    _, one, is_last = _made(run, run_path, version_id)
    shown = one.event(GalleryEvent) if is_last else None
    if not shown:
        return {}
    pairs = zip(shown.captions, shown.clips, strict=False)
    return {f"clips/{n}.mp4": pair for n, pair in enumerate(pairs) if n < NUM_CLIPS}


def render(
    run_path: Path,
    version_id: str,
    *,
    beside: Mapping[str, str] | None = None,
    is_pipeline: bool = False,
) -> str:
    """The card of generator `version_id` as markdown with the Hub's header.

    `beside` are clips that stand next to it: path -> caption. In a whole pipeline it says so.
    """
    run = run_history.read(run_path)
    version, one, is_last = _made(run, run_path, version_id)
    sections = [
        _header(run, is_pipeline=is_pipeline),
        f"# {_code(version_id)} of {_code(run.name)}",
        _origin(run, version, one if is_last else None),
        _SIMULATED if run.labels_are_simulated else _IMPORTED,
        "\n".join(f"- {note}" for note in recipe.notes(run.config)),
        _scores(run, one) if is_last else "This version was replaced by another attempt.",
        diffusers_usage.section(run.config, run_path, version, is_pipeline=is_pipeline),
        _clip_list(beside or {}),
        f"## Recipe\n\nEvery setting that differs from the defaults:\n\n"
        f"{_fenced(recipe.minimal(run.config), 'toml')}",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _made(run: RunHistory, run_path: Path, version_id: str) -> tuple[Version, RoundHistory, bool]:
    """A version, its round, and whether that round's numbers are its own: a version that another
    attempt replaced keeps its origin only."""
    version = _version(run_path, version_id)
    one = next((found for found in run.rounds if found.round == version.round), run.base)
    return version, one, one.round == version.round and one.attempt == version.attempt


def _clip_list(beside: Mapping[str, str]) -> str:
    if not beside:
        return ""
    lines = [f"- [{path}]({path}): {_code(caption)}" for path, caption in beside.items()]
    return "\n".join(["## Clips", "", *lines])


def _version(run_path: Path, version_id: str) -> Version:
    if not (run_path / "ledger.sqlite").is_file():
        raise DataError(f"{run_path}: no ledger yet, so no generator. Run a round first.")
    ledger = Ledger(run_path / "ledger.sqlite", read_only=True)
    try:
        return ledger.version("generator", version_id)
    finally:
        ledger.close()


def _header(run: RunHistory, *, is_pipeline: bool) -> str:
    """Naming a library makes the Hub tell readers how: right where the whole pipeline is there."""
    tags = ["text-to-video", "dual-ipo", *(["simulated-labels"] * run.labels_are_simulated)]
    library = ["library_name: diffusers"] * is_pipeline
    lines = [*library, "pipeline_tag: text-to-video", "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in tags), "---"])


def _origin(run: RunHistory, version: Version, one: RoundHistory | None) -> str:
    align = one.event(AlignEvent) if one else None
    base = str(run.config.get("generator.pretrained_model_name_or_path"))
    facts = {
        "Base model": _code(base),
        "Made in": f"round {version.round}, attempt {version.attempt}" if version.round >= 0
        else "the start of the run",
        "From": _code(version.parent) if version.parent else "nothing before it",
        "Judged by critic": _code(align.critic_version) if align else "not recorded",
        "Alignment steps": str(align.num_steps) if align else "not recorded",
        "Seed": str(run.config.get("seed")),
        "sha256 of the weights": _code(version.sha256),
    }  # fmt: skip
    method = "Trained by Dual-IPO: a critic judges the generator's clips, both improve in turns."
    return "\n".join([method, "", *(f"- {name}: {fact}" for name, fact in facts.items())])


def _scores(run: RunHistory, one: RoundHistory) -> str:
    """Means with 95 % intervals over test prompts; paired difference against the base model."""
    compared = [run.base] if one is run.base else [run.base, one]
    measured = [found for found in compared if found.score("total")]
    if not measured:
        return "## Scores\n\nNot measured."
    names = ("total", *DIMENSIONS)
    rows = [[found.label, *(_score(found, name) for name in names)] for found in measured]
    table = Table(["generator", *names], rows).in_markdown()
    change = run_history.difference(run.base, one) if one is not run.base else None
    tail = [f"Paired difference of the total: {signed(change)}."] if change else []
    if (share := one.holdout()) is not None:
        tail.append(f"The critic agrees with held-out labels in {percent(share)}.")
    intro = "Mean over test prompts with 95 % intervals."
    return "\n".join(["## Scores", "", intro, "", table, "", *tail])


def _score(one: RoundHistory, name: str) -> str:
    interval = one.score(name)
    if interval is None:
        return "not measured"
    ends = (interval.mean, interval.low, interval.high)
    return "{} ({} to {})".format(*map(three_decimals, ends))


def _code(text: str) -> str:
    """Inline code that the text cannot leave."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _fenced(text: str, language: str) -> str:
    """A code block; its fence is longer than any run of backticks inside."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{fence}"
