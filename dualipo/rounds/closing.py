"""The end of a round, the same for the loop and for single commands."""

from collections.abc import Mapping

from dualipo.evaluation.report import report_page
from dualipo.evaluation.share import model_card
from dualipo.events import AlignEvent, EndedEvent, PreferEvent
from dualipo.prompts.corpus import ExhaustedCaptions
from dualipo.rounds import held_out_judges, measuring, sampling
from dualipo.rounds.run import Run
from dualipo.rounds.versions import generator_made
from dualipo.store import atomic
from dualipo.store.ledger import Unit


def close_round(run: Run, round: int, attempt: int, version: str) -> bool:
    """Score and report the round's last version; return True when the run ends with this round.

    It ends early only where the recipe asks for it (`refresh.stop_early`); after a critic that was
    hacked twice, the best round's generator serves.
    """
    measuring.report_scores(run, round, attempt, version)
    held_out_judges.measure(run, round, attempt, version)
    sampling.drop_latents(run, round)
    is_end = ends_early(run, round, attempt)
    if is_end:
        measuring.keep_best(run, round, attempt)
    if is_end and (against := held_out_judges.stop_reasons(run, version)):
        end(run, round, attempt, f"{against[0]}.")
    write_report(run)
    return is_end


def end(run: Run, round: int, attempt: int, why: str) -> None:
    """End a run that cannot go on: record the reason once, and tell it; nothing is thrown away."""
    unit = Unit(round, attempt, "ended")
    if not run.is_done(unit):
        run.commit(unit, events=[EndedEvent(why=why)])
    serving = run.ledger.head("generator")
    assert serving is not None, "registered before round 0"
    run.progress.say(
        f"the run ends in round {round}: {why} The generator {serving.version_id} serves."
    )


def end_without_captions(run: Run, round: int, too_few: ExhaustedCaptions) -> None:
    """End the run before a round that has too few captions; in round 0 nothing was achieved."""
    if round == 0:
        raise too_few
    end(run, round, 0, str(too_few))


def end_without_preference(run: Run, round: int, attempt: int) -> None:
    """End the run in an attempt that kept no preference, with the counts of what was dropped."""
    prefer = run.recorded(Unit(round, attempt, "prefer"), PreferEvent)
    end(run, round, attempt, without_preference(prefer.dropped, run.config.critic.backend))


def without_preference(dropped: Mapping[str, int], backend: str) -> str:
    """Say that no preference was kept, why, and how the run may go on."""
    counts = ", ".join(f"{num} {reason}" for reason, num in dropped.items()) or "nothing"
    told = (
        f"no preference was kept (dropped: {counts}). To go on, repeat the command with `--redo "
        "prefer` and a lower critic.margin_percentile, critic.confirm_vote_share or higher "
        "critic.dimension_slack; or with `--redo judge` and more critic.num_votes."
    )
    if not dropped.get("unreadable"):
        return told
    again = "`--retry-abstained`" if backend == "server" else "`--redo judge`"
    return (
        f"{told} Where answers could not be read, repeat it with {again} and a larger "
        "critic.max_new_tokens or a lower critic.temperature."
    )


def ends_early(run: Run, round: int, attempt: int) -> bool:
    """Return True when the recipe lets monitor or judges end the run after this attempt."""
    if not end_reasons(run, round, attempt):
        return False
    # A round that was begun before the recipe asked for this is gone on with.
    newest = run.ledger.newest_round()
    return newest is None or newest <= round


def end_reasons(run: Run, round: int, attempt: int) -> list[str]:
    """Return why the monitor or a judge ends the run here, where the recipe lets them."""
    monitored = measuring.stop_reasons_of(run, round, attempt)
    reasons = monitored if run.config.refresh.stop_early else []
    return reasons + held_out_judges.stop_reasons(run, generator_made(round, attempt))


def write_report(run: Run) -> None:
    """Write what people read, from the ledger: the report, and a card for each generator."""
    path = run.directory.path
    atomic.write_text(run.directory.report_path, report_page.build(path))
    for _, aligned in run.ledger.events(AlignEvent):
        version = aligned.generator_version
        atomic.write_text(path / "cards" / f"{version}.md", model_card.render(path, version))
