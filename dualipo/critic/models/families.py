"""The VLM families of transformers that can be a critic: one literal row each.

A row says how a clip's frames become visual tokens, how large frames are, and what text stands
around them. Qwen3-VL's tower also adds to the output of the first layers of the language model: a
token carries these parts behind its own (`decode.deepened` adds them). Leaves out image tiling: a
video's frames are shown whole.

Legend: F frames, C colours, H and W pixels, M visual tokens a frame, D their width, L all of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dualipo.critic.models.templates import CHATML, Style
from dualipo.critic.models.vision import CLIP, IMAGENET, SIGLIP, Scaling, patches

Model = Any  # a transformers ...ForConditionalGeneration


@dataclass(frozen=True)
class Family:
    """A family of models: how it sees a clip, and how its prompts are written.

    see             from one clip's pixels to its visual tokens [F, M, D]
    style, scaling  the text around the frames, and the scale of their colours
    tower           begins the names of the vision tower's weights
    projector       begins the names of those among them that belong to the projector
    multiple        the number that a frame's sides must be multiples of; None for a fixed size
    grid_positions  visual tokens stand on three axes (time, height, width): a clip as a whole or,
                    with text between frames (`style.is_timed`), each row of frames by itself
    """

    see: Callable[[Model, Tensor], Tensor]
    style: Style
    scaling: Scaling
    tower: str
    projector: tuple[str, ...] = ()
    multiple: Callable[[Model], int] | None = None
    grid_positions: bool = False

    def is_tower(self, weight: str) -> bool:
        """Tell whether a weight belongs to the vision tower and not to the projector."""
        return weight.startswith(self.tower) and not weight.startswith(self.projector)


def _see_qwen(model: Model, pixels_FCHW: Tensor) -> Tensor:
    """Encode a clip as Qwen2-VL does: a visual token covers 2x2 patches of two frames."""
    seen, num_rows = _seen_by_qwen(model, pixels_FCHW)
    [tokens_LD] = seen.pooler_output
    return tokens_LD.unflatten(0, (num_rows, -1))


def _see_qwen3(model: Model, pixels_FCHW: Tensor) -> Tensor:
    """Encode a clip as Qwen3-VL does: behind each token stand its parts for the deeper layers."""
    seen, num_rows = _seen_by_qwen(model, pixels_FCHW)
    deep = [layer_LD for [layer_LD] in seen.deepstack_features]
    return torch.cat([*seen.pooler_output, *deep], -1).unflatten(0, (num_rows, -1))


def _seen_by_qwen(model: Model, pixels_FCHW: Tensor) -> tuple[Any, int]:
    """Return the tower's output for one clip and its number of rows, which are pairs of frames."""
    config = model.config.vision_config
    shown_LP, grid = patches(
        pixels_FCHW,
        patch=config.patch_size,
        merge=config.spatial_merge_size,
        pair=config.temporal_patch_size,
    )
    grid_thw = pixels_FCHW.new_tensor([grid]).long()
    return model.model.get_video_features(shown_LP, grid_thw), grid[0]


def _qwen_multiple(model: Model) -> int:
    config = model.config.vision_config
    return config.patch_size * config.spatial_merge_size


def _see_smolvlm(model: Model, pixels_FCHW: Tensor) -> Tensor:
    """Encode every frame as an image of its own, as SmolVLM does; return its tokens."""
    [seen] = model.model.get_image_features(pixels_FCHW[None]).pooler_output
    return seen.unflatten(0, (len(pixels_FCHW), -1))


def _see_llava_onevision(model: Model, pixels_FCHW: Tensor) -> Tensor:
    """Encode all frames as one run of tokens, with the end of line that follows them."""
    return model.model.get_video_features(
        pixels_FCHW[None],
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
    ).pooler_output


def _see_internvl(model: Model, pixels_FCHW: Tensor) -> Tensor:
    """Encode every frame as an image of its own, as InternVL does; return its tokens."""
    return model.model.get_image_features(
        pixels_FCHW,
        vision_feature_layer=model.config.vision_feature_layer,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
    ).pooler_output


_QWEN = Family(
    _see_qwen,
    replace(CHATML, clip=("<|vision_start|>", "<|vision_end|>\n"), frame=("", "")),
    CLIP,
    "model.visual.",
    ("model.visual.merger.",),
    multiple=_qwen_multiple,
    grid_positions=True,
)

FAMILIES: dict[str, Family] = {
    "qwen2_vl": _QWEN,
    "qwen2_5_vl": _QWEN,
    "qwen3_vl": Family(
        _see_qwen3,
        replace(CHATML, frame=("<|vision_start|>", "<|vision_end|>"), is_timed=True),
        SIGLIP,
        "model.visual.",
        ("model.visual.merger.", "model.visual.deepstack_merger_list."),
        multiple=_qwen_multiple,
        grid_positions=True,
    ),
    "smolvlm": Family(
        _see_smolvlm,
        Style(
            "<|im_start|>User: ",
            "<end_of_utterance>\nAssistant:",
            frame=(
                "<fake_token_around_image><global-img>",
                "<fake_token_around_image>\n",
            ),
            end="<end_of_utterance>",
            begins=False,
        ),
        SIGLIP,
        "model.vision_model.",
    ),
    "llava_onevision": Family(_see_llava_onevision, CHATML, SIGLIP, "model.vision_tower."),
    "internvl": Family(
        _see_internvl,
        replace(CHATML, frame=("<img>", "</img>\n")),
        IMAGENET,
        "model.vision_tower.",
    ),
}
