"""The protocol of a text-to-video model, and the models that are known: one file and line each.

`load` reads a folder in diffusers' layout and opens it by the class that knows its pipeline.
Folders only: nothing is fetched, and weights are safetensors or refused (FAULTS.md 49).

Shapes: B batch, F frames, H and W pixels or latent cells, C channels, L text tokens, D features.
A latent is stored as the backbone takes it; `latent_axes` names its order ("BCFHW" for Wan,
"BFCHW" for CogVideoX).
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from dualipo.config import Generator
from dualipo.errors import DualipoError, ModelError
from dualipo.generator import folder_checks, pipeline, weights
from dualipo.generator.acceleration import NOTHING_SAVED, Saving
from dualipo.generator.cogvideox import CogVideoX
from dualipo.generator.wan import Wan
from dualipo.model_files import guard


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

    def cut_captions(self, captions: Sequence[str]) -> list[str]:
        """Return the captions of which `encode_text` reads the beginning only."""
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
    saving: Saving = NOTHING_SAVED,
) -> Backbone:
    """Open a pipeline folder, with the transformer of a trained version if one is named.

    Only the transformer is read at once. On the device "meta" no weights are read, nor need there
    be any.
    """
    transformer_folder = transformer_folder or folder / pipeline.TRANSFORMER
    if device != "meta":
        guard.require(
            faults(
                folder,
                max_sequence_length=max_sequence_length,
                transformer_folder=transformer_folder,
            )
        )
    family = _family(folder)
    family.require_supported(
        folder, transformer_folder=transformer_folder, max_sequence_length=max_sequence_length
    )
    module = weights.read_transformer(
        family.transformer_class, transformer_folder, dtype=dtype, device=device
    )
    return family(
        folder,
        module=module,
        max_sequence_length=max_sequence_length,
        dtype=dtype,
        saving=saving,
    )


def faults(
    folder: Path, *, max_sequence_length: int, transformer_folder: Path | None = None
) -> list[DualipoError]:
    """Return what keeps a pipeline's folder from sampling as its model would; [] where it is whole.

    Settings, the headers of weights and the tokenizer are read, no weights.
    """
    transformer_folder = transformer_folder or folder / pipeline.TRANSFORMER
    try:
        family = _family(folder)
    except ModelError as unknown:
        return [unknown]  # the parts are judged by what the family needs
    supported = functools.partial(
        family.require_supported,
        folder,
        transformer_folder=transformer_folder,
        max_sequence_length=max_sequence_length,
    )
    return guard.faults([supported, *folder_checks.checks(family, folder, transformer_folder)])


def _family(folder: Path) -> type[Wan] | type[CogVideoX]:
    """Return the class that knows a folder's pipeline."""
    class_name = pipeline.read_index(folder).get("_class_name")
    if isinstance(class_name, str) and class_name in BACKBONES:
        return BACKBONES[class_name]
    raise ModelError(
        f"{folder}: its pipeline is {class_name}; supported: {', '.join(BACKBONES)}, text to "
        "video. Choose another generator.pretrained_model_name_or_path."
    )
