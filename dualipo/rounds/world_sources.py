"""A recipe's sources in the embedded world: captions, clips, simulated annotators, the oracle.

The oracle has two doors here and no other: the annotators, whose labels carry the source
"simulated", and `oracle_scores`, which stages use for what people read (docs/develop, "the world
is honest").
"""

from collections.abc import Callable, Sequence

import numpy as np

from dualipo.config import Config
from dualipo.records import DIMENSIONS, Dimension, Pair, Point
from dualipo.rounds.questions import PairQuestion, PointQuestion
from dualipo.seeds import derive
from dualipo.world import annotators, corpus, oracle
from dualipo.world.annotators import ANNOTATORS, Annotator, Shown
from dualipo.world.measurement import measure

Clips = Callable[[str], np.ndarray]  # clip hash -> uint8 [F, H, W, 3]


def captions(config: Config, *, num: int, purpose: str) -> list[str]:
    """Return captions to choose `num` from: twice as many and 32 more."""
    seeds = (derive(config.seed, "captions", purpose, n) for n in range(2 * num + 32))
    return [corpus.caption(seed) for seed in seeds]


def real_clips(config: Config, *, places: range) -> tuple[np.ndarray, list[str]]:
    """Return the clean clips of these numbers, uint8 [N, F, H, W, 3], and their captions."""
    num_frames = config.generator.num_frames
    seeds = (derive(config.seed, "real clips", n) for n in places)
    clips = [corpus.real_clip(seed, num_frames=num_frames) for seed in seeds]
    return np.stack([clip.frames_FHW3 for clip in clips]), [clip.caption for clip in clips]


def label_pairs(asked: Sequence[PairQuestion], *, clips: Clips, seed: int) -> list[Pair]:
    """Return a label for each question; the annotators answer in turn."""
    shown = _ShownClips(clips)
    return [
        _label_pair(ANNOTATORS[n % len(ANNOTATORS)], question, shown=shown, seed=seed)
        for n, question in enumerate(asked)
    ]


def label_points(asked: Sequence[PointQuestion], *, clips: Clips, seed: int) -> list[Point]:
    """Return a grade for each question; the annotators answer in turn."""
    shown = _ShownClips(clips)
    return [
        annotators.label_point(
            ANNOTATORS[n % len(ANNOTATORS)],
            seed=seed,
            prompt=question.prompt,
            clip=shown(question.clip),
            dimension=question.dimension,
        )
        for n, question in enumerate(asked)
    ]


def annotator_verdicts(
    asked: Sequence[PairQuestion], *, clips: Clips, seed: int
) -> dict[str, list[Pair]]:
    """Return every annotator's answers to all questions, by the annotator's name."""
    shown = _ShownClips(clips)
    return {
        annotator.name: [
            _label_pair(annotator, question, shown=shown, seed=seed) for question in asked
        ]
        for annotator in ANNOTATORS
    }


def oracle_scores(
    asked: Sequence[tuple[str, str]], *, clips: Clips
) -> list[dict[Dimension, float]]:
    """Return the oracle's score in each dimension for each (caption, clip). For people only."""
    scores = [oracle.score(clips(clip), caption) for caption, clip in asked]
    return [{dimension: getattr(score, dimension) for dimension in DIMENSIONS} for score in scores]


def _label_pair(
    annotator: Annotator, question: PairQuestion, *, shown: "_ShownClips", seed: int
) -> Pair:
    return annotators.label_pair(
        annotator,
        seed=seed,
        prompt=question.prompt,
        clip_a=shown(question.clip_a),
        clip_b=shown(question.clip_b),
        dimension=question.dimension,
    )


class _ShownClips:
    """Clips as annotators see them; each is measured once."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips
        self._seen: dict[str, Shown] = {}

    def __call__(self, clip: str) -> Shown:
        if clip not in self._seen:
            self._seen[clip] = Shown(clip, measure(self._clips(clip)))
        return self._seen[clip]
