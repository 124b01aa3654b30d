"""Chat templates: a query as a prompt, with the clips first, then the fenced caption, the question.

Clips stand first so that queries about the same clips share a prefix. A prompt is a list of texts
and frame markers and is never searched for `<image>`: a caption cannot forge a frame (fault 38).
"""

from dataclasses import dataclass

from dualipo.critic import reasoning
from dualipo.critic.vlm import Query


@dataclass(frozen=True)
class Style:
    """The text around the user's turn, around each clip, and around each of its frames.

    With `is_timed` the time stands before each row of frames, and rows are a second apart (as in
    Qwen3-VL). `end` is the token that ends an answer where it is not the tokenizer's end of
    sequence; `begins` says whether the tokenizer's beginning of sequence stands first.
    """

    before: str
    after: str
    clip: tuple[str, str] = ("", "")
    frame: tuple[str, str] = ("", "\n")
    end: str | None = None
    begins: bool = True
    is_timed: bool = False


CHATML = Style(
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    "<|im_end|>\n<|im_start|>assistant\n",
    end="<|im_end|>",
    begins=False,
)

# VILA's styles by their names in config.json.
TEMPLATES: dict[str, Style] = {
    "vicuna_v1": Style(
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: ",
        " ASSISTANT:",
    ),
    "plain": Style("USER: ", " ASSISTANT:"),
    "llama_3": Style(
        "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful language and vision "
        "assistant. You are able to understand the visual content that the user provides, and "
        "assist the user with a variety of tasks using natural language.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n",
        "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    ),
    "hermes-2": Style(
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n",
        "<|im_end|><|im_start|>assistant\n",
        end="<|im_end|>",
        begins=False,
    ),
    "chatml": CHATML,
}


@dataclass(frozen=True)
class Frame:
    """The place of one frame's visual tokens: frame `frame` of the query's clip `clip`."""

    clip: int
    frame: int


def prompt(query: Query, *, num_frames: list[int], style: Style) -> list[str | Frame]:
    """Write a query as texts and frames; `num_frames[i]` frames of its clip i are shown."""
    parts: list[str | Frame] = [style.before]
    for clip, count in enumerate(num_frames):
        parts.append(f"Video {'AB'[clip]}:\n" if query.kind == "pair" else "Video:\n")
        parts.append(style.clip[0])
        for frame in range(count):
            # The mean time of a row's two frames, at the two a second that the model was shown.
            parts.append(f"<{frame + 0.25:.1f} seconds>" if style.is_timed else "")
            parts += [style.frame[0], Frame(clip, frame), style.frame[1]]
        parts.append(style.clip[1])
    question = reasoning.question_of(query)
    parts.append(f"{reasoning.fence(query.caption)}\n{question}{style.after}")
    return _join(parts)


def guess(tokens: set[str]) -> str:
    """Guess the template of a VILA folder that names none from its tokenizer's vocabulary."""
    if "<|start_header_id|>" in tokens:
        return "llama_3"
    if "<|im_start|>" in tokens:
        return "hermes-2" if "<|startoftext|>" in tokens else "chatml"
    return "vicuna_v1"


def _join(parts: list[str | Frame]) -> list[str | Frame]:
    """Merge neighbouring texts, so that they are tokenized as one."""
    joined: list[str | Frame] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        elif part != "":
            joined.append(part)
    return joined
