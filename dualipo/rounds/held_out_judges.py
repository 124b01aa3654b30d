"""Judges that never train compare every version with the base on the test prompts.

They are the answer to "you over-fitted your own critic". No training, trigger or selection reads
them; one may end the run where the recipe asks for that (`stops_run`). Their votes are kept in
parquet, unit by unit, and not among the votes of the ledger, from which the critic learns.

A model of a folder has a process of its own (`judge_process`). A judge that is down, that crashes,
or whose answers cannot be trusted, is "not measured" (fault 61), and the run goes on. It is asked
again when the command is repeated.
"""

import itertools
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from dualipo.config import HeldOutJudge
from dualipo.critic import vote_counts, voting
from dualipo.critic.asks import Item
from dualipo.errors import DualipoError, StorageError
from dualipo.evaluation import judgements, measured
from dualipo.evaluation.judgements import Verdicts
from dualipo.events import MeasuredEvent
from dualipo.records import Candidate, Dimension, Verdict, Vote
from dualipo.rounds import judge_process
from dualipo.rounds.bench import BadClip
from dualipo.rounds.fixed_clips import of_version, sample_fixed
from dualipo.rounds.judging import VoteSeeds, shown
from dualipo.rounds.run import BASE_GENERATOR, Run
from dualipo.store import tables
from dualipo.store.ledger import Unit
from dualipo.workers.dispatch import SetAside
from dualipo.workers.job import Engine, Job, Work

_ROOM = 100_000  # units of votes for each judge


def measure(run: Run, round: int, attempt: int, version: str) -> None:
    """Ask every judge of the recipe that has not answered about this version yet."""
    for place, judge in enumerate(run.config.monitor.judges):
        known = _newest(run, judge, version)
        if known is None or not judgements.is_measured(known):
            event = _asked(run, Unit(round, attempt, "judge_votes", place * _ROOM), judge, version)
            if event != known:
                run.commit(_free(run, Unit(round, attempt, "judges")), events=[event])
            _say(run, judge, event)


def stop_reasons(run: Run, version: str) -> list[str]:
    """Return what the judges that may end the run say against this version."""
    events = [
        event
        for judge in run.config.monitor.judges
        if judge.stops_run and (event := _newest(run, judge, version))
    ]
    return [alarm for event in events for alarm in event.alarms]


def _newest(run: Run, judge: HeldOutJudge, version: str) -> MeasuredEvent | None:
    source = measured.JUDGE + judge.name
    events = measured.newest(event for _, event in run.ledger.events(MeasuredEvent))
    own = (event for event in events if (event.source, event.version) == (source, version))
    return next(own, None)


def _free(run: Run, unit: Unit) -> Unit:
    """Return the first unit of a stage that is not committed."""
    units = (replace(unit, index=index) for index in itertools.count(unit.index))
    return next(unit for unit in units if not run.is_done(unit))


def _asked(run: Run, first: Unit, judge: HeldOutJudge, version: str) -> MeasuredEvent:
    """Return what a judge says of a version, or why it could not be asked."""
    clips = sample_fixed(run, "test", first.round, first.attempt, version)
    base = of_version(run, "test", BASE_GENERATOR)
    if "questions" not in judge.model_fields_set:  # then it is asked what the critic is asked
        judge = judge.model_copy(update={"questions": run.config.critic.questions})
    items, unchanged = _items(clips, base, judge.questions.names)
    try:
        votes = _votes(run, first, judge, shown(run, items))
        counts, answers = vote_counts.counted(votes), vote_counts.unread(votes)
        vote_counts.require_readable(counts, settings=judge, answers=answers)
        vote_counts.require_opinion(counts, settings=judge)
    except (BadClip, StorageError):  # the run's own faults
        raise
    # The one place where a judge may fail: its server, its folder, its memory (fault 61).
    except (DualipoError, OSError, RuntimeError) as down:
        return judgements.not_measured(judge.name, version, BASE_GENERATOR, _why(down))
    prompts = {candidate.candidate_id: candidate.prompt_id for candidate in clips}
    verdicts = _verdicts(votes, unchanged, prompts, judge.questions.names)
    return judgements.of_verdicts(judge.name, version, BASE_GENERATOR, verdicts)


