"""The audit by people: a run stops with its questions, and goes on once they are answered.

    monitor clips -> questions in RUN/audits -> the run ends with exit code 6
    `dualipo label RUN --audit ROUND` -> answers in a book of their own
    the same `dualipo run` -> the answers are committed with the attempt, and never change again

People see a pair of every monitor prompt first, then a second one, without knowing who made it.
Where a refresh learns from their answers, half of the questions are drawn at random from the
prompts that only measure. The other half are about the prompts for learning: those pairs on which
the critic's votes disagree the most.
"""

from collections.abc import Sequence

from dualipo.critic.asks import Item
from dualipo.errors import WaitsForPeople
from dualipo.preferences import label_queue
from dualipo.records import Candidate, Dimension, Pair
from dualipo.rounds import judging
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.versions import critic_of
from dualipo.store import audit_questions, label_records, tables
from dualipo.store.label_records import StandingAnswer
from dualipo.store.labels import LabelItem
from dualipo.store.ledger import Unit


def labels(
    run: Run, round: int, attempt: int, clips: Sequence[Candidate], *, learning: set[str]
) -> list[Pair]:
    """Return people's labels of an attempt's monitor clips; raise WaitsForPeople without them.

    `learning` are the prompts whose labels critics may learn from. Nobody is asked about the base
    model's clips.
    """
    if round == BASE_ROUND:
        return []
    unit = Unit(round, attempt, "audit")
    path = run.directory.attempt_path(round, attempt) / "audit.parquet"
    if not run.is_done(unit):
        pairs = _answered(run, round, _questions(run, round, attempt, clips, learning))
        tables.write_records(path, pairs, record_type=Pair)
        run.commit(unit, files=(path,))
    return run.records(path, Pair)


def _questions(
    run: Run, round: int, attempt: int, clips: Sequence[Candidate], learning: set[str]
) -> dict[str, LabelItem]:
    """Publish an attempt's questions and return them by id; each asks for all dimensions."""
    num_pairs = -(-run.config.monitor.num_audit_labels // len(run.config.critic.questions.names))
    seed = run.seed("audit", round, attempt)
    taught = [clip for clip in clips if clip.prompt_id in learning]
    kept = [clip for clip in clips if clip.prompt_id not in learning]
    num_taught = num_pairs // 2 if taught else 0
    items = label_queue.pair_items(kept, num=num_pairs - num_taught, seed=seed)
    items += _disputed(run, Unit(round, attempt, "audit_votes"), taught, num=num_taught, seed=seed)
    audit_questions.write(run.directory.path, round, attempt, items)
    return {item.item_id: item for item in items}


def _disputed(
    run: Run, stage: Unit, clips: Sequence[Candidate], *, num: int, seed: int
) -> list[LabelItem]:
    """Return the pairs on which the critic disagrees with itself the most; it is asked first."""
    pairs = label_queue.pair_items(clips, num=len(clips), seed=seed)
    if len(pairs) <= num:
        return pairs
    names = run.config.critic.questions.names
    asked = [Item(pair.item_id, pair.caption, (pair.clip_a, pair.clip_b), names) for pair in pairs]
    critic = critic_of(run, stage.round, stage.attempt)
    votes = judging.vote_on(run, stage, asked, critic=critic)
    return label_queue.disputed(pairs, votes, num=num)


def _answered(run: Run, round: int, items: dict[str, LabelItem]) -> list[Pair]:
    """Return the answers to these questions, or raise WaitsForPeople where some are missing."""
    run_path, names = run.directory.path, run.config.critic.questions.names
    book = run_path / audit_questions.BOOK
    standing = label_records.read_answers(book) if book.is_file() else []
    own = [answer for answer in standing if answer.item_id in items and not answer.is_test]
    num_done = sum(_is_complete(own, item_id, names) for item_id in items)
    if num_done < len(items):
        raise WaitsForPeople(
            f"{run_path}: round {round} waits for people, who answered {num_done} of the "
            f"{len(items)} pairs of its audit. Open the page with `dualipo label {run_path} "
            f"--audit {round} --invite NAME`, and repeat this command when they are done: it goes "
            "on from here."
        )
    return label_records.records(own)[0]


def _is_complete(
    answers: Sequence[StandingAnswer], item_id: str, dimensions: Sequence[Dimension]
) -> bool:
    """Tell whether a question is answered in every dimension."""
    return {a.dimension for a in answers if a.item_id == item_id} >= {*dimensions}
