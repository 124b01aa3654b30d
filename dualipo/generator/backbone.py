"""What a text-to-video model must offer, and which are known: one file and one line each.

`load` reads a folder in diffusers' layout and hands it to the file that knows its pipeline class.
Folders only: nothing is fetched, and weights are safetensors or refused (FAULTS.md 49).

Shapes: B batch, F frames, H and W pixels or latent cells, C channels, L text tokens, D features.
A latent is stored as the backbone takes it; `latent_axes` names its order ("BCFHW" for Wan,
"BFCHW" for CogVideoX).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from dualipo.errors import ModelError
from dualipo.generator import cogvideox, pipeline, wan


class Backbone(Protocol):
    """A text-to-video diffusion model; `module` is its only trained part."""

    latent_axes: str
    lora_targets: tuple[str, ...]  # the linear modules that an adapter stands on

    @property
    def module(self) -> nn.Module:
        """The denoising transformer."""
        ...

    @property
    def device(self) -> torch.device:
        """Where `module` computes."""
        ...

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embed captions: text_BLD."""
        ...

    def encode_clips(self, frames_BFHWC: Tensor) -> Tensor:
        """Turn uint8 frames into latents, normalised as the module takes them."""
        ...

    def load_decoder(self) -> None:
        """Read what `decode` needs, so that it may then run in a thread of its own.

        Reading a model sets torch's defaults for all threads; what runs beside it would feel them.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents into uint8 frames_BFHWC; a clip that is not finite comes back black."""
        ...

    def latent_shape(self, *, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """The shape of one clip's latent, without the batch axis."""
        ...

    def noise_levels(self, fractions_B: Tensor, *, shift: float) -> Tensor:
        """Turn fractions in [0, 1) of the way to noise into levels_B in [0, 1], as trained on."""
        ...

    def schedule(self, *, shift: float) -> str:
        """The identity of what `noise_levels`, `noised` and `target` compute by."""
        ...

    def noised(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """Clean latents with as much noise as the levels say."""
        ...

    def target(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """What the module is trained to predict."""
        ...

    def predict(self, noisy: Tensor, *, levels_B: Tensor, text_BLD: Tensor) -> Tensor:
        """The module's prediction, in float32, with a gradient where one is asked for."""
        ...

    def sample(
        self,
        text_BLD: Tensor,
        *,
        seeds: Sequence[int],
        num_frames: int,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float,
        empty_LD: Tensor | None = None,
    ) -> Tensor:
        """Sample one latent per caption, each from its own seed.

        `empty_LD` is the empty caption's text, where it is known: guidance needs it.
        """
        ...

    def hash(self) -> str:
        """The identity of the module's weights."""
        ...

    def save(self, folder: Path) -> None:
        """Publish the module as a `transformer/` folder that `load` takes."""
        ...


BACKBONES: dict[str, Callable[..., Backbone]] = {
    "WanPipeline": wan.load,
    "CogVideoXPipeline": cogvideox.load,
}


def load(
    folder: Path,
    *,
    max_sequence_length: int,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    transformer_folder: Path | None = None,
) -> Backbone:
    """Open a pipeline folder, with the transformer of a trained version if one is named.

    On the device "meta" no weights are read, nor need there be any.
    """
    parts = pipeline.read_index(folder)
    transformer_folder = transformer_folder or folder / "transformer"
    if not transformer_folder.is_dir():
        raise ModelError(
            f"{transformer_folder}: no such folder. Name the folder of a transformer that was "
            "saved by an alignment."
        )
    found = parts.get("_class_name")
    if found not in BACKBONES:
        raise ModelError(
            f"{folder}: its pipeline is {found}; supported: {', '.join(BACKBONES)}, text to video. "
            "Choose another generator.pretrained_model_name_or_path."
        )
    if device != "meta":
        for part in (transformer_folder, folder / "vae", folder / "text_encoder"):
            _require_safetensors(part)
    return BACKBONES[found](
        folder,
        transformer_folder=transformer_folder,
        max_sequence_length=max_sequence_length,
        dtype=dtype,
        device=device,
    )


def _require_safetensors(part: Path) -> None:
    if any(part.glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in part.glob("*.bin")) or ["no weights"]
    raise ModelError(
        f"{part}: holds {', '.join(pickles)}, where safetensors are needed: a .bin file can run "
        "code when it is loaded. Download the safetensors variant of this model."
    )
