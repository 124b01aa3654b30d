"""Reads TRL's two preference formats, whose completions are the paths of clips.

A prompt or a completion is a text, or a conversation: a list of messages whose `content` is a text
or a list of parts, `{"type": "text", "text": ...}` or `{"type": "video", "video": ...}`. Without
the column `prompt`, TRL takes the messages with which `chosen` and `rejected` both begin.
"""

from collections.abc import Iterator
from typing import Any

from dualipo.preferences.importers.pair_formats import won
from dualipo.preferences.importers.row import (
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    choice,
    dimension_of,
    point,
    text,
    voice,
)
from dualipo.records import Grade

TRUTHS: dict[str, Grade] = {"True": "good", "true": "good", "False": "bad", "false": "bad"}


def preference(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield `chosen` over `rejected`: paths of clips, or conversations that end in one."""
    prompt = row["prompt"] if row.get("prompt") is not None else _common_start(row)
    yield won(
        row,
        settings,
        _caption(prompt),
        winner=_answer(row, "chosen"),
        loser=_answer(row, "rejected"),
        dimension=dimension_of(row, settings),
    )


def unpaired(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield a `completion` that is desirable or not, by its `label`."""
    yield point(
        _caption(row["prompt"]),
        Footage((_answer(row, "completion"),)),
        dimension=dimension_of(row, settings),
        grade=choice(row, "label", TRUTHS),
        voice=voice(row, settings),
    )


def _common_start(row: Row) -> list[Any]:
    """Return the messages that `chosen` and `rejected` share, which are TRL's implicit prompt."""
    chosen, rejected = row["chosen"], row["rejected"]
    if not (isinstance(chosen, list) and isinstance(rejected, list)):
        raise Unfit(
            "The row has no column `prompt`, and `chosen` and `rejected` are no conversations that "
            "begin with it."
        )
    shared = []
    for one_message, other_message in zip(chosen, rejected, strict=False):
        if one_message != other_message:
            break
        shared.append(one_message)
    if not shared:
        raise Unfit("`chosen` and `rejected` begin with different messages, so none is the prompt.")
    return shared


def _caption(prompt: Any) -> str:
    """Read a prompt: a text, or the text of a conversation's last message."""
    content = _last_content(prompt)
    if isinstance(content, list):
        content = " ".join(_of_parts(content, ("text",)))
    return text({"prompt": content}, "prompt")


def _answer(row: Row, name: str) -> str:
    """Read a completion: a path, or the clip or text of a conversation's last message."""
    content = _last_content(row[name])
    if isinstance(content, list):
        paths = _of_parts(content, ("video", "path")) or _of_parts(content, ("text",))
        content = paths[0] if len(paths) == 1 else None
    return text({name: content}, name)


def _last_content(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        return value[-1].get("content")
    return value


def _of_parts(parts: list[Any], names: tuple[str, ...]) -> list[str]:
    """Return the texts, or the paths of videos, among a message's parts."""
    values = (part.get(name) for part in parts if isinstance(part, dict) for name in names)
    return [value for value in values if isinstance(value, str)]
