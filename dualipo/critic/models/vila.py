"""VILA in our own small adapter: vision tower, projector, language model (METHOD.md 3.5).

A folder holds `llm/`, `vision_tower/` and `mm_projector/` in Hugging Face layout and a config.json
that names the chat template and the context length. The embedded critic, VILA1.5 and NVILA load
through the same code, and a published folder is written back as it was (`vila_files`). Only
safetensors are read and no foreign code is run (fault 49, 53). Leaves out image tiling and towers
that see a frame at several scales (S2); NVILA's towers do so with images only.

Legend: F frames, C colours or channels, H and W pixels, or H language-model width beside M visual
tokens, L patches.
"""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from dualipo.config import Critic
from dualipo.critic.models import (
    loading,
    projector,
    templates,
    towers,
    vila_config,
    vila_files,
    vision,
)
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.projector import MmProjector
from dualipo.errors import DualipoError, ModelError
from dualipo.model_files import guard, settings_files
from dualipo.model_files.weight_files import FETCH

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
        select_layer: int = vila_config.BEFORE_LAST,
    ) -> None:
        super().__init__(
            module,
            module.llm,
            tokenizer=tokenizer,
            settings=settings,
            model_max_length=model_max_length,
            style=templates.style_of(chat_template, tokenizer),
        )
        self.chat_template = chat_template
        self.preprocessor = preprocessor
        self.kept = kept or {}
        self.select_layer = select_layer
        self.scaling = vision.scaling_of(preprocessor, towers.default_scaling(module.vision_tower))

    @classmethod
    def load(
        cls, folder: Path | str, *, settings: Critic, device: torch.device | str = "cpu"
    ) -> "Vila":
        """Read a critic's folder in `settings.torch_dtype`."""
        folder = Path(folder)
        guard.require(cls.faults(folder))
        tokenizer = loading.read_tokenizer(folder / "llm")
        llm = loading.read(AutoModelForCausalLM, folder / "llm", settings=settings)
        vision_tower = towers.load(folder / "vision_tower", settings=settings)
        vision_tower.requires_grad_(settings.tune_vision_tower)
        dtype = getattr(torch, settings.torch_dtype)
        top = settings_files.read(folder / "config.json")
        mm_projector = MmProjector.load(
            folder / "mm_projector", dtype=dtype, is_nvila=vila_config.is_nvila(top)
        )
        length = top.get("model_max_length") or getattr(llm.config, "model_max_length", None)
        return cls(
            VilaModule(llm, vision_tower, mm_projector).to(device),
            tokenizer=tokenizer,
            settings=settings,
            chat_template=templates.name_in(top, tokenizer),
            model_max_length=length or llm.config.max_position_embeddings,
            preprocessor=vision.preprocessor_in(folder / "vision_tower"),
            kept=vila_files.read(folder, parts=PARTS),
            select_layer=vila_config.select_layer(top),
        )

    @classmethod
    def faults(cls, folder: Path) -> list[DualipoError]:
        """Return what keeps a folder from being loaded as it was published; [] where it is whole.

        Settings, the headers of weights and the tokenizer are read, no weights.
        """
        if absent := guard.faults([functools.partial(_refuse_missing_parts, folder)]):
            return absent
        ignored = functools.partial(vila_config.refuse_ignored, parts=PARTS)
        checks = (_refuse_other_settings, _refuse_other_model, _read_text, _refuse_other_eyes)
        return guard.faults(functools.partial(check, folder) for check in (*checks, ignored))

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
        if self.select_layer != vila_config.BEFORE_LAST:
            top["mm_vision_select_layer"] = self.select_layer
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
        seen_FLC = towers.features(tower, pixels_FCHW, layer=self.select_layer)
        # NVILA's S2 looks at images at several scales; a video's frames are all scales at once.
        num_scales = self.module.mm_projector.vision_width // seen_FLC.shape[2]
        tokens_FMH = self.module.mm_projector(seen_FLC.repeat(1, 1, num_scales))
        split = tokens_FMH.split([len(pixels) for pixels in shown.values()])
        return dict(zip(shown, split, strict=True))


def _refuse_missing_parts(folder: Path) -> None:
    for part in PARTS:
        if not (folder / part).is_dir():
            raise ModelError(f"{folder}: no {part}/ in it. A critic's folder holds {PARTS}.")


def _refuse_other_settings(folder: Path) -> None:
    """Refuse settings of a VILA folder that are not known here, or mean nothing."""
    top = settings_files.read(folder / "config.json")
    template, length = top.get("chat_template"), top.get("model_max_length")
    if template and template not in [*templates.TEMPLATES, templates.OF_TOKENIZER]:
        known = ", ".join((*templates.TEMPLATES, templates.OF_TOKENIZER))
        raise ModelError(f"{folder}: chat template {template!r} is unknown. Use one of: {known}.")
    if length is not None and (type(length) is not int or length < 1):
        raise ModelError(
            f"{folder / 'config.json'}: model_max_length is {length!r}, where a number of tokens "
            f"is needed. {settings_files.RESTORE}"
        )


def _refuse_other_model(folder: Path) -> None:
    guard.refuse_transformers(AutoModelForCausalLM, folder / "llm")


def _read_text(folder: Path) -> None:
    """Refuse a tokenizer, or a chat template that it brings, which cannot be read."""
    tokenizer = loading.read_tokenizer(folder / "llm")
    name = templates.name_in(settings_files.read(folder / "config.json"), tokenizer)
    if name == templates.OF_TOKENIZER:
        templates.style_of(name, tokenizer)


def _refuse_other_eyes(folder: Path) -> None:
    """Refuse a tower or projector that is not whole, or of which one does not fit the next."""
    vision_width = towers.refuse(folder / "vision_tower")
    vision.scaling_of(vision.preprocessor_in(folder / "vision_tower"), vision.SIGLIP)
    taken, given = projector.widths(folder / "mm_projector")
    with guard.reading(folder / "llm"):
        llm_width = AutoConfig.from_pretrained(folder / "llm", **guard.LOCAL).hidden_size
    if given != llm_width:
        raise ModelError(
            f"{folder}: its projector leads to {given} channels, its language model takes "
            f"{llm_width}. {FETCH}"
        )
    top = settings_files.read(folder / "config.json")
    kind = str(settings_files.read(folder / "vision_tower" / "config.json").get("model_type"))
    num_scales = taken / vision_width
    vila_config.refuse_other_eyes(folder, top, tower_kind=kind, num_scales=num_scales)
