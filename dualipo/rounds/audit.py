"""The audit: fresh labels of the newest generator's monitor clips (METHOD.md 1, 5).

Half of the monitor prompts only measure. Labels of the other half may teach a critic in a refresh,
if the recipe names a source of pairs that reads them; else all labels measure.
"""

from collections.abc import Sequence

from dualipo.records import Candidate, Pair
from dualipo.rounds import fixed_clips, people_audit, world_sources
from dualipo.rounds.questions import pair_questions
from dualipo.rounds.run import Run
from dualipo.rounds.sampling import fixed_prompts
from dualipo.rounds.versions import generator_before, generator_made
from dualipo.store.ledger import Unit

READERS = {"audit", "newer"}  # the sources that read labels or clips of the monitor prompts


def labels(run: Run, round: int, attempt: int, clips: Sequence[Candidate]) -> list[Pair]:
    """Return the labels of an attempt's monitor clips, the same ones at every call."""
    num = run.config.monitor.num_audit_labels
    if num == 0:
        return []
    if run.config.monitor.audit == "people":
        learning = learning_prompts(run)
        return people_audit.labels(run, round, attempt, clips, learning=learning)
    seed = run.seed("audit", round, attempt)
    asked = pair_questions(clips, num=num, seed=seed)
    return world_sources.label_pairs(asked, clips=run.clip, seed=seed)


def newest(run: Run, round: int, attempt: int) -> list[Pair]:
    """Return the labels of the newest generator that an attempt has; it may not have made one."""
    is_aligned = run.is_done(Unit(round, attempt, "align"))
    version = generator_made(round, attempt) if is_aligned else generator_before(run, round)
    made = run.ledger.version("generator", version)
    clips = fixed_clips.of_version(run, "monitor", version)
    return labels(run, made.round, made.attempt, clips)


def measuring(run: Run, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the labels that no critic ever learns from."""
    learnt = learning_prompts(run)
    return [pair for pair in pairs if pair.prompt_id not in learnt]


def learning(run: Run, pairs: Sequence[Pair]) -> list[Pair]:
    """Return the labels that critics may learn from."""
    learnt = learning_prompts(run)
    return [pair for pair in pairs if pair.prompt_id in learnt]


def measuring_prompts(run: Run) -> set[str]:
    """Return the monitor prompts whose labels and clips no critic ever learns from."""
    ids = {prompt.prompt_id for prompt in fixed_prompts(run, "monitor")}
    return ids - learning_prompts(run)


def learning_prompts(run: Run) -> set[str]:
    """Return the monitor prompts whose labels and clips critics may learn from."""
    if not READERS.intersection(run.config.refresh.sources):
        return set()
    ids = {prompt.prompt_id for prompt in fixed_prompts(run, "monitor")}
    return set(sorted(ids, key=lambda prompt_id: run.seed("audit half", prompt_id))[1::2])
