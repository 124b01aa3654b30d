"""Pretrains the critic's vision tower, as SigLIP's own pretraining does for VILA.

A linear readout of the mean of a frame's visual tokens predicts, for each colour of the world, what
is measured of the figure of this colour (`facts`), and the background. Because it reads the mean,
every token learns to hold the whole frame, and the language model finds the content in any of them.
While the language model learns to describe, the readout stays a second loss, so that the tokens
keep their meaning. Then it is thrown away.

Legend: B frames, M visual tokens a frame, K = 6 colours, P = 6 numbers, S = 3 shapes.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from dualipo.critic.models.vila import VilaModule
from dualipo.pretraining import settings
from dualipo.pretraining.clip_pool import ClipPool, SeenClip
from dualipo.pretraining.facts import PLACE
from dualipo.pretraining.stretches import ASPECTS, MAX_FIGURES
from dualipo.seeds import derive
from dualipo.training.loop import Metrics, Objective
from dualipo.world.scenes import BACKGROUNDS, COLOURS, SHAPES

WORDS = [len(aspect.words) + 1 for aspect in ASPECTS.values()]
_PER_COLOUR = len(PLACE) + len(SHAPES)


class Sight(nn.Module):
    """The tower and projector with a linear readout of what a frame holds."""

    def __init__(self, critic: VilaModule) -> None:
        super().__init__()
        self.vision_tower = critic.vision_tower
        self.mm_projector = critic.mm_projector
        outputs = len(COLOURS) * _PER_COLOUR + len(BACKGROUNDS)
        self.readout = nn.Linear(settings.CRITIC_WIDTH, outputs)
        self.words = nn.Linear(settings.CRITIC_WIDTH, MAX_FIGURES * sum(WORDS))

    def forward(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return place_BKP, the shapes' logits_BKS and the backgrounds' logits [B, 3]."""
        return self.read(pixels_BCHW)[:3]

    def read(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        features = self.vision_tower(pixels_BCHW, output_hidden_states=True).hidden_states[-2]
        token_BH = self.mm_projector(features).mean(1)
        read = self.readout(token_BH).float()
        words = self.words(token_BH).float().unflatten(1, (MAX_FIGURES, sum(WORDS)))
        colours, backgrounds = read.split([len(COLOURS) * _PER_COLOUR, len(BACKGROUNDS)], dim=1)
        colours = colours.unflatten(1, (len(COLOURS), _PER_COLOUR))
        return (
            colours[..., : len(PLACE)],
            colours[..., len(PLACE) :],
            backgrounds,
            list(words.split(WORDS, dim=-1)),
        )


class FrameReading(Objective):
    """Squared error of the numbers, cross-entropy of shape and background."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight

    def loss(self, micro_batch: dict[str, Tensor], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the mean loss; all but opacity counts only where a figure is visible."""
        place_BKP, shape_BKS, background, words = self.sight.read(micro_batch["pixels"])
        truth_BKP = micro_batch["place"]
        visible_BK = (truth_BKP[..., 0] > 0).float()
        error_BKP = (place_BKP - truth_BKP).square()
        num_visible = visible_BK.sum().clamp(min=1.0)
        opacity = error_BKP[..., 0].mean()
        numbers = (error_BKP[..., 1:].sum(-1) * visible_BK).sum() / num_visible
        log_shape_BKS = shape_BKS.log_softmax(-1)
        shape = -(micro_batch["shape"] * log_shape_BKS).sum() / num_visible
        around = nn.functional.cross_entropy(background, micro_batch["background"])
        named_A = torch.stack(
            [
                nn.functional.cross_entropy(logits.flatten(0, 1), micro_batch["words"][..., a].flatten())
                for a, logits in enumerate(words)
            ]
        )
        named = named_A.sum()
        loss = named + 4 * opacity + 4 * numbers + shape + 0.3 * around
        terms = {"opacity": opacity, "numbers": numbers, "shape": shape, "named": named}
        return loss, {name: float(term.detach()) for name, term in terms.items()}


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
        words.append(clip.facts.words_FPA[chosen])
        background += [clip.facts.background] * len(chosen)
    pixels_BHWC = torch.from_numpy(np.concatenate(pixels))
    return {
        "pixels": pixels_BHWC.permute(0, 3, 1, 2).float() / 127.5 - 1,
        "place": torch.from_numpy(np.concatenate(place)),
        "shape": torch.from_numpy(np.concatenate(shape)),
        "background": torch.tensor(background),
        "words": torch.from_numpy(np.concatenate(words)),
    }
