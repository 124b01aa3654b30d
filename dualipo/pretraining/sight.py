"""Pretrains the critic's vision tower, as SigLIP's own pretraining does for VILA.

Two linear readouts of the mean of a frame's visual tokens say what is measured in it. One predicts
numbers for each colour of the world (`facts`), and the background. The other predicts the words of
the frame-by-frame answers (`frame_words`), so that the language model finds a direction for each
word it needs. Because they read the mean, every token learns to hold the whole frame. While the
language model learns to describe, the readouts stay a second loss, so that the tokens keep their
meaning. Then they are thrown away.

Legend: B frames, M visual tokens a frame, K = 6 colours, P = 6 numbers, S = 3 shapes, I = 2
figures, A aspects, W words of an aspect and "gone".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from dualipo.critic.models.vila import VilaModule
from dualipo.pretraining import settings
from dualipo.pretraining.clip_pool import ClipPool, SeenClip
from dualipo.pretraining.facts import PLACE
from dualipo.pretraining.frame_words import ASPECTS, MAX_FIGURES
from dualipo.seeds import derive
from dualipo.training.loop import Metrics, Objective
from dualipo.world.scenes import BACKGROUNDS, COLOURS, SHAPES

_PER_COLOUR = len(PLACE) + len(SHAPES)
NUM_WORDS = [len(aspect.words) + 1 for aspect in ASPECTS.values()]


@dataclass(frozen=True)
class Reading:
    """What the readouts say of frames: numbers, and logits; `words_A` has [B, I, W] an aspect."""

    place_BKP: Tensor
    shape_BKS: Tensor
    background_B3: Tensor
    words_A: tuple[Tensor, ...]


class Sight(nn.Module):
    """The tower and projector with linear readouts of what a frame holds."""

    def __init__(self, critic: VilaModule) -> None:
        super().__init__()
        self.vision_tower = critic.vision_tower
        self.mm_projector = critic.mm_projector
        outputs = len(COLOURS) * _PER_COLOUR + len(BACKGROUNDS)
        self.readout = nn.Linear(settings.CRITIC_WIDTH, outputs)
        self.words = nn.Linear(settings.CRITIC_WIDTH, MAX_FIGURES * sum(NUM_WORDS))

    def forward(self, pixels_BCHW: Tensor) -> Reading:
        """Read the frames."""
        features = self.vision_tower(pixels_BCHW, output_hidden_states=True).hidden_states[-2]
        token_BH = self.mm_projector(features).mean(1)
        read = self.readout(token_BH).float()
        colours, background_B3 = read.split([len(COLOURS) * _PER_COLOUR, len(BACKGROUNDS)], dim=1)
        colours = colours.unflatten(1, (len(COLOURS), _PER_COLOUR))
        words = self.words(token_BH).float().unflatten(1, (MAX_FIGURES, sum(NUM_WORDS)))
        return Reading(
            colours[..., : len(PLACE)],
            colours[..., len(PLACE) :],
            background_B3,
            words.split(NUM_WORDS, dim=-1),
        )


class FrameReading(Objective):
    """Squared error of the numbers, cross-entropy of shape and background."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight

    def loss(self, micro_batch: dict[str, Tensor], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the mean loss; of the numbers, all but opacity count where a figure is visible."""
        read = self.sight(micro_batch["pixels"])
        truth_BKP = micro_batch["place"]
        visible_BK = (truth_BKP[..., 0] > 0).float()
        error_BKP = (read.place_BKP - truth_BKP).square()
        num_visible = visible_BK.sum().clamp(min=1.0)
        opacity = error_BKP[..., 0].mean()
        numbers = (error_BKP[..., 1:].sum(-1) * visible_BK).sum() / num_visible
        shape = -(micro_batch["shape"] * read.shape_BKS.log_softmax(-1)).sum() / num_visible
        around = nn.functional.cross_entropy(read.background_B3, micro_batch["background"])
        words = _cross_entropies(read.words_A, micro_batch["words"]).sum()
        loss = words + 4 * opacity + 4 * numbers + shape + 0.3 * around
        terms = {"opacity": opacity, "numbers": numbers, "shape": shape, "words": words}
        return loss, {name: float(term.detach()) for name, term in terms.items()}


def _cross_entropies(logits_A: Sequence[Tensor], words_BIA: Tensor) -> Tensor:
    """Return the mean cross-entropy of every aspect's words."""
    return torch.stack(
        [
            nn.functional.cross_entropy(logits.flatten(0, 1), words_BIA[..., aspect].flatten())
            for aspect, logits in enumerate(logits_A)
        ]
    )


def batch(step: int, *, pools: Sequence[ClipPool]) -> dict[str, Tensor]:
    """Return some frames of each of a step's clips, with what they hold; pools take turns."""
    num_clips = settings.TOWER_TRAINING.train_batch_size
    rng = np.random.default_rng(derive(settings.SEED, "sight", step))
    clips = [pools[n % len(pools)].draw(rng, 1)[0] for n in range(num_clips)]
    return frames_to_read(clips, rng)


def frames_to_read(clips: Sequence[SeenClip], rng: np.random.Generator) -> dict[str, Tensor]:
    """Draw some frames of every clip, as `FrameReading` takes them."""
    pixels, place, shape, background, words = [], [], [], [], []
    for clip in clips:
        chosen = rng.choice(len(clip.frames_FHW3), settings.FRAMES_PER_CLIP_SEEN, replace=False)
        pixels.append(clip.frames_FHW3[chosen])
        place.append(clip.facts.place_FKP[chosen])
        shape.append(clip.facts.shape_FKS[chosen])
        words.append(clip.facts.words_FIA[chosen])
        background += [clip.facts.background] * len(chosen)
    pixels_BHWC = torch.from_numpy(np.concatenate(pixels))
    return {
        "pixels": pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1,
        "place": torch.from_numpy(np.concatenate(place)),
        "shape": torch.from_numpy(np.concatenate(shape)),
        "background": torch.tensor(background),
        "words": torch.from_numpy(np.concatenate(words)),
    }
