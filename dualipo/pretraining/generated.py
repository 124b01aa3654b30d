"""Samples the base generator's clips, and measures them, for the critic to describe.

A critic that has seen only drawings misreads a generator's soft, melting shapes. So its last stage
partly shows clips like those that it will judge, sampled with and without guidance. A shard is
sampled once and kept beside the checkpoints: uint8 frames [P K F H W 3], K clips of each of P
prompts.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from dualipo.generator import backbone
from dualipo.generator.sample import sample
from dualipo.pretraining import settings
from dualipo.seeds import derive
from dualipo.store import tensors
from dualipo.world.corpus import caption
from dualipo.world.measurement import measure
from dualipo.world.oracle import asked_scene
from dualipo.world.scenes import Scene
from dualipo.world.views import View, view_of_measurement

CLIPS_PER_PROMPT = 4


class GeneratedClips:
    """Clips of the generator in `folder`, sampled into `work` unless they are already there."""

    def __init__(self, folder: Path, work: Path, *, device: str = "cpu") -> None:
        self._folder = folder
        self._device = device
        shards = [self._shard(work, number) for number in range(settings.NUM_CLIP_SHARDS)]
        self._frames_PKFHW3 = np.concatenate(shards)
        self._views: dict[tuple[int, int], View] = {}

    def draw(self, rng: np.random.Generator, num: int) -> list[tuple[Scene, np.ndarray, View]]:
        """Draw `num` different clips of one prompt: the asked scene, the frames, their view."""
        prompt = int(rng.integers(len(self._frames_PKFHW3)))
        chosen = rng.choice(CLIPS_PER_PROMPT, num, replace=False).tolist()
        asked = asked_scene(_prompt(prompt))
        return [(asked, self._frames_PKFHW3[prompt, k], self._view(prompt, k)) for k in chosen]

    def _view(self, prompt: int, clip: int) -> View:
        place = prompt, clip
        if place not in self._views:
            self._views[place] = view_of_measurement(measure(self._frames_PKFHW3[place]))
        return self._views[place]

    @cached_property
    def _backbone(self) -> backbone.Backbone:
        length = settings.TEXT_LENGTH
        return backbone.load(self._folder, max_sequence_length=length, device=self._device)

    def _shard(self, work: Path, number: int) -> np.ndarray:
        guidance = settings.CLIP_GUIDANCE[number % len(settings.CLIP_GUIDANCE)]
        path = work / f"generated-{number:02d}-guidance-{guidance:g}.safetensors"
        if not path.exists():
            first = number * settings.PROMPTS_PER_CLIP_SHARD
            prompts = range(first, first + settings.PROMPTS_PER_CLIP_SHARD)
            places = [(prompt, clip) for prompt in prompts for clip in range(CLIPS_PER_PROMPT)]
            sampled = sample(
                self._backbone,
                captions=[_prompt(prompt) for prompt, _ in places],
                seeds=[derive(settings.SEED, "clip to describe", *place) for place in places],
                settings=settings.SAMPLING.model_copy(update={"guidance_scale": guidance}),
            )
            frames_PKFHW3 = sampled.frames_NFHW3.unflatten(0, (len(prompts), CLIPS_PER_PROMPT))
            tensors.save(path, {"frames": frames_PKFHW3}, metadata={"axes": "PKFHW3"})
        return tensors.load(path)["frames"].numpy()


def _prompt(number: int) -> str:
    return caption(derive(settings.SEED, "prompt to describe", number))
