"""What the config.json of a VILA folder says of its eyes, and what of it is not built here.

VILA's code does what the configuration says, so a folder that asks for more than the adapter does
is refused: frames pooled over time (NVILA-8B-Video), tiles, another layer, further parts.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dualipo.errors import ModelError
from dualipo.model_files import settings_files

BEFORE_LAST, LAST = -2, -1  # layers of a vision tower
CLASS_TOKEN_TOWERS = ("internvl_vision", "intern_vit_6b")
NVILA_ONLY = ("dynamic_s2", "num_time_tokens")  # settings that VILA1.5's configurations do not have
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth")


def is_nvila(top: Mapping[str, Any]) -> bool:
    """Tell whether a folder was written by NVILA's code and not by VILA1.5's."""
    return any(name in top for name in NVILA_ONLY)


def select_layer(top: Mapping[str, Any]) -> int:
    """Return the layer of the tower whose features the projector takes."""
    layer = top.get("mm_vision_select_layer")
    return BEFORE_LAST if layer is None else layer


def refuse_other_eyes(
    folder: Path, top: Mapping[str, Any], *, tower_kind: str, num_scales: float
) -> None:
    """Refuse features of another layer, of several scales, or of other tokens.

    The layer behind which features are taken may be the last one where the tower has a class token,
    as the release of VILA1.5-40b has it: that tower has no norm there.
    """
    has_class_token = tower_kind in CLASS_TOKEN_TOWERS
    known = (BEFORE_LAST, LAST) if has_class_token else (BEFORE_LAST,)
    layer = select_layer(top)
    if top.get("s2") or layer not in known or num_scales != int(num_scales) > 0:
        raise ModelError(
            f"{folder}: its projector takes frames at {num_scales:g} scales from layer {layer} of "
            f"the tower; known is layer {' or '.join(map(str, known))}, at one scale. Use another "
            "model."
        )
    feature = top.get("mm_vision_select_feature")
    expected = "patch" if has_class_token else "cls_patch"
    if feature not in (None, expected):
        raise ModelError(
            f"{folder}: mm_vision_select_feature is {feature!r}; known of a {tower_kind} is "
            f"{expected!r}. Use another model."
        )


def refuse_ignored(folder: Path, *, parts: Sequence[str]) -> None:
    """Refuse what VILA's code would use of a folder, and the adapter would not."""
    top = settings_files.read(folder / "config.json")
    encoder = _encoder(top.get("video_encoder"))
    name = str(encoder.get("_target_", "BasicVideoEncoder")).rpartition(".")[2]
    tokens = (encoder.get("start_tokens"), encoder.get("end_tokens", "\n"))
    if name != "BasicVideoEncoder" or tokens != (None, "\n"):
        raise ModelError(
            f"{folder}: its video_encoder is {name} with the tokens {tokens}, which is not built "
            "here: known is BasicVideoEncoder, a line for each frame. Use another model, such as "
            "NVILA-8B."
        )
    if str(top.get("image_aspect_ratio")).startswith("dynamic") and _above_one(top):
        raise ModelError(
            f"{folder}: it cuts the frames of a video into tiles (video_max_tiles), which is not "
            "built here. Use another model."
        )
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and inner.name not in parts and _has_weights(inner):
            raise ModelError(
                f"{inner}: the model has weights of another part, which are not read. Use another "
                "model, or remove the folder if the model answers without it."
            )


def _encoder(said: Any) -> Mapping[str, Any]:
    """Read the setting of the video encoder, which is an object or JSON in a text."""
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except ValueError:
            said = {"_target_": said}
    return said if isinstance(said, dict) else {}


def _above_one(top: Mapping[str, Any]) -> bool:
    tiles = top.get("video_max_tiles")
    return isinstance(tiles, int) and tiles > 1


def _has_weights(folder: Path) -> bool:
    return any(path.suffix in WEIGHTS for path in folder.iterdir())
