"""VILA in our own small adapter: vision tower, projector, language model (METHOD.md 3.5).

A folder holds `llm/`, `vision_tower/` and `mm_projector/` in Hugging Face layout and a config.json
that names the chat template and the context length. The embedded critic, VILA1.5 and NVILA load
through the same code, and a published folder is written back as it was (`vila_files`). Only
safetensors are read and no foreign code is run (fault 49, 53). Leaves out image tiling and towers
that see a frame at several scales (S2); NVILA's towers do so with images only.

Legend: F frames, C colours or channels, H and W pixels, or H language-model width beside M visual
tokens, L patches.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from dualipo.config import Critic
from dualipo.critic.models import loading, templates, towers, vila_files, vision
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.projector import MmProjector
from dualipo.errors import ModelError

PARTS = ("llm", "vision_tower", "mm_projector")


class VilaModule(nn.Module):
    """The three parts of a VILA model, as one module with all weights."""

    def __init__(
        self, llm: PreTrainedModel, vision_tower: PreTrainedModel, mm_projector: MmProjector
    ) -> None:
        super().__init__()
        self.llm = llm
        self.vision_tower = vision_tower
        self.mm_projector = mm_projector


class Vila(ChatCritic):
    """A VILA model that can be asked, trained and saved; implements `vlm.TrainableVlm`.

    `kept` holds the small files of a published folder, which are written back when it is saved.
    """

    module: VilaModule

    def __init__(
        self,
        module: VilaModule,
        *,
        tokenizer: PreTrainedTokenizerBase,
        settings: Critic,
        chat_template: str = "plain",
        model_max_length: int,
        preprocessor: Path | None = None,
        kept: vila_files.Kept | None = None,
    ) -> None:
        if chat_template not in templates.TEMPLATES:
            known = ", ".join(templates.TEMPLATES)
            raise ModelError(f"chat template {chat_template!r} is unknown. Use one of: {known}.")
        super().__init__(
            module,
            module.llm,
            tokenizer=tokenizer,
            settings=settings,
            model_max_length=model_max_length,
            style=templates.TEMPLATES[chat_template],
        )
        self.chat_template = chat_template
        self.preprocessor = preprocessor
        self.kept = kept or {}
        self.scaling = vision.scaling_of(preprocessor, towers.default_scaling(module.vision_tower))

    @classmethod
    def load(
        cls, folder: Path | str, *, settings: Critic, device: torch.device | str = "cpu"
    ) -> "Vila":
        """Read a critic's folder in `settings.torch_dtype`."""
        folder = Path(folder)
        _require_parts(folder)
        try:
            kept = vila_files.read(folder, parts=PARTS)
            tokenizer = loading.tokenizer(folder / "llm")
            llm = loading.read(AutoModelForCausalLM, folder / "llm", settings=settings)
            vision_tower = towers.load(folder / "vision_tower", settings=settings)
        except loading.BROKEN as broken:
            raise ModelError(f"{folder}: cannot be read as VILA ({broken}).") from broken
        vision_tower.requires_grad_(settings.tune_vision_tower)
        dtype = getattr(torch, settings.torch_dtype)
        projector = MmProjector.load(folder / "mm_projector", dtype=dtype)
        top = json.loads((folder / "config.json").read_text())
        _require_one_scale(folder, top, projector.vision_width / vision_tower.config.hidden_size)
        length = top.get("model_max_length") or getattr(llm.config, "model_max_length", None)
        return cls(
            VilaModule(llm, vision_tower, projector).to(device),
            tokenizer=tokenizer,
            settings=settings,
            chat_template=top.get("chat_template") or templates.guess(set(tokenizer.get_vocab())),
            model_max_length=length or llm.config.max_position_embeddings,
            preprocessor=vision.preprocessor_in(folder / "vision_tower"),
            kept=kept,
        )

    def write_to(self, folder: Path) -> None:
        """Write the folder that `load` and servers read."""
        tower = folder / "vision_tower"
        self.module.llm.save_pretrained(folder / "llm")
        towers.save(
            self.module.vision_tower, tower, kind=vila_files.model_type(self.kept, tower.name)
        )
        self.module.mm_projector.save(folder / "mm_projector")
        if self.kept:
            vila_files.write(self.kept, folder, dtype=str(self.llm.dtype).removeprefix("torch."))
            return
        self.tokens.tokenizer.save_pretrained(folder / "llm")
        if self.preprocessor and self.preprocessor.is_file():
            shutil.copyfile(self.preprocessor, tower / vision.PREPROCESSOR)
        top = {
            "model_type": "llava_llama",
            "chat_template": self.chat_template,
            "model_max_length": self.model_max_length,
        }
        (folder / "config.json").write_text(json.dumps(top, indent=2) + "\n")

    def see(self, clips: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """Run the clips' frames through the tower and the projector, all in one batch."""
        tower = self.module.vision_tower
        shown = {
            clip_hash: vision.pixels(
                clip,
                clip_hash=clip_hash,
                size=towers.size(tower),
                scaling=self.scaling,
                settings=self.settings,
            )
            for clip_hash, clip in clips.items()
        }
        pixels_FCHW = torch.cat(list(shown.values())).to(self.device, tower.dtype)
        seen_FLC = towers.features(tower, pixels_FCHW)
        # NVILA's S2 looks at images at several scales; a video's frames are all scales at once.
        num_scales = self.module.mm_projector.vision_width // seen_FLC.shape[2]
        tokens_FMH = self.module.mm_projector(seen_FLC.repeat(1, 1, num_scales))
        split = tokens_FMH.split([len(pixels) for pixels in shown.values()])
        return dict(zip(shown, split, strict=True))


def _require_parts(folder: Path) -> None:
    for part in PARTS:
        if not (folder / part).is_dir():
            raise ModelError(f"{folder}: no {part}/ in it. A critic's folder holds {PARTS}.")
        loading.require_safetensors(folder / part)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json. Copy the one the model was published with.")


def _require_one_scale(folder: Path, top: Mapping[str, Any], num_scales: float) -> None:
    """Refuse a model that expects frames at several scales, or another layer of the tower."""
    layer = top.get("mm_vision_select_layer")
    if top.get("s2") or layer not in (None, -2) or num_scales != int(num_scales) > 0:
        raise ModelError(
            f"{folder}: its projector takes frames at {num_scales:g} scales from layer {layer} of "
            "the tower; known is the layer before the last, at one scale. Use another model."
        )
