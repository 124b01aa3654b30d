"""The protocol of a text-to-video model, and the models that are known: one file and line each.

`load` reads a folder in diffusers' layout and opens it by the class that knows its pipeline.
Folders only: nothing is fetched, and weights are safetensors or refused (FAULTS.md 49).

Shapes: B batch, F frames, H and W pixels or latent cells, C channels, L text tokens, D features.
A latent is stored as the backbone takes it; `latent_axes` names its order ("BCFHW" for Wan,
"BFCHW" for CogVideoX).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from dualipo.config import Generator
from dualipo.errors import ModelError
from dualipo.generator import pipeline, weights
from dualipo.generator.cogvideox import CogVideoX
from dualipo.generator.wan import Wan


class Backbone(Protocol):
    """A text-to-video diffusion model; `module` is its only trained part."""

    latent_axes: str
    lora_targets: tuple[str, ...]  # the linear modules that an adapter stands on

    @property
    def module(self) -> nn.Module:
        """Return the denoising transformer."""
        ...

    @property
    def device(self) -> torch.device:
        """Return the device on which `module` computes."""
        ...

    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embed captions: text_BLD."""
        ...

    def encode_clips(self, frames_BFHWC: Tensor) -> Tensor:
        """Encode uint8 frames as latents, normalised as the module takes them."""
        ...

    def load_decoder(self) -> None:
        """Read what `decode` needs, so that it may then run in a thread of its own.

        Reading a model sets torch's defaults for all threads, and would disturb another one's work.
        """
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents to uint8 frames_BFHWC; a clip that is not finite comes back black."""
        ...

    def latent_shape(self, *, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one clip's latent, without the batch axis."""
        ...

    def noise_levels(self, fractions_B: Tensor, *, shift: float) -> Tensor:
        """Turn fractions in [0, 1) of the way to noise into the levels_B of training, in [0, 1]."""
        ...

    def schedule(self, *, shift: float) -> str:
        """Name the schedule by which `noise_levels`, `noised` and `target` compute.

        Errors that were measured under another schedule cannot be compared.
        """
        ...

    def noised(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """Mix clean latents with as much noise as the levels say."""
        ...

    def target(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """Return what the module is trained to predict."""
        ...

    def predict(self, noisy: Tensor, *, levels_B: Tensor, text_BLD: Tensor) -> Tensor:
        """Return the module's prediction, in float32, with a gradient if autograd is on."""
        ...

    def sample(
        self,
        text_BLD: Tensor,
        *,
        seeds: Sequence[int],
        settings: Generator,
        empty_LD: Tensor | None = None,
    ) -> Tensor:
        """Sample one latent per caption, each from its own seed.

        `settings` gives the clip's size, the number of steps and the guidance scale; `empty_LD` is
        the empty caption's text, where it is known: guidance needs it.
        """
        ...

    def hash(self) -> str:
        """Return the identity of the module's weights."""
        ...

    def save(self, folder: Path) -> None:
        """Publish the module as a `transformer/` folder that `load` takes."""
        ...


# By the class that a folder's model_index.json names.
BACKBONES: dict[str, type[Wan] | type[CogVideoX]] = {
    "WanPipeline": Wan,
    "CogVideoXPipeline": CogVideoX,
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

    Only the transformer is read at once. On the device "meta" no weights are read, nor need there
    be any.
    """
    index = pipeline.read_index(folder)
    transformer_folder = transformer_folder or folder / pipeline.TRANSFORMER
    if not transformer_folder.is_dir():
        raise ModelError(
            f"{transformer_folder}: no such folder. Name the folder of a transformer that was "
            "saved by an alignment."
        )
    class_name = index.get("_class_name")
    if class_name not in BACKBONES:
        raise ModelError(
            f"{folder}: its pipeline is {class_name}; supported: {', '.join(BACKBONES)}, text to "
            "video. Choose another generator.pretrained_model_name_or_path."
        )
    if device != "meta":
        for part in (transformer_folder, folder / "vae", folder / "text_encoder"):
            _require_safetensors(part)
    family = BACKBONES[class_name]
    settings = family.transformer_class.load_config(transformer_folder)
    family.require_supported(
        folder, index=index, transformer=settings, max_sequence_length=max_sequence_length
    )
    module = weights.read_transformer(
        family.transformer_class, transformer_folder, dtype=dtype, device=device
    )
    return family(folder, module=module, max_sequence_length=max_sequence_length, dtype=dtype)


def _require_safetensors(part: Path) -> None:
    if any(part.glob("*.safetensors")):
        return
    pickles = sorted(path.name for path in part.glob("*.bin")) or ["no weights"]
    raise ModelError(
        f"{part}: holds {', '.join(pickles)}, where safetensors are needed: a .bin file can run "
        "code when it is loaded. Download the safetensors variant of this model."
    )
