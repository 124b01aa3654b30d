"""A scripted language model that expands captions: `loopback.serving(writer.good)`."""

from typing import Any

FILLING = "while all around stays quiet and small details come into view one after the other "


def asked(body: dict[str, Any]) -> list[str]:
    """Return the captions of a request."""
    return [line.partition(". ")[2] for line in body["messages"][-1]["content"].splitlines()]


def longer(caption: str) -> str:
    """Return a caption that says more and keeps all elements."""
    return f"{caption} {FILLING * 2}"


def answer(texts: list[str]) -> dict[str, Any]:
    """Return a completion with numbered lines."""
    lines = [f"{number}. {text}" for number, text in enumerate(texts, start=1)]
    message = {"role": "assistant", "content": "\n".join(lines)}
    return {"choices": [{"message": message, "finish_reason": "stop"}]}


def good(body: dict[str, Any], count: int) -> dict[str, Any]:
    """Answer every caption well."""
    return answer([longer(caption) for caption in asked(body)])
