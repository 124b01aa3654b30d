"""The end of a round, the same for the loop and for single commands."""

from dualipo.evaluation.report import report_page
from dualipo.evaluation.share import model_card
from dualipo.events import AlignEvent
from dualipo.rounds import measuring, sampling
from dualipo.rounds.run import Run
from dualipo.store import atomic


def close_round(run: Run, round: int, attempt: int, version: str) -> bool:
    """Score and report the round's last version; return True when the run ends with this round.

    It ends early only where the recipe asks for it (`refresh.stop_early`); after a critic that was
    hacked twice, the best round's generator serves.
    """
    measuring.report_scores(run, round, attempt, version)
    sampling.drop_latents(run, round)
    is_end = ends_early(run, round, attempt)
    if is_end:
        measuring.keep_best(run, round, attempt)
    write_report(run)
    return is_end


def ends_early(run: Run, round: int, attempt: int) -> bool:
    """Return True when the recipe lets the monitor end the run after this attempt, and it does."""
    return run.config.refresh.stop_early and bool(measuring.stop_reasons_of(run, round, attempt))


def write_report(run: Run) -> None:
    """Write what people read, from the ledger: the report, and a card for each generator."""
    path = run.directory.path
    atomic.write_text(run.directory.report_path, report_page.build(path))
    for _, aligned in run.ledger.events(AlignEvent):
        version = aligned.generator_version
        atomic.write_text(path / "cards" / f"{version}.md", model_card.render(path, version))
