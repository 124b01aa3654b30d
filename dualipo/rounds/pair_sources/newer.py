"""Source `newer`: the newest generator's clips against those of the generator before it.

Both made them of the same monitor prompts and the same noise. That the newer one is better is a
guess, and is only taken in dimensions in which fresh labels of such pairs agree often enough
(`refresh.newer_min_precision`). Without such labels there are no pairs.
"""

from collections.abc import Sequence

from dualipo.records import DIMENSIONS, Candidate, Dimension, Pair, Prompt, pair_id
from dualipo.rounds import audit, fixed_clips
from dualipo.rounds.pair_sources.found import Found, precision
from dualipo.rounds.questions import PairQuestion
from dualipo.rounds.run import Run
from dualipo.rounds.versions import generator_before, generator_made
from dualipo.store.ledger import Unit

LEAST_LABELS = 8  # fewer in a dimension say too little of it


def pairs(run: Run, place: Unit, candidates: Sequence[Candidate]) -> Found:
    """Pair the monitor clips of prompts that are for learning, in dimensions that labels allow."""
    made, before = generator_made(place.round, place.attempt), generator_before(run, place.round)
    new, old = (fixed_clips.of_version(run, "monitor", version) for version in (made, before))
    names = run.config.critic.questions.names
    every = between(new, old, audit.learning_prompts(run), dimensions=names)
    least = run.config.refresh.newer_min_precision
    right = {d for d in names if _is_right(run, [p for p in every if p.dimension == d], least)}
    return Found([pair for pair in every if pair.dimension in right])


def between(
    new: Sequence[Candidate],
    old: Sequence[Candidate],
    prompts: set[str],
    *,
    dimensions: Sequence[Dimension] = DIMENSIONS,
) -> list[Pair]:
    """Return the pairs of clips with the same noise, each clip of the new generator being better.

    The new clip is B in every second pair.
    """
    by_noise = {(c.prompt_id, c.index): c for c in old}
    met = [
        (clip, by_noise[clip.prompt_id, clip.index])
        for clip in new
        if clip.prompt_id in prompts and (clip.prompt_id, clip.index) in by_noise
    ]
    asked = [(newer, older) for newer, older in met if newer.clip != older.clip]
    return [
        _pair(newer, older, dimension, is_a=bool((n + m) % 2))
        for n, (newer, older) in enumerate(asked)
        for m, dimension in enumerate(dimensions)
    ]


def _pair(newer: Candidate, older: Candidate, dimension: Dimension, *, is_a: bool) -> Pair:
    a, b = (newer, older) if is_a else (older, newer)
    return Pair(
        pair_id=pair_id(a.candidate_id, b.candidate_id),
        prompt_id=newer.prompt_id,
        prompt=newer.caption,
        video_a=a.clip,
        video_b=b.clip,
        dimension=dimension,
        verdict="a" if is_a else "b",
        source="simulated",
        annotator_or_critic_version=newer.generator_version,
        round=newer.round,
    )


def _is_right(run: Run, own: Sequence[Pair], least: float) -> bool:
    asked = [
        (PairQuestion(Prompt(p.prompt_id, p.prompt), p.video_a, p.video_b, p.dimension), p.verdict)
        for p in own
        if p.dimension != "overall"
    ]
    measured = precision(run, asked, clips=run.clip, name="newer")
    return measured.num_labelled >= LEAST_LABELS and (measured.share or 0.0) >= least
