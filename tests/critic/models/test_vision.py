"""Frames as transformers' own image processor prepares them."""

import pytest
import torch
from PIL import Image
from transformers import Qwen2VLImageProcessor

from dualipo.config import Critic
from dualipo.critic.models import vision
from tests.critic.conftest import make_clip


def test_patches_are_those_of_transformers_image_processor():
    picture = make_clip(0, num_frames=1, size=56)
    processor = Qwen2VLImageProcessor(do_resize=False, patch_size=14, merge_size=2)
    theirs = processor(Image.fromarray(picture[0]), return_tensors="pt")
    frames = vision.pixels(
        picture, clip_hash="x", size=(56, 56), scaling=vision.CLIP, settings=Critic()
    )
    ours, grid = vision.patches(frames, patch=14, merge=2, pair=2)
    assert grid == tuple(theirs["image_grid_thw"][0].tolist())
    assert torch.allclose(ours, torch.as_tensor(theirs["pixel_values"]), atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "size"), [((480, 832), (224, 392)), ((64, 64), (56, 56)), ((56, 84), (56, 84))]
)
def test_frames_keep_their_shape_within_the_pixels(shape, size):
    assert vision.fitting_size(*shape, multiple=28, max_pixels=128 * 28 * 28) == size
