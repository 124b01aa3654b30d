"""A language model that words the seed's reasons anew, where one is configured (METHOD.md 3.3).

It reads the caption and a person's answer, and sees no clip. Its text is kept if it follows the
grammar and has the person's own label; otherwise the person's words stay. A pair is sent once: its
swapped trace gets the same text with A and B exchanged.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from dualipo.config import WORLD, Questions, Rewriter
from dualipo.critic import reasoning
from dualipo.critic.learning.warm_start import Trace
from dualipo.servers import completions
from dualipo.servers.endpoint import Answer, Endpoint

Fate = Literal["rewritten", "another label", "no answer", "cut off", "unreadable"]

_TASK = (
    "A person has seen what you cannot see, and answered as below. Say the same in clear, complete "
    "sentences of evidence. Add nothing that the person did not say, and keep the label."
)


def rewrite(
    traces: Sequence[Trace], *, settings: Rewriter, questions: Questions = WORLD
) -> tuple[list[Trace], Counter[Fate]]:
    """Return the traces with new words, in their order, and count what became of the answers."""
    assert settings.model is not None
    sent = [trace for trace in traces if trace.ask.order == "ab"]
    endpoint = Endpoint(settings, settings_name="seed_labels.rewriter")
    answers = endpoint.post_all(
        "/chat/completions",
        [_body(trace, settings, questions) for trace in sent],
        task=f"write with {settings.model!r}",
        remedy="See seed_labels.rewriter.model, or leave it out.",
    )
    fates: Counter[Fate] = Counter()
    responses: dict[tuple[str, str], str] = {}
    for trace, answer in zip(sent, answers, strict=True):
        response, fate = _read(trace, answer)
        responses[trace.ask.kind, trace.ask.item_id] = response
        fates[fate] += 1
    return [replace(trace, response=_in_order(trace, responses)) for trace in traces], fates


def _body(trace: Trace, settings: Rewriter, questions: Questions) -> dict[str, Any]:
    ask = trace.ask
    question = questions.question(ask.kind, ask.dimension)
    request = f"{reasoning.fence(ask.caption)}\n{question}\n\n{trace.response}\n\n{_TASK}"
    return {
        "model": settings.model,
        "messages": [
            {"role": "system", "content": questions.instructions(ask.kind)},
            {"role": "user", "content": request},
        ],
        "n": 1,
        "temperature": 0.0,
        "max_tokens": settings.max_tokens,
    }


def _read(trace: Trace, answer: Answer) -> tuple[str, Fate]:
    choices = completions.choices_of(answer)
    if not choices:
        return trace.response, "no answer"
    text, end = completions.text_of(choices[0]).strip(), completions.end_of(choices[0])
    if end:
        return trace.response, "cut off" if end == "length" else "no answer"
    kind = trace.ask.kind
    outcome = reasoning.parse(text, kind, truncated=False).outcome
    if outcome == "abstain":
        return trace.response, "unreadable"
    if outcome != reasoning.parse(trace.response, kind, truncated=False).outcome:
        return trace.response, "another label"
    return text, "rewritten"


def _in_order(trace: Trace, responses: dict[tuple[str, str], str]) -> str:
    response = responses[trace.ask.kind, trace.ask.item_id]
    return reasoning.swap(response) if trace.ask.order == "ba" else response
