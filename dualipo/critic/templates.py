"""How a query is written for a chat model: clips first, then the fenced caption, then the question.

Clips stand first so that queries about the same clips share a prefix. A prompt is a list of texts
and frame markers and is never searched for `<image>`: a caption cannot forge a frame (fault 38).
"""

from dataclasses import dataclass

from dualipo.critic import reasoning
from dualipo.critic.vlm import Query

# Name in config.json -> text before and after the user's turn.
TEMPLATES: dict[str, tuple[str, str]] = {
    "vicuna_v1": (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: ",
        " ASSISTANT:",
    ),
    "plain": ("USER: ", " ASSISTANT:"),
}


@dataclass(frozen=True)
class Frame:
    """The place of one frame's visual tokens: frame `frame` of the query's clip `clip`."""

    clip: int
    frame: int


def prompt(query: Query, *, num_frames: list[int], template: str) -> list[str | Frame]:
    """Write a query; `num_frames[i]` frames are shown of its clip i."""
    before, after = TEMPLATES[template]
    question = query.question or reasoning.question(query.kind, query.dimension)
    if query.hint is not None:
        question += "\n" + reasoning.hint(query.hint)
    parts: list[str | Frame] = [before]
    for clip, count in enumerate(num_frames):
        parts.append(f"Video {'AB'[clip]}:\n" if query.kind == "pair" else "Video:\n")
        for frame in range(count):
            parts += [Frame(clip, frame), "\n"]
    parts.append(f"{reasoning.fence(query.caption)}\n{question}{after}")
    return _join(parts)


def _join(parts: list[str | Frame]) -> list[str | Frame]:
    """Merge neighbouring texts, so that they are tokenized as one."""
    joined: list[str | Frame] = []
    for part in parts:
        if isinstance(part, str) and joined and isinstance(joined[-1], str):
            joined[-1] += part
        else:
            joined.append(part)
    return joined
