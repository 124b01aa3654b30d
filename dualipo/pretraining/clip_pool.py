"""Clips that the critic learns to see and to describe, with what is measured in each.

They are drawn by the world, with and without a defect, or made by generators of several strengths:
the base, unguided and guided, and what alignment makes of it (`lineages`). A shard holds clips of
one kind, four of each prompt, and is made once.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from dualipo.generator.sample import sample
from dualipo.pretraining import settings
from dualipo.pretraining.degradation import degrade
from dualipo.pretraining.facts import FrameFacts, frame_facts
from dualipo.pretraining.lineages import Lineage
from dualipo.seeds import derive
from dualipo.store import tensors
from dualipo.world.clips import render
from dualipo.world.corpus import caption
from dualipo.world.measurement import Measurement, measure
from dualipo.world.oracle import asked_scene
from dualipo.world.scenes import DEFECTS, Scene, alter, draw_defect

CLIPS_PER_PROMPT = 4
DRAWN_DEFECT_SHARE = 0.6
DRAWN_ALTERED_SHARE = 0.3


@dataclass(frozen=True)
class Kind:
    """A shard's maker: the world's painter, or a lineage's generator after a round."""

    maker: Literal["drawn", "generator"]
    lineage: int = 0
    round: int = 0
    guidance: float = 1.0

    def __str__(self) -> str:
        if self.maker == "drawn":
            return "drawn"
        return f"lineage-{self.lineage}-round-{self.round}-guidance-{self.guidance:g}"


DRAWN = Kind("drawn")
GENERATED = (
    Kind("generator"),
    Kind("generator", guidance=2.5),
    *(
        Kind("generator", lineage, round_)
        for round_ in range(1, settings.LINEAGE_ROUNDS + 1)
        for lineage in range(settings.NUM_LINEAGES)
    ),
)


@dataclass(frozen=True)
class SeenClip:
    """A clip with the scene that its prompt asks for, and what is measured in it."""

    asked: Scene
    frames_FHW3: np.ndarray
    measurement: Measurement
    facts: FrameFacts


class ClipPool:
    """The shards of some kinds in `work`; draws clips of one prompt and one kind."""

    def __init__(
        self,
        folder: Path,
        work: Path,
        *,
        kinds: Sequence[Kind],
        shards_per_kind: int,
        device: str = "cpu",
        say: Callable[[str], None] = print,
    ) -> None:
        self._folder, self._work, self._device, self._say = folder, work, device, say
        self._shards = [(kind, n) for n in range(shards_per_kind) for kind in kinds]
        self._frames = [self._shard(kind, n) for kind, n in self._shards]
        self._seen: dict[tuple[int, int, int], SeenClip] = {}

    def draw(self, rng: np.random.Generator, num: int) -> list[SeenClip]:
        """Draw `num` different clips of one prompt."""
        shard = int(rng.integers(len(self._shards)))
        prompt = int(rng.integers(settings.PROMPTS_PER_CLIP_SHARD))
        chosen = rng.choice(CLIPS_PER_PROMPT, num, replace=False).tolist()
        return [self._clip(shard, prompt, clip) for clip in chosen]

    def prompts(self) -> Iterator[tuple[int, int, list[SeenClip]]]:
        """Yield all clips of each prompt, with the numbers of its shard and of the prompt."""
        for shard in range(len(self._shards)):
            for prompt in range(settings.PROMPTS_PER_CLIP_SHARD):
                clips = [self._clip(shard, prompt, clip) for clip in range(CLIPS_PER_PROMPT)]
                yield shard, prompt, clips

    def _clip(self, shard: int, prompt: int, clip: int) -> SeenClip:
        place = shard, prompt, clip
        if place not in self._seen:
            frames_FHW3 = self._frames[shard][prompt, clip]
            measurement = measure(frames_FHW3)
            asked = asked_scene(_prompt(*self._shards[shard], prompt))
            facts = frame_facts(measurement)
            self._seen[place] = SeenClip(asked, frames_FHW3, measurement, facts)
        return self._seen[place]

    def _shard(self, kind: Kind, number: int) -> np.ndarray:
        path = self._work / "clips" / f"{kind}-{number:02d}.safetensors"
        if not path.exists():
            start = time.monotonic()
            path.parent.mkdir(parents=True, exist_ok=True)
            make = self._drawn if kind.maker == "drawn" else self._sampled
            frames_PKFHW3 = torch.from_numpy(make(kind, number))
            tensors.save(path, {"frames": frames_PKFHW3}, metadata={"axes": "PKFHW3"})
            self._say(f"{path.name}: {time.monotonic() - start:.0f} s")
        return tensors.load(path)["frames"].numpy()

    def _sampled(self, kind: Kind, number: int) -> np.ndarray:
        prompts = [_prompt(kind, number, n) for n in range(settings.PROMPTS_PER_CLIP_SHARD)]
        captions = [prompt for prompt in prompts for _ in range(CLIPS_PER_PROMPT)]
        generator = Lineage(self._folder, self._work, kind.lineage, self._device, self._say)
        samples = sample(
            generator.load(kind.round),
            captions=captions,
            seeds=[_seed("noise", kind, number, n) for n in range(len(captions))],
            settings=settings.SAMPLING.model_copy(update={"guidance_scale": kind.guidance}),
        )
        return samples.frames_NFHW3.unflatten(0, (len(prompts), CLIPS_PER_PROMPT)).numpy()

    def _drawn(self, kind: Kind, number: int) -> np.ndarray:
        clips = [
            [_painted(_prompt(kind, number, n), _seed("paint", kind, number, n, k))
             for k in range(CLIPS_PER_PROMPT)]
            for n in range(settings.PROMPTS_PER_CLIP_SHARD)
        ]  # fmt: skip
        return np.asarray(clips)


def _painted(prompt: str, seed: int) -> np.ndarray:
    """Draw a clip of a prompt, or of nearly that prompt, with a defect or without."""
    rng = np.random.default_rng(seed)
    scene = asked_scene(prompt)
    if rng.random() < DRAWN_ALTERED_SHARE:
        scene = alter(rng, scene)
    defect = draw_defect(rng, scene, kinds=DEFECTS) if rng.random() < DRAWN_DEFECT_SHARE else None
    return degrade(render(scene, rng, num_frames=settings.NUM_FRAMES, defect=defect), rng)


def _prompt(kind: Kind, number: int, prompt: int) -> str:
    return caption(_seed("prompt", kind, number, prompt))


def _seed(purpose: str, kind: Kind, *parts: int) -> int:
    return derive(settings.SEED, "clip to see", purpose, str(kind), *parts)
