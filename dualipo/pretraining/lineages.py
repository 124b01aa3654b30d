"""Generators of several strengths, whose clips teach the critic what alignment does to a clip.

A critic that has only seen the base's clips cannot see the faults that remain in an aligned
generator's (docs/results.md). Here the shipped generator is aligned by Diffusion-DPO, round after
round, as a run does it, on pairs that the world's oracle orders. The critic never sees these pairs
or their order: it gets the clips, and what is measured in them. Lineages have seeds of their own,
which no recipe uses. Everything is kept in the work folder, and made once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from dualipo.generator import backbone
from dualipo.generator.align import align
from dualipo.generator.backbone import Backbone
from dualipo.generator.preference_sets import PreferenceSet, RealClips
from dualipo.generator.sample import encode_texts, sample
from dualipo.pretraining import settings
from dualipo.seeds import derive
from dualipo.store.rundir import remove_checkpoints
from dualipo.world import oracle
from dualipo.world.corpus import caption, real_clip

ENCODED_AT_ONCE = 64  # real clips in one pass of the autoencoder


@dataclass(frozen=True)
class Lineage:
    """A lineage of generators in `work`; round 0 is the shipped one in `folder`."""

    folder: Path
    work: Path
    lineage: int
    device: str = "cpu"
    say: Callable[[str], None] = print

    def load(self, round_: int) -> Backbone:
        """Load the lineage's generator after `round_` rounds, and make it where it is missing."""
        if round_ > 0 and not self._transformer(round_).is_dir():
            self._train(round_)
        return self._load(round_)

    def _transformer(self, round_: int) -> Path:
        return self.work / f"lineage-{self.lineage}-round-{round_}" / "transformer"

    def _load(self, round_: int) -> Backbone:
        return backbone.load(
            self.folder,
            max_sequence_length=settings.TEXT_LENGTH,
            device=self.device,
            transformer_folder=self._transformer(round_) if round_ > 0 else None,
        )

    def _train(self, round_: int) -> None:
        model = self.load(round_ - 1)
        pairs = self._pairs(model, round_)
        result = align(
            model,
            preferences=pairs,
            real=self._real_clips,
            settings=settings.LINEAGE_ALIGN,
            folder=self._transformer(round_).parent,
            seed=self._seed("align", round_),
        )
        remove_checkpoints(self._transformer(round_).parent / "checkpoints")
        self.say(
            f"lineage {self.lineage}, round {round_}: {len(pairs.ids)} pairs, {result.metrics}"
        )

    def _pairs(self, model: Backbone, round_: int) -> PreferenceSet:
        """Sample candidates; keep each prompt's best and worst where they lie far enough apart."""
        per_prompt = settings.LINEAGE_CANDIDATES
        prompts = [
            caption(self._seed("prompt", round_, n)) for n in range(settings.LINEAGE_PROMPTS)
        ]
        captions = [prompt for prompt in prompts for _ in range(per_prompt)]
        seeds = [self._seed("candidate", round_, n) for n in range(len(captions))]
        samples = sample(model, captions=captions, seeds=seeds, settings=settings.SAMPLING)
        clips = zip(samples.frames_NFHW3.numpy(), captions, strict=True)
        totals = [oracle.score(frames, asked).total for frames, asked in clips]
        totals_PK = np.asarray(totals).reshape(-1, per_prompt)
        self.say(f"lineage {self.lineage}, round {round_ - 1}: oracle total {totals_PK.mean():.3f}")
        kept = np.flatnonzero(np.ptp(totals_PK, axis=1) >= settings.LINEAGE_MIN_GAP)
        best = kept * per_prompt + totals_PK[kept].argmax(axis=1)
        worst = kept * per_prompt + totals_PK[kept].argmin(axis=1)
        ids = [f"pair-{n}" for n in kept]
        texts = {id_: samples.texts[prompts[n]] for id_, n in zip(ids, kept, strict=True)}
        return PreferenceSet(
            ids=ids,
            caption_keys=ids,
            texts=texts,
            winners=samples.latents[best],
            losers=samples.latents[worst],
        )

    @cached_property
    def _real_clips(self) -> RealClips:
        model = self._load(0)
        clips = [real_clip(self._seed("real", n)) for n in range(settings.LINEAGE_REAL_CLIPS)]
        frames_NFHW3 = torch.from_numpy(np.stack([clip.frames_FHW3 for clip in clips]))
        parts = frames_NFHW3.split(ENCODED_AT_ONCE)
        captions = [clip.caption for clip in clips]
        texts = encode_texts(model, captions=captions, batch_size=ENCODED_AT_ONCE)
        return RealClips(
            torch.cat([model.encode_clips(part).cpu() for part in parts]),
            torch.stack([texts[asked] for asked in captions]),
        )

    def _seed(self, *parts: int | str) -> int:
        return derive(settings.SEED, "stronger", self.lineage, *parts)
