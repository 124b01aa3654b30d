"""Which prompts, seed labels, audit labels and real clips a recipe means.

The embedded world answers all of it; a file of captions may stand in for its prompts, a label set
or what people said on a run's page for its annotators' seed, clips on disk for its real ones. The
oracle has two doors here and no other: `label_*` (the simulated annotators) and `oracle_scores`,
which stages use for what people read (ARCHITECTURE.md, "the world is honest").
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from dualipo.config import Config
from dualipo.errors import ConfigError
from dualipo.generator.footage import Footage, listing
from dualipo.preferences import contradictions, label_set
from dualipo.prompts import corpus as prompt_lists
from dualipo.records import DIMENSIONS, Dimension, Pair, Point, Prompt
from dualipo.seeds import derive
from dualipo.world import annotators, corpus, oracle
from dualipo.world.measurement import measure

Clips = Callable[[str], np.ndarray]


def captions(config: Config, *, num: int, purpose: str) -> list[str]:
    """Captions to choose from, twice as many as are wanted where they can be made."""
    if config.prompts.source == "world":
        seeds = (derive(config.seed, "captions", purpose, n) for n in range(2 * num + 32))
        return [corpus.caption(seed) for seed in seeds]
    if config.prompts.path is None:
        raise ConfigError('prompts.source = "file" needs prompts.path, one caption a line.')
    return prompt_lists.read_captions(Path(config.prompts.path))


def real_clips(config: Config, *, places: range) -> tuple[np.ndarray, list[str]]:
    """Clean clips by number, uint8 [N, F, H, W, 3], and their captions."""
    num_frames = config.generator.num_frames
    seeds = (derive(config.seed, "real clips", n) for n in places)
    clips = [corpus.real_clip(seed, num_frames=num_frames) for seed in seeds]
    return np.stack([clip.frames_FHW3 for clip in clips]), [clip.caption for clip in clips]


def imported_seed(config: Config) -> contradictions.Usable | None:
    """The label set that the recipe names, less what contradicts itself; None where it names none.

    Its dimension "overall" is left out: the critic is asked about one dimension at a time.
    """
    if config.seed_labels.path is None:
        return None
    found = contradictions.usable(label_set.read_source(Path(config.seed_labels.path)))
    pairs = tuple(pair for pair in found.labels.pairs if pair.dimension != "overall")
    points = tuple(point for point in found.labels.points if point.dimension != "overall")
    num_overall = len(found.labels.pairs) + len(found.labels.points) - len(pairs) - len(points)
    excluded = found.excluded | ({"overall": num_overall} if num_overall else {})
    return replace(found, labels=label_set.LabelSet(pairs, points), excluded=excluded)


def footage(config: Config) -> Footage:
    """The clips of `align.dataset_name`, to be read one by one."""
    align = config.align
    assert align.dataset_name is not None
    rows = listing(
        align.dataset_name,
        video_column=align.video_column,
        caption_column=align.caption_column,
    )
    seed = derive(config.seed, "real clips")
    return Footage(rows, align.num_real_clips, config.generator, seed)


def label_pairs(
    asked: Sequence[tuple[Prompt, str, str, Dimension]], *, clips: Clips, seed: int
) -> list[Pair]:
    """Each (prompt, clip A, clip B, dimension), labelled by one of the annotators in turn."""
    shown = _Shown(clips)
    return [
        annotators.label_pair(
            annotators.ANNOTATORS[n % len(annotators.ANNOTATORS)],
            seed=seed,
            prompt=prompt,
            clip_a=shown(clip_a),
            clip_b=shown(clip_b),
            dimension=dimension,
        )
        for n, (prompt, clip_a, clip_b, dimension) in enumerate(asked)
    ]


def label_points(
    asked: Sequence[tuple[Prompt, str, Dimension]], *, clips: Clips, seed: int
) -> list[Point]:
    """Each (prompt, clip, dimension), graded by one of the annotators in turn."""
    shown = _Shown(clips)
    return [
        annotators.label_point(
            annotators.ANNOTATORS[n % len(annotators.ANNOTATORS)],
            seed=seed,
            prompt=prompt,
            clip=shown(clip),
            dimension=dimension,
        )
        for n, (prompt, clip, dimension) in enumerate(asked)
    ]


def annotator_verdicts(
    asked: Sequence[tuple[Prompt, str, str, Dimension]], *, clips: Clips, seed: int
) -> dict[str, list[Pair]]:
    """What every annotator says of every pair, by name: their own accuracy is measured so."""
    shown = _Shown(clips)
    return {
        annotator.name: [
            annotators.label_pair(
                annotator,
                seed=seed,
                prompt=prompt,
                clip_a=shown(clip_a),
                clip_b=shown(clip_b),
                dimension=dimension,
            )
            for prompt, clip_a, clip_b, dimension in asked
        ]
        for annotator in annotators.ANNOTATORS
    }


def oracle_scores(
    asked: Sequence[tuple[str, str]], *, clips: Clips
) -> list[dict[Dimension, float]]:
    """The oracle's parts for each (caption, clip). For people only."""
    found = []
    for caption, clip in asked:
        scores = oracle.score(clips(clip), caption)
        found.append({dimension: getattr(scores, dimension) for dimension in DIMENSIONS})
    return found


class _Shown:
    """Measures each clip once."""

    def __init__(self, clips: Clips) -> None:
        self._clips = clips
        self._seen: dict[str, annotators.Shown] = {}

    def __call__(self, clip: str) -> annotators.Shown:
        if clip not in self._seen:
            self._seen[clip] = annotators.Shown(clip, measure(self._clips(clip)))
        return self._seen[clip]
