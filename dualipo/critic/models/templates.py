"""Chat templates: a query as a prompt, with the clips first, then the fenced caption, the question.

A critic that was not trained on the form of the answer is told it behind the clips. Clips stand
first so that queries about the same clips share a prefix. A prompt is a list of texts
and frame markers and is never searched for `<image>`: a caption cannot forge a frame (fault 38).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from dualipo.config import Critic
from dualipo.critic import reasoning
from dualipo.critic.models.frame_choice import FpsOf, heading, unknown_fps
from dualipo.critic.vlm import Query
from dualipo.errors import ModelError


@dataclass(frozen=True)
class Style:
    """The text around the user's turn, around each clip, and around each of its frames.

    With `is_timed` the time stands before each row of frames, and rows are a second apart (as in
    Qwen3-VL); with `is_numbered` each frame's number does, after its clip's letter in a pair, as
    the embedded critic learned it. `end` is the token that ends an answer where it is not the
    tokenizer's end of sequence, and `also_ends` are others at which the model's own code stops;
    `begins` says whether the tokenizer's beginning of sequence stands first.
    """

    before: str
    after: str
    clip: tuple[str, str] = ("", "")
    frame: tuple[str, str] = ("", "\n")
    end: str | None = None
    also_ends: tuple[str, ...] = ()
    begins: bool = True
    is_timed: bool = False
    is_numbered: bool = False


CHATML = Style(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
    end="<|im_end|>",
    begins=False,
)

_VICUNA = Style(
    "A chat between a curious user and an artificial intelligence assistant. The assistant "
    "gives helpful, detailed, and polite answers to the user's questions. USER: ",
    " ASSISTANT:",
)
# What a stranger's template may raise in the sandbox.
_BROKEN = (TemplateError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError)
_MARK = "\u2042\u2042the turn\u2042\u2042"
OF_TOKENIZER = "auto"  # VILA's name for the tokenizer's own template

# VILA's styles by their names in config.json.
TEMPLATES: dict[str, Style] = {
    "vicuna_v1": _VICUNA,
    "v1": _VICUNA,
    "plain": Style("USER: ", " ASSISTANT:"),
    "numbered": Style("USER: ", " ASSISTANT:", is_numbered=True),
    "llama_3": Style(
        "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful language and vision "
        "assistant. You are able to understand the visual content that the user provides, and "
        "assist the user with a variety of tasks using natural language.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        also_ends=("<|eot_id|>", "<|end_of_text|>"),
    ),
    "hermes-2": Style(
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n",
        "<|im_end|><|im_start|>assistant\n",
        end="<|im_end|>",
        begins=False,
    ),
    "chatml": CHATML,
    # NVILA's: as Qwen2's, but without a full stop after the system's words.
    "qwen2": replace(CHATML, before=CHATML.before.replace("assistant.", "assistant")),
}


@dataclass(frozen=True)
class Frame:
    """The place of one frame's visual tokens: frame `frame` of the query's clip `clip`."""

    clip: int
    frame: int


def prompt(
    query: Query,
    *,
    num_frames: list[int],
    style: Style,
    settings: Critic,
    fps_of: FpsOf = unknown_fps,
) -> list[str | Frame]:
    """Write a query as texts and frames; `num_frames[i]` frames of its clip i are shown."""
    parts: list[str | Frame] = [style.before]
    for clip, count in enumerate(num_frames):
        # Timed rows have times of the model's own, which the true ones would contradict.
        rate_of = unknown_fps if style.is_timed else fps_of
        parts.append(f"{heading(query, clip, settings=settings, fps_of=rate_of)}\n")
        parts.append(style.clip[0])
        for frame in range(count):
            # The mean time of a row's two frames, at the two a second that the model was shown.
            parts.append(f"<{frame + 0.25:.1f} seconds>" if style.is_timed else "")
            parts.append(_number(query, clip, frame) if style.is_numbered else "")
            parts += [style.frame[0], Frame(clip, frame), style.frame[1]]
        parts.append(style.clip[1])
    told = settings.instructions(query.kind)  # before the question: all dimensions share it
    parts.append(f"{told}\n\n" if told else "")
    question = reasoning.question_of(query, settings.questions)
    parts.append(f"{reasoning.fence(query.caption)}\n{question}{style.after}")
    return _join(parts)


def _number(query: Query, clip: int, frame: int) -> str:
    letter = "AB"[clip] if query.kind == "pair" else ""
    return f"{letter}{frame + 1}: "


def name_in(top: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the template that a VILA folder's config.json names, or that its tokenizer tells."""
    named = top.get("chat_template")
    return str(named) if named else guess(tokenizer)


def guess(tokenizer: PreTrainedTokenizerBase) -> str:
    """Guess the template of a VILA folder that names none.

    VILA itself goes by the folder's name. What it does not know by name, such as NVILA, gets the
    template that the tokenizer brings.
    """
    tokens = tokenizer.get_vocab()
    if "<|start_header_id|>" in tokens:
        return "llama_3"
    if "<|im_start|>" in tokens:
        if "<|startoftext|>" in tokens:
            return "hermes-2"
        return OF_TOKENIZER if tokenizer.chat_template else "chatml"
    return "vicuna_v1"


def style_of(name: str, tokenizer: PreTrainedTokenizerBase) -> Style:
    """Return the style of that name; raise ModelError where it is unknown or cannot be read."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    if name != OF_TOKENIZER:
        known = ", ".join((*TEMPLATES, OF_TOKENIZER))
        raise ModelError(f"chat template {name!r} is unknown. Use one of: {known}.")
    try:
        before, after = _rendered(tokenizer, [("user", _MARK)], opens=True)
        _, ending = _rendered(tokenizer, [("user", "question"), ("assistant", _MARK)], opens=False)
    except _BROKEN as broken:
        raise ModelError(
            f"the tokenizer's chat template cannot be used ({broken}). Name one of VILA's in "
            f"config.json as chat_template: {', '.join(TEMPLATES)}."
        ) from broken
    first = tokenizer(ending, add_special_tokens=False)["input_ids"][:1]
    end = tokenizer.convert_ids_to_tokens(first[0]) if first else None
    return Style(before, after, end=end, begins=False)


def _rendered(
    tokenizer: PreTrainedTokenizerBase, turns: list[tuple[str, str]], *, opens: bool
) -> tuple[str, str]:
    """Return the text around the mark in a chat that the tokenizer's template writes.

    transformers runs a template in a sandbox, which reaches no file and no attribute.
    """
    chat = [{"role": role, "content": content} for role, content in turns]
    text = str(tokenizer.apply_chat_template(chat, add_generation_prompt=opens, tokenize=False))
    before, mark, after = text.partition(_MARK)
    if not mark or _MARK in after:
        raise ValueError("it does not write each turn once")
    return before, after


def _join(parts: list[str | Frame]) -> list[str | Frame]:
    """Merge neighbouring texts, so that they are tokenized as one."""
    joined: list[str | Frame] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return joined
