"""VILA in our own small adapter: vision tower, projector, language model (METHOD.md 3.5).

A folder holds `llm/`, `vision_tower/` and `mm_projector/` in Hugging Face layout and a config.json
that names the chat template and the context length. The embedded critic and VILA1.5 load through
the same code. Only safetensors are read and no foreign code is run (fault 49, 53). Leaves out
InternViT towers, image tiling and NVILA's projectors.

Legend: F frames, C colours, H and W pixels, or H language-model width beside M visual tokens.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    SiglipVisionModel,
)

from dualipo.config import Critic
from dualipo.critic import templates, vision
from dualipo.critic.chat import VISUAL, ChatCritic
from dualipo.critic.projector import MmProjector
from dualipo.critic.vlm import Query
from dualipo.errors import ModelError

PARTS = ("llm", "vision_tower", "mm_projector")


class VilaModule(nn.Module):
    """All weights of a critic."""

    def __init__(
        self, llm: PreTrainedModel, vision_tower: SiglipVisionModel, mm_projector: MmProjector
    ) -> None:
        super().__init__()
        self.llm = llm
        self.vision_tower = vision_tower
        self.mm_projector = mm_projector


class Vila(ChatCritic):
    """A critic that can be asked, trained and saved; implements `vlm.TrainableVlm`."""

    module: VilaModule

    def __init__(
        self,
        module: VilaModule,
        *,
        tokenizer: PreTrainedTokenizerBase,
        settings: Critic,
        chat_template: str = "plain",
        model_max_length: int,
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
        )
        self.chat_template = chat_template

    @classmethod
    def load(
        cls, folder: Path | str, *, settings: Critic, device: torch.device | str = "cpu"
    ) -> "Vila":
        """Read a critic's folder in `settings.torch_dtype`."""
        folder = Path(folder)
        _require_parts(folder)
        dtype = getattr(torch, settings.torch_dtype)
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        weights = {**local, "use_safetensors": True, "dtype": dtype}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder / "llm", **local)
            llm = _read(AutoModelForCausalLM, folder / "llm", weights)
            vision_tower = _read(SiglipVisionModel, folder / "vision_tower", weights)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as broken:
            raise ModelError(f"{folder}: cannot be read as VILA ({broken}).") from broken
        projector = MmProjector.load(folder / "mm_projector", dtype=dtype)
        top = json.loads((folder / "config.json").read_text())
        length = top.get("model_max_length") or getattr(llm.config, "model_max_length", None)
        return cls(
            VilaModule(llm, vision_tower, projector).to(device),
            tokenizer=tokenizer,
            settings=settings,
            chat_template=top.get("chat_template") or "vicuna_v1",
            model_max_length=length or llm.config.max_position_embeddings,
        )

    def save(self, folder: Path | str) -> None:
        """Write the folder that `load` reads."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.module.llm.save_pretrained(folder / "llm")
        self.tokens.tokenizer.save_pretrained(folder / "llm")
        self.module.vision_tower.save_pretrained(folder / "vision_tower")
        self.module.mm_projector.save(folder / "mm_projector")
        top = {
            "model_type": "llava_llama",
            "chat_template": self.chat_template,
            "model_max_length": self.model_max_length,
        }
        (folder / "config.json").write_text(json.dumps(top, indent=2) + "\n")

    def see(self, clips: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """Frames through the tower, without its last layer, and the projector."""
        tower = self.module.vision_tower
        size = tower.config.image_size
        assert isinstance(size, int)
        shown = {
            clip_id: vision.pixels(clip, clip_id=clip_id, size=size, settings=self.settings)
            for clip_id, clip in clips.items()
        }
        pixels_FCHW = torch.cat(list(shown.values())).to(self.device, tower.dtype)
        seen = tower(pixels_FCHW, output_hidden_states=True)
        tokens_FMH = self.module.mm_projector(seen.hidden_states[-2])
        split = tokens_FMH.split([len(pixels) for pixels in shown.values()])
        return dict(zip(shown, split, strict=True))

    def write(self, query: Query, num_tokens: dict[str, tuple[int, int]]) -> list[int]:
        """One line a frame, then caption and question."""
        frames = [num_tokens[clip_id][0] for clip_id in query.clip_ids]
        ids = list(self.tokens.start)
        for part in templates.prompt(query, num_frames=frames, template=self.chat_template):
            if isinstance(part, str):
                ids += self.tokens.encode(part)
            else:
                ids += [VISUAL] * num_tokens[query.clip_ids[part.clip]][1]
        return ids


def _read(kind: Any, folder: Path, options: dict[str, Any]) -> Any:
    """Load a model whose every weight is in the file: what is missing would be random."""
    model, report = kind.from_pretrained(folder, output_loading_info=True, **options)
    if report["missing_keys"]:
        raise ModelError(
            f"{folder}: {len(report['missing_keys'])} weights are missing, the first "
            f"{min(report['missing_keys'])}. Fetch the folder again, whole."
        )
    return model


def _require_parts(folder: Path) -> None:
    for part in PARTS:
        inside = folder / part
        if not inside.is_dir():
            raise ModelError(f"{folder}: no {part}/ in it. A critic's folder holds {PARTS}.")
        if not any(inside.glob("*.safetensors")):
            raise ModelError(
                f"{inside}: no *.safetensors. Pickled weights run code and are refused: convert "
                "them with `dualipo convert`."
            )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json. Copy the one the model was published with.")
