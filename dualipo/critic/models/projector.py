"""VILA's projectors from vision features to the language model (METHOD.md 3.5).

A projector folds k x k neighbours of the patch grid into channels, where an odd grid is filled up
with zeros, and maps the result through an MLP. `mlp_downsample` is VILA1.5's and gives tokens
column by column, as its weights expect; the `_fix` ones are NVILA's and give them row by row. NVILA
also has folders that say `mlp_downsample`: VILA's code had changed by then, and theirs are row by
row, as with `mlp_downsample_2x2_fix`.

Legend: B images, L vision tokens of a square grid, C vision channels, H language-model width,
M = ceil(grid / k)^2 visual tokens. Leaves out NVILA's image tiling (S2).
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dualipo.errors import ModelError
from dualipo.model_files import guard, weight_files
from dualipo.model_files.weight_files import FETCH

# Name on disk -> neighbours folded along a side, and whether tokens come column by column.
FOLDS = {
    "mlp_downsample": (2, True),
    "mlp_downsample_2x2_fix": (2, False),
    "mlp_downsample_3x3_fix": (3, False),
}


class SpaceToChannel(nn.Module):
    """A layer that folds k x k neighbours into channels; zeros fill the grid to a multiple of k."""

    def __init__(self, fold: int = 2, *, by_column: bool = True) -> None:
        super().__init__()
        self.fold = fold
        self.by_column = by_column

    def forward(self, features_BLC: Tensor) -> Tensor:
        """Fold [B, L, C] to [B, M, k * k * C]."""
        num_images, num_tokens, channels = features_BLC.shape
        grid = round(num_tokens**0.5)
        grid_BRSC = features_BLC.reshape(num_images, grid, grid, channels)
        rest = -grid % self.fold
        grid_BRSC = nn.functional.pad(grid_BRSC, (0, 0, 0, rest, 0, rest))
        side = (grid + rest) // self.fold
        blocks = grid_BRSC.reshape(num_images, side, self.fold, side, self.fold, channels)
        order = (0, 3, 1, 2, 4, 5) if self.by_column else (0, 1, 3, 2, 4, 5)
        return blocks.permute(*order).reshape(num_images, side * side, -1)


class MmProjector(nn.Module):
    """A projector: SpaceToChannel, then an MLP with norms, its layers numbered as on disk."""

    def __init__(self, vision_width: int, llm_width: int, *, kind: str = "mlp_downsample") -> None:
        super().__init__()
        fold, by_column = FOLDS[kind]
        self.kind = kind
        self.vision_width, self.llm_width = vision_width, llm_width
        folded = fold * fold * vision_width
        layers: list[nn.Module] = [
            SpaceToChannel(fold, by_column=by_column),
            nn.LayerNorm(folded),
        ]
        if fold == 3:
            middle = 3 * vision_width
            layers += [nn.Linear(folded, middle), nn.GELU(), nn.LayerNorm(middle)]
            folded = middle
        layers += [nn.Linear(folded, llm_width), nn.GELU(), nn.Linear(llm_width, llm_width)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features_BLC: Tensor) -> Tensor:
        """Project [B, L, C] to [B, M, H]."""
        return self.layers(features_BLC)

    def save(self, folder: Path) -> None:
        """Write config.json and model.safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"model_type": "v2l_projector", "mm_projector_type": self.kind}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        weights = {name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype, is_nvila: bool = False) -> "MmProjector":
        """Read a folder; the widths are those of its weights."""
        with torch.device("meta"):
            projector = _shaped(folder)
        weights: dict[str, Tensor] = {}
        with guard.reading(folder):
            for file in weight_files.files(folder, stem=weight_files.TRANSFORMERS):
                weights |= load_file(file)
            projector.load_state_dict(weights, assign=True)
        if is_nvila and projector.kind == "mlp_downsample":
            projector.kind = "mlp_downsample_2x2_fix"
            projector.layers[0] = SpaceToChannel(2, by_column=False)
        return projector.to(dtype)


def widths(folder: Path) -> tuple[int, int]:
    """Return the vision and the language model's width that a folder's projector was made for."""
    with torch.device("meta"):
        projector = _shaped(folder)
    return projector.vision_width, projector.llm_width


def _shaped(folder: Path) -> MmProjector:
    """Build the projector that a folder's weights have the shapes of."""
    kind = guard.config_of(folder).get("mm_projector_type")
    if not isinstance(kind, str) or kind not in FOLDS:
        raise ModelError(f"{folder}: projector {kind!r}. Use one of: {', '.join(FOLDS)}.")
    stored = weight_files.headers(folder, stem=weight_files.TRANSFORMERS)
    try:
        vision_width = stored["layers.1.weight"].shape[0] // FOLDS[kind][0] ** 2
        last = max(int(name.split(".")[1]) for name in stored)
        llm_width = stored[f"layers.{last}.weight"].shape[0]
    except (KeyError, ValueError, IndexError) as broken:
        raise ModelError(f"{folder}: not a {kind} projector ({broken!r}). {FETCH}") from broken
    projector = MmProjector(vision_width, llm_width, kind=kind)
    guard.refuse_other_weights(folder, projector.state_dict(), stored)
    return projector
