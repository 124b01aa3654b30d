"""The reading of a chat completion that an OpenAI-compatible server sent.

Servers differ, so nothing in an answer is trusted: its shape, its numbers, or whether it reports
log-probabilities at all. Whatever lacks the expected shape is left out and never guessed.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from dualipo.servers.endpoint import Answer, Failure

_END_OF_THOUGHT = "</think>"
# Why a text ended, in the words of several servers.
_OWN_ENDS = {"", "stop", "eos", "eos_token", "end_turn", "stop_sequence", "end", "complete"}
_CUTS = {"length", "max_tokens", "max_length", "max_new_tokens"}
_LEAST = -1e4  # of the log-probabilities; smaller ones are brought to it


def choices_of(answer: Answer) -> list[dict[str, Any]]:
    """Return the answer's choices that are whole; a failure has none."""
    choices = [] if isinstance(answer, Failure) else answer.get("choices")
    if not isinstance(choices, list):
        return []
    return [
        choice
        for choice in choices
        if isinstance(choice, dict) and isinstance(text_of(choice), str)
    ]


def usage_of(answer: Answer) -> dict[str, int]:
    """Return how many tokens an answer took, as its server counts them; nothing where it does not.

    Thoughts that the server counts, or that stand in <think>, are also counted apart.
    """
    told = {} if isinstance(answer, Failure) else answer.get("usage")
    told = told if isinstance(told, dict) else {}
    details = told.get("completion_tokens_details")
    details = details if isinstance(details, dict) else {}
    counts = {
        "prompt tokens": told.get("prompt_tokens"),
        "answer tokens": told.get("completion_tokens"),
        "thought tokens": details.get("reasoning_tokens") or _thought_tokens(answer),
    }
    return {
        name: num
        for name, num in counts.items()
        if isinstance(num, int) and not isinstance(num, bool) and 0 < num < 2**53
    }


def _thought_tokens(answer: Answer) -> int:
    """Count the tokens up to the end of a thought, in answers whose tokens are reported."""
    num = 0
    for choice in choices_of(answer):
        texts = [str(token.get("token", "")) for token in tokens_of(choice)]
        thought, end, _ = "".join(texts).partition(_END_OF_THOUGHT)
        lengths = itertools.accumulate(map(len, texts), initial=0)
        num += sum(begin < len(thought + end) for begin in list(lengths)[:-1]) if end else 0
    return num


def text_of(choice: dict[str, Any]) -> Any:
    """Return the text of a choice; it is a string in every choice of `choices_of`.

    Some servers write it as a list of parts, some of which are thoughts.
    """
    message = choice.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return content
    parts = [part for part in content if isinstance(part, dict) and part.get("type") == "text"]
    texts = [part.get("text") for part in parts]
    is_text = bool(texts) and all(isinstance(text, str) for text in texts)
    return "".join(map(str, texts)) if is_text else None


def end_of(choice: dict[str, Any]) -> str:
    """Return why the server ended the text: "" for its own end, else "length" or another word.

    A server that does not say leaves it to the grammar, which a text that was cut does not fit.
    """
    reason = choice.get("finish_reason")
    name = str("" if reason is None else reason)[:40]
    if name.lower() in _OWN_ENDS:
        return ""
    return "length" if name.lower() in _CUTS else name


def is_cut(choice: dict[str, Any], *, max_tokens: int) -> bool:
    """Tell whether the text was cut; a server that does not say has used up all its tokens then."""
    if choice.get("finish_reason") is None:
        return len(tokens_of(choice)) >= max_tokens
    return end_of(choice) == "length"


def tokens_of(choice: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the choice's tokens that the server reports with a log-probability."""
    log_probs = choice.get("logprobs")
    return _with_log_prob(log_probs.get("content") if isinstance(log_probs, dict) else None)


def reports_alternatives(tokens: Sequence[dict[str, Any]]) -> bool:
    """Tell whether any token comes with the log-probabilities of its alternatives."""
    return any(_with_log_prob(token.get("top_logprobs")) for token in tokens)


def token_after(tokens: Sequence[dict[str, Any]], marker: str) -> dict[str, Any] | None:
    """Return the token that begins where the last marker ends; None if a token straddles it."""
    texts = [str(token.get("token", "")) for token in tokens]
    end = "".join(texts).rfind(marker) + len(marker)
    if end < len(marker):
        return None
    length = 0
    for token, text in zip(tokens, texts, strict=True):
        if length == end:
            return token
        length += len(text)
    return None


def option_log_probs(token: dict[str, Any], options: Sequence[str]) -> dict[str, float]:
    """Return the log-probability of each option, by the listed tokens that begin it.

    An option that the server does not list is at most as likely as the last alternative that it
    lists, and as all that the listed ones leave over. It gets the smaller value. The result is
    empty where no option is listed.
    """
    listed = _with_log_prob(token.get("top_logprobs"))
    pairs = [(str(row.get("token", "")).strip(), row["logprob"]) for row in listed]
    masses = {
        option: math.fsum(math.exp(lp) for text, lp in pairs if text and option.startswith(text))
        for option in options
    }
    if not any(masses.values()):
        return {}
    left = 1.0 - math.fsum(math.exp(log_prob) for _, log_prob in pairs)
    most = min(*(log_prob for _, log_prob in pairs), math.log(left) if left > 0 else _LEAST)
    return {option: math.log(mass) if mass > 0 else most for option, mass in masses.items()}


def _with_log_prob(listed: Any) -> list[dict[str, Any]]:
    """Return the rows whose log-probability is a number, each brought into [_LEAST, 0].

    Servers have sent NaN, strings, and numbers beyond a float.
    """
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    numbers = [row.get("logprob") for row in rows]
    return [
        row | {"logprob": float(max(min(number, 0.0), _LEAST))}
        for row, number in zip(rows, numbers, strict=True)
        if isinstance(number, int | float) and number == number
    ]
