"""Pretrains the critic's vision tower, as SigLIP's own pretraining does for VILA.

A linear readout of the mean of a frame's visual tokens predicts, for each colour of the world,
whether a figure of this colour is there, where, how big and of which shape, and the background.
Because it reads the mean, every token learns to hold the whole frame, and the language model finds
the content in any of them. The readout is thrown away.

Legend: B frames, M visual tokens a frame, H their width, K = 6 colours.
"""

import numpy as np
import torch
from torch import Tensor, nn

from dualipo.critic.models.vila import VilaModule
from dualipo.pretraining import settings
from dualipo.pretraining.degradation import degrade
from dualipo.seeds import derive
from dualipo.training.loop import Metrics, Objective
from dualipo.world.clips import FRAME_SIZE, Track, paint, tracks
from dualipo.world.scenes import BACKGROUNDS, COLOURS, DEFECTS, SHAPES, draw_defect, draw_scene

_PLACE = 4  # opacity, x, y, radius
_PER_COLOUR = _PLACE + len(SHAPES)


class Sight(nn.Module):
    """The tower and projector with a linear readout of what a frame holds."""

    def __init__(self, critic: VilaModule) -> None:
        super().__init__()
        self.vision_tower = critic.vision_tower
        self.mm_projector = critic.mm_projector
        outputs = len(COLOURS) * _PER_COLOUR + len(BACKGROUNDS)
        self.readout = nn.Linear(settings.CRITIC_WIDTH, outputs)

    def forward(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the colours' readout [B, K, 7] and the backgrounds' logits [B, 3]."""
        features = self.vision_tower(pixels_BCHW, output_hidden_states=True).hidden_states[-2]
        read = self.readout(self.mm_projector(features).mean(1)).float()
        colours, backgrounds = read.split([len(COLOURS) * _PER_COLOUR, len(BACKGROUNDS)], dim=1)
        return colours.unflatten(1, (len(COLOURS), _PER_COLOUR)), backgrounds


class FrameReading(Objective):
    """The squared error of place and opacity, and the cross-entropy of shape and background."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight

    def loss(self, micro_batch: dict[str, Tensor], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the mean loss; place and shape count only where a figure is visible."""
        colours_BK7, backgrounds_B3 = self.sight(micro_batch["pixels"])
        place_BK4, visible_BK = micro_batch["place"], micro_batch["place"][..., 0]
        opacity = (colours_BK7[..., 0] - visible_BK).square().mean()
        far_BK = (colours_BK7[..., 1:_PLACE] - place_BK4[..., 1:]).square().sum(-1)
        shape_BK = nn.functional.cross_entropy(
            colours_BK7[..., _PLACE:].movedim(-1, 1), micro_batch["shape"], reduction="none"
        )
        num_visible = visible_BK.sum().clamp(min=1.0)
        place = (far_BK * visible_BK).sum() / num_visible
        shape = (shape_BK * visible_BK).sum() / num_visible
        background = nn.functional.cross_entropy(backgrounds_B3, micro_batch["background"])
        loss = 4 * opacity + 4 * place + shape + 0.3 * background
        terms = {"opacity": opacity, "place": place, "shape": shape}
        return loss, {name: float(term.detach()) for name, term in terms.items()}


def batch(step: int) -> dict[str, Tensor]:
    """Draw a step's clips; return some frames of each, with their ground truth."""
    rows = [_frames(derive(settings.SEED, "sight", step, n)) for n in range(_num_clips())]
    pixels, place, shape, background = (
        np.concatenate(column) for column in zip(*rows, strict=True)
    )
    return {
        "pixels": torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1,
        "place": torch.from_numpy(place),
        "shape": torch.from_numpy(shape),
        "background": torch.from_numpy(background),
    }


def _num_clips() -> int:
    return settings.TOWER_TRAINING.train_batch_size


def _frames(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw frames of one clip: pixels, place [F, K, 4], shape [F, K], background."""
    rng = np.random.default_rng(seed)
    scene = draw_scene(rng, two_share=0.4)
    defect = draw_defect(rng, scene, kinds=DEFECTS) if rng.random() < 0.5 else None
    placed = tracks(scene, rng, defect=defect)
    chosen = rng.choice(settings.NUM_FRAMES, settings.FRAMES_PER_CLIP_SEEN, replace=False)
    place = np.zeros((len(chosen), len(COLOURS), _PLACE), np.float32)
    shape = np.zeros((len(chosen), len(COLOURS)), np.int64)
    for track in placed:
        for row, frame in enumerate(chosen):
            colour = _colour_of(track, frame)
            x, y = track.centre_F2[frame] / FRAME_SIZE - 0.5
            place[row, colour] = track.opacity_F[frame], x, y, track.radius_F[frame] / 8
            shape[row, colour] = SHAPES.index(track.shapes[frame])
    background = np.full(len(chosen), list(BACKGROUNDS).index(scene.background))
    frames_FHW3 = degrade(paint(scene.background, placed)[chosen], rng)
    return frames_FHW3, place, shape, background


def _colour_of(track: Track, frame: int) -> int:
    palette = np.asarray(list(COLOURS.values()))
    return int(np.abs(palette - track.colours_F3[frame]).sum(axis=1).argmin())
