"""VILA's `mlp_downsample` projector from vision features to the language model (METHOD.md 3.5).

Legend: B images, L vision tokens of a square grid, C vision channels, H language-model width,
M = ceil(grid / 2)^2 visual tokens. Leaves out the other projector types of VILA and NVILA.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dualipo.errors import ModelError

TYPE = "mlp_downsample"


class SpaceToChannel(nn.Module):
    """Fold 2x2 neighbours into channels; an odd grid gets a zero row and column."""

    def forward(self, features_BLC: Tensor) -> Tensor:
        """[B, L, C] to [B, M, 4C]: tokens column by column, as VILA's weights expect."""
        num_images, num_tokens, channels = features_BLC.shape
        grid = round(num_tokens**0.5)
        grid_BRSC = features_BLC.reshape(num_images, grid, grid, channels)
        odd = grid % 2
        grid_BRSC = nn.functional.pad(grid_BRSC, (0, 0, 0, odd, 0, odd))
        half = (grid + odd) // 2
        blocks = grid_BRSC.reshape(num_images, half, 2, half, 2, channels)
        return blocks.permute(0, 3, 1, 2, 4, 5).reshape(num_images, half * half, 4 * channels)


class MmProjector(nn.Module):
    """SpaceToChannel, LayerNorm(4C), Linear(4C, H), GELU, Linear(H, H), named as on disk."""

    def __init__(self, vision_width: int, llm_width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            SpaceToChannel(),
            nn.LayerNorm(4 * vision_width),
            nn.Linear(4 * vision_width, llm_width),
            nn.GELU(),
            nn.Linear(llm_width, llm_width),
        )

    def forward(self, features_BLC: Tensor) -> Tensor:
        """[B, L, C] to [B, M, H]."""
        return self.layers(features_BLC)

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"model_type": "v2l_projector", "mm_projector_type": TYPE}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        weights = {name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype) -> "MmProjector":
        """Read a folder; the widths are those of its weights."""
        kind = json.loads((folder / "config.json").read_text()).get("mm_projector_type")
        if kind != TYPE:
            raise ModelError(f"{folder}: projector {kind!r}; only {TYPE!r} is supported.")
        weights: dict[str, Tensor] = {}
        try:
            for file in sorted(folder.glob("*.safetensors")):
                weights |= load_file(file)
            llm_width, folded = weights["layers.2.weight"].shape
            projector = cls(folded // 4, llm_width)
            projector.load_state_dict(weights)
        except (KeyError, ValueError, RuntimeError, SafetensorError) as broken:
            raise ModelError(f"{folder}: not a {TYPE} projector ({broken}).") from broken
        return projector.to(dtype)