def _why(down: Exception) -> str:
    """Say why a judge could not be asked; of a process that failed, its last words."""
    if isinstance(down, SetAside):
        return f"its process failed: {down.last_error.splitlines()[-1]}"
    return str(down)


def _items(
    clips: Sequence[Candidate], base: Sequence[Candidate], dimensions: tuple[Dimension, ...]
) -> tuple[list[Item], list[Candidate]]:
    """Return a question for each clip that has a clip of the base, and the clips that equal it."""
    before = {(candidate.prompt_id, candidate.index): candidate.clip for candidate in base}
    paired = [(c, before[c.prompt_id, c.index]) for c in clips if (c.prompt_id, c.index) in before]
    items = [
        Item(c.candidate_id, c.caption, (c.clip, other), dimensions)
        for c, other in paired
        if c.clip != other
    ]
    return items, [c for c, other in paired if c.clip == other]


def _votes(run: Run, first: Unit, judge: HeldOutJudge, items: Sequence[Item]) -> list[Vote]:
    """Return a judge's votes in both orders; those of units that are done are read."""
    units = (replace(first, index=first.index + n) for n in itertools.count())
    votes: list[Vote] = []
    for unit in units:
        if not run.is_done(unit):
            break
        votes += run.records(_path(run, unit), Vote)
    asked = {vote.item for vote in votes}
    left = [item for item in items if item.item_id not in asked]
    if not left:
        return votes
    per_unit = max(1, judge.judge_batch_size // (judge.num_votes * len(judge.questions.names)))
    run.progress.stage(first.stage, round=first.round, attempt=first.attempt, total=len(left))
    engine, job = judge_process.started(run, judge, left)
    with closing(engine):
        for start in range(0, len(left), per_unit):
            items = tuple(left[start : start + per_unit])
            votes += _cast(run, unit, judge, engine, job, items)
            unit = next(units)
    return votes


def _cast(
    run: Run,
    unit: Unit,
    judge: HeldOutJudge,
    engine: Engine,
    job: Job,
    items: tuple[Item, ...],
) -> list[Vote]:
    """Have one unit of questions answered, and commit it; a judge that fails ends with it."""
    path = _path(run, unit)
    seed_of = VoteSeeds(run.config.seed, (unit.stage, judge.name, unit.round, unit.attempt))
    work = Work(
        name=f"judge {judge.name}, {unit.stage} {unit.index}",
        items=tuple(item.item_id for item in items),
        content=judge_process.Ballot(items, path, seed_of),
    )
    [done] = engine.run(job, [work])
    hashed = {run.directory.relative(path): str(done.row)}
    run.commit(unit, hashed=hashed, cost=done.cost)
    run.progress.advance(len(items))
    return tables.read_records(path, record_type=Vote)


def _verdicts(
    votes: Sequence[Vote],
    unchanged: Sequence[Candidate],
    prompts: dict[str, str],
    dimensions: Sequence[Dimension],
) -> Verdicts:
    """Return the majorities by prompt and dimension; a clip that equals the base's is a tie."""
    verdicts: dict[str, dict[Dimension, list[Verdict]]] = {}
    for (item, dimension), tally in voting.tallies(votes).items():
        if item in prompts:
            own = verdicts.setdefault(prompts[item], {})
            own.setdefault(dimension, []).append(tally.majority)
    for candidate in unchanged:
        own = verdicts.setdefault(candidate.prompt_id, {})
        for dimension in dimensions:
            own.setdefault(dimension, []).append("tie")
    return verdicts


def _path(run: Run, unit: Unit) -> Path:
    folder = run.directory.attempt_path(unit.round, unit.attempt) / unit.stage
    return folder / f"votes-{unit.index:06d}.parquet"


def _say(run: Run, judge: HeldOutJudge, event: MeasuredEvent) -> None:
    rate = event.measurements[0]
    if rate.value is None:
        run.progress.say(f"judge {judge.name}: {event.version} is not measured: {rate.why}")
    for alarm in event.alarms:
        run.progress.say(f"{event.version}: {alarm}")
