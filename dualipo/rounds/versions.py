"""The model versions of an attempt: those that it uses, and the ids of those that it makes."""

from dualipo.evaluation import measured
from dualipo.events import AlignEvent, KeepBestEvent, MeasuredEvent, RefreshEvent
from dualipo.rounds.run import BASE_GENERATOR, WARM, Run
from dualipo.store import settled


def generator_before(run: Run, round: int) -> str:
    """Return the generator that a round starts from: what the round before made last, or kept."""
    kept = [
        e.generator_version for u, e in run.ledger.events(KeepBestEvent) if u.round == round - 1
    ]
    if kept:
        return kept[-1]
    versions = [
        aligned.generator_version
        for unit, aligned in run.ledger.events(AlignEvent)
        if unit.round == round - 1
    ]
    return versions[-1] if versions else BASE_GENERATOR


def generator_made(round: int, attempt: int) -> str:
    """Return the id of the generator that an attempt makes."""
    return f"g{round:03d}.{attempt}"


def critic_of(run: Run, round: int, attempt: int) -> str:
    """Return the critic that judges an attempt: the one that served when the attempt began."""
    refreshed = [
        (unit.round, refresh.critic_version)
        for unit, refresh in run.ledger.events(RefreshEvent)
        if refresh.outcome == "refreshed" and (unit.round, unit.attempt) < (round, attempt)
    ]
    return max(refreshed)[1] if refreshed else WARM


def critic_made(round: int, attempt: int) -> str:
    """Return the id of the critic that a refresh makes."""
    return f"c{round:03d}.{attempt}"


def attempt_of(run: Run, round: int) -> int:
    """Return the attempt that a round is in: 1 once its critic was refreshed, else 0."""
    return settled.attempt_of(run.ledger, round)


def measured_before(run: Run, source: str, round: int, version: str) -> list[MeasuredEvent]:
    """Return what a source measured of the base, and of the version that the round started from."""
    names = dict.fromkeys((BASE_GENERATOR, generator_before(run, round)))
    events = measured.newest(event for _, event in run.ledger.events(MeasuredEvent))
    known = {event.version: event for event in events if event.source == source}
    return [known[name] for name in names if name in known and name != version]
