"""Counts from configurations and the tokenizer whether a pair's frames fit a critic's context.

The count is of the shortest prompt that can be: a caption of two words, and each frame's tokens. A
folder of a family whose number of tokens depends on more than that is not judged here.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualipo.config import Critic, Generator
from dualipo.critic.models import loading, templates, vision
from dualipo.critic.models.families import FAMILIES
from dualipo.critic.models.projector import FOLDS
from dualipo.critic.models.templates import Frame, Style
from dualipo.critic.models.tokens import Tokens
from dualipo.critic.vlm import Query
from dualipo.errors import ModelError
from dualipo.model_files import settings_files
from dualipo.model_files.guard import CONFIG

_LETTERS_A_TOKEN = 4  # of English text


@dataclass(frozen=True)
class PairPrompt:
    """The tokens of a question about a pair of clips, without its answer."""

    num_rows: int  # of both clips' frames
    frames_a_row: int
    tokens_a_row: int
    num_text: int
    is_counted: bool  # by the tokenizer; else by the letters

    @property
    def length(self) -> int:
        """The number of all tokens."""
        return self.num_text + self.num_rows * self.tokens_a_row


def of_pair(folder: Path, *, settings: Critic, clips: Generator) -> PairPrompt | None:
    """Count the prompt of a pair by a folder's configurations; None if that is not known.

    Without the tokenizer's files four letters count as a token.
    """
    is_vila = (folder / "llm").is_dir()
    text_folder = folder / "llm" if is_vila else folder
    top = settings_files.read(folder / CONFIG)
    has_tokenizer = (text_folder / "tokenizer_config.json").is_file()
    tokens = Tokens(loading.read_tokenizer(text_folder)) if has_tokenizer else None
    style = _style(top, is_vila=is_vila, tokens=tokens)
    seen = _visual(folder, top, settings, clips) if style else None
    if style is None or seen is None:
        return None
    rows = math.ceil(_num_shown(settings, clips) / seen[0])
    num_text = _num_text(tokens, style, rows, settings, clips)
    return PairPrompt(2 * rows, *seen, num_text, is_counted=has_tokenizer)


def require_room(folder: Path, *, settings: Critic, clips: Generator) -> None:
    """Raise ModelError where two clips, the question and the answer need more than the context."""
    text_folder = folder / "llm" if (folder / "llm").is_dir() else folder
    top, text = settings_files.read(folder / CONFIG), settings_files.read(text_folder / CONFIG)
    text = text.get("text_config") or text
    length = top.get("model_max_length") or text.get("model_max_length")
    length = length or text.get("max_position_embeddings")
    prompt = of_pair(folder, settings=settings, clips=clips)
    if prompt is None or length is None:
        return
    needed = prompt.length + settings.max_new_tokens
    if needed <= length:
        return
    room = length - prompt.num_text - settings.max_new_tokens
    fits = room // (2 * prompt.tokens_a_row) * prompt.frames_a_row
    remedy = f"Set critic.max_frames = {fits}" if fits > 0 else "Lower critic.max_new_tokens"
    raise ModelError(
        f"critic: two clips of {_num_shown(settings, clips)} frames, the question and "
        f"{settings.max_new_tokens} tokens of answer need {needed} tokens at least, and the "
        f"context of {folder} holds {length}. "
        f"{remedy}, or use a critic with a longer context."
    )


def tokens_a_frame(folder: Path, *, settings: Critic, clips: Generator) -> float:
    """Return the visual tokens of a frame by the critic's configuration; 0 where it says none."""
    seen = _visual(folder, settings_files.read(folder / CONFIG), settings, clips)
    return seen[1] / seen[0] if seen else 0


def _num_shown(settings: Critic, clips: Generator) -> int:
    if settings.short_video == "use_all":
        return min(settings.max_frames, clips.num_frames)
    return settings.max_frames


def _style(top: dict[str, Any], *, is_vila: bool, tokens: Tokens | None) -> Style | None:
    if is_vila and tokens is None:
        return templates.TEMPLATES.get(str(top.get("chat_template")))
    if is_vila:
        assert tokens is not None
        name = templates.name_in(top, tokens.tokenizer)
        is_known = name in templates.TEMPLATES or name == templates.OF_TOKENIZER
        return templates.style_of(name, tokens.tokenizer) if is_known else None
    family = FAMILIES.get(str(top.get("model_type")))
    return family.style if family else None


def _visual(
    folder: Path, top: dict[str, Any], settings: Critic, clips: Generator
) -> tuple[int, int] | None:
    """Return how many frames a row of visual tokens covers, and its tokens; None if not known."""
    if (folder / "vision_tower").is_dir():
        tower = settings_files.read(folder / "vision_tower" / CONFIG)
        projector = settings_files.read(folder / "mm_projector" / CONFIG)
        fold = FOLDS.get(str(projector.get("mm_projector_type")))
        size = tower.get("image_size")
        if fold is None or not isinstance(size, int):
            return None
        return 1, math.ceil(size // tower["patch_size"] / fold[0]) ** 2
    family, eyes = FAMILIES.get(str(top.get("model_type"))), top.get("vision_config", {})
    if family is None or family.multiple is None or "spatial_merge_size" not in eyes:
        return None
    multiple = eyes["patch_size"] * eyes["spatial_merge_size"]
    height, width = vision.fitting_size(
        clips.height, clips.width, multiple=multiple, max_pixels=settings.max_pixels
    )
    return eyes["temporal_patch_size"], (height // multiple) * (width // multiple)


def _num_text(
    tokens: Tokens | None, style: Style, num_rows: int, settings: Critic, clips: Generator
) -> int:
    """Count the tokens of a question's text about two clips, without their visual tokens."""
    black = np.zeros((clips.num_frames, 1, 1, 3), np.uint8)
    longest = max(
        settings.questions.names, key=lambda d: len(settings.questions.question("pair", d))
    )
    query = Query("pair", "a video", longest, (black, black), ("a", "b"))
    parts = templates.prompt(
        query,
        num_frames=[num_rows, num_rows],
        style=style,
        settings=settings,
        fps_of=lambda clip_hash: clips.fps,
    )
    texts = [part for part in parts if not isinstance(part, Frame)]
    if tokens is None:
        return math.ceil(sum(map(len, texts)) / _LETTERS_A_TOKEN)
    text = sum(len(tokens.encode(part)) for part in texts)
    return text + (len(tokens.start) if style.begins else 0)
