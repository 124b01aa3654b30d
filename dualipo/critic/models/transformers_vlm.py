"""A VLM of transformers as the critic, from a local folder (METHOD.md 3.5, `families`).

The model is transformers' own; ours is how frames are prepared, so that no torchvision is needed,
and how prompts are written. Only safetensors are read and no foreign code is run (fault 49, 53).
Leaves out absolute time: two neighbouring rows of frames are a second apart, whatever the clip.

Legend: B prompts, L tokens, F frames, M visual tokens a frame, H language-model width.
"""

import functools
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from dualipo.config import Critic
from dualipo.critic.models import frame_choice, loading, vision
from dualipo.critic.models.chat import VISUAL, ChatCritic
from dualipo.critic.models.families import FAMILIES
from dualipo.critic.vlm import Query
from dualipo.errors import DualipoError, ModelError
from dualipo.model_files import guard, settings_files

# Files that servers read, beside the weights and those of the tokenizer and the preprocessor.
FOR_SERVERS = (
    "video_preprocessor_config.json",
    "processor_config.json",
    "chat_template.json",
    "chat_template.jinja",
)
DEFAULT_AXES = [16, 24, 24]  # of transformers, where config.json does not say it


class TransformersVlm(ChatCritic):
    """A VLM of transformers that can be asked, trained and saved; implements `vlm.TrainableVlm`.

    `beside` lists the files that are copied when it is saved, because servers read them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        tokenizer: PreTrainedTokenizerBase,
        settings: Critic,
        model_max_length: int | None = None,
        preprocessor: Path | None = None,
        beside: Sequence[Path] = (),
    ) -> None:
        kind = model.config.model_type
        if kind not in FAMILIES:
            known = ", ".join(FAMILIES)
            raise ModelError(f"critic: {kind!r} is not known as a VLM. Use one of: {known}.")
        self.family = FAMILIES[kind]
        text_config = model.config.get_text_config()
        super().__init__(
            model,
            model,
            tokenizer=tokenizer,
            settings=settings,
            model_max_length=model_max_length or text_config.max_position_embeddings,
            style=self.family.style,
        )
        self.preprocessor = preprocessor
        self.beside = beside
        self.scaling = vision.scaling_of(preprocessor, self.family.scaling)

    @classmethod
    def load(
        cls, folder: Path | str, *, settings: Critic, device: torch.device | str = "cpu"
    ) -> "TransformersVlm":
        """Read a folder as transformers saved it, in `settings.torch_dtype`."""
        folder = Path(folder)
        guard.require(cls.faults(folder))
        tokenizer = loading.read_tokenizer(folder)
        model = loading.read(AutoModelForImageTextToText, folder, settings=settings)
        family = FAMILIES[model.config.model_type]
        for name, weight in model.named_parameters():
            if family.is_tower(name):
                weight.requires_grad_(settings.tune_vision_tower)
        return cls(
            model.to(device),
            tokenizer=tokenizer,
            settings=settings,
            preprocessor=vision.preprocessor_in(folder),
            beside=[folder / name for name in FOR_SERVERS if (folder / name).is_file()],
        )

    @classmethod
    def faults(cls, folder: Path) -> list[DualipoError]:
        """Return what keeps a folder from being loaded as it was published; [] where it is whole.

        Settings, the headers of weights and the tokenizer are read, no weights.
        """
        checks = (
            _refuse_other_family,
            _refuse_other_axes,
            _refuse_other_weights,
            loading.read_tokenizer,
            _scaling,
        )
        return guard.faults(functools.partial(check, folder) for check in checks)

    def write_to(self, folder: Path) -> None:
        """Write the folder that `load` and servers read."""
        self.llm.save_pretrained(folder)
        self.tokens.tokenizer.save_pretrained(folder)
        if self.preprocessor and self.preprocessor.is_file():
            shutil.copyfile(self.preprocessor, folder / vision.PREPROCESSOR)
        for path in self.beside:
            shutil.copyfile(path, folder / path.name)

    def see(self, clips: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """See clip by clip, because their frames may differ in number and size."""
        return {clip_hash: self._see(clip_hash, clip) for clip_hash, clip in clips.items()}

    def _see(self, clip_hash: str, clip: np.ndarray) -> Tensor:
        shown_FCHW = vision.pixels(
            clip,
            clip_hash=clip_hash,
            size=self._size(clip),
            scaling=self.scaling,
            settings=self.settings,
        )
        return self.family.see(self.llm, shown_FCHW.to(self.device, self.llm.dtype))

    def _size(self, clip_FHWC: np.ndarray) -> tuple[int, int]:
        """Return the height and width at which a clip's frames are seen."""
        return self.size_of(clip_FHWC.shape[1], clip_FHWC.shape[2])

    @functools.cached_property
    def size_of(self) -> vision.SizeOf:  # type: ignore[override]
        """The function of a frame's height and width that tells its size as it is seen."""
        if self.family.multiple is not None:
            return functools.partial(
                vision.fitting_size,
                multiple=self.family.multiple(self.llm),
                max_pixels=self.settings.max_pixels,
            )
        size: Any = self.llm.config.vision_config.image_size
        return functools.partial(_always, (size, size) if isinstance(size, int) else tuple(size))

    def positions(self, queries: Sequence[Query], ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Return the positions of tokens; Qwen-VL's visual tokens stand on a grid of three axes."""
        if not self.family.grid_positions:
            return super().positions(queries, ids_BL, mask_BL)
        config = self.llm.config.vision_config
        interval = getattr(config, "tokens_per_second", 1)
        placed_3BL = torch.zeros(3, *ids_BL.shape, dtype=torch.long)
        for row, query in enumerate(queries):
            ids = ids_BL[row, mask_BL[row].bool()].tolist()
            grids = [grid for clip in query.clips for grid in self._grids(clip)]
            placed_3BL[:, row, ids_BL.shape[1] - len(ids) :] = _on_grids(ids, grids, interval)
        return placed_3BL.to(ids_BL.device)

    def _grids(self, clip_FHWC: np.ndarray) -> list[tuple[int, int]]:
        """Return the rows and columns of each unbroken run of a clip's visual tokens."""
        height, width = self._size(clip_FHWC)
        assert self.family.multiple is not None
        multiple = self.family.multiple(self.llm)
        grid = height // multiple, width // multiple
        if not self.family.style.is_timed:
            return [grid]
        shown = frame_choice.choose(
            clip_FHWC,
            max_frames=self.settings.max_frames,
            short_video=self.settings.short_video,
            clip_hash="",
        )
        return [grid] * math.ceil(len(shown) / self.llm.config.vision_config.temporal_patch_size)


def _always(size: tuple[int, int], height: int, width: int) -> tuple[int, int]:
    return size


def _refuse_other_family(folder: Path) -> None:
    kind = guard.config_of(folder).get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise ModelError(f"{folder}: model_type {kind!r} is unknown. Use one of: {known}.")


def _refuse_other_axes(folder: Path) -> None:
    """Refuse a model on a grid whose three axes do not share out the channels of a head."""
    kind = guard.config_of(folder).get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES or not FAMILIES[kind].grid_positions:
        return
    with guard.reading(folder):
        text = AutoConfig.from_pretrained(folder, **guard.LOCAL).get_text_config()
        width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        shares = text.rope_parameters.get("mrope_section", DEFAULT_AXES)
    if _are_counts(shares) and sum(shares) * 2 == width:
        return
    raise ModelError(
        f"{folder / guard.CONFIG}: mrope_section is {shares!r}, where three numbers of the sum "
        f"{width // 2} are needed, half the width of a head. {settings_files.RESTORE}"
    )


def _are_counts(shares: Any) -> bool:
    """Tell whether a setting is three numbers above 0."""
    whole = isinstance(shares, list | tuple) and len(shares) == 3
    return whole and all(type(share) is int and share > 0 for share in shares)


def _refuse_other_weights(folder: Path) -> None:
    guard.refuse_transformers(AutoModelForImageTextToText, folder)


def _scaling(folder: Path) -> vision.Scaling:
    return vision.scaling_of(vision.preprocessor_in(folder), vision.SIGLIP)


def _on_grids(ids: list[int], grids: list[tuple[int, int]], interval: int) -> Tensor:
    """Return the positions [3, L] of one prompt.

    Text counts on by one on all axes. A run of visual tokens stands on a grid of time, rows and
    columns, and moves the count on by its longest axis, as when these models were trained.
    transformers 5.3 and later leaves time out of that, so that text stands beside late frames.
    """
    placed: list[Tensor] = []
    start, begin = 0, 0
    remaining_grids = iter(grids)
    while begin < len(ids):
        visual = ids[begin] == VISUAL
        end = next((n for n in range(begin, len(ids)) if (ids[n] == VISUAL) != visual), len(ids))
        if visual:
            rows, columns = next(remaining_grids)
            times = torch.arange((end - begin) // (rows * columns)) * interval
            axes = torch.meshgrid(times, torch.arange(rows), torch.arange(columns), indexing="ij")
            placed.append(torch.stack([axis.flatten() for axis in axes]) + start)
            start += max(rows, columns, int(times[-1]) + 1)
        else:
            placed.append(torch.arange(end - begin).expand(3, -1) + start)
            start += end - begin
        begin = end
    return torch.cat(placed, 1)
