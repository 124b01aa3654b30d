"""The seed's reasons worded anew by a language model, where one is configured (METHOD.md 3.3).

It reads the caption and what a person answered, and sees no clip. What it writes is kept if it
speaks the grammar and comes to the person's own label; otherwise the person's words stand. A pair
is asked about once: its swapped trace says the same with A and B exchanged.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal

from dualipo.config import Rewriter
from dualipo.critic import reasoning
from dualipo.critic.learning.warm_start import Trace
from dualipo.critic.models import served
from dualipo.critic.models.endpoint import Answer, Failure

Fate = Literal["rewritten", "another label", "no answer"]

_TASK = (
    "A person has seen what you cannot see, and answered as below. Say the same in clear, complete "
    "sentences of evidence. Add nothing that the person did not say, and keep the label."
)


def rewrite(traces: Sequence[Trace], *, settings: Rewriter) -> tuple[list[Trace], Counter[Fate]]:
    """The traces in their order, and what became of the answers."""
    assert settings.model is not None
    asked = [trace for trace in traces if trace.ask.order == "ab"]
    endpoint = served.endpoint_of(settings, settings_name="seed_labels.rewriter")
    with ThreadPoolExecutor(settings.max_concurrency) as pool:
        bodies = [_body(trace, settings) for trace in asked]
        answers = list(pool.map(lambda body: endpoint.post("/chat/completions", body), bodies))
    fates: Counter[Fate] = Counter()
    worded: dict[tuple[str, str], str] = {}
    for trace, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Failure):
            remedy = "See seed_labels.rewriter.model, or leave it out."
            served.stop_if_hopeless(
                answer, settings=settings, does=f"write with {settings.model!r}", remedy=remedy
            )
        response, fate = _read(trace, answer)
        worded[trace.ask.kind, trace.ask.item_id] = response
        fates[fate] += 1
    return [replace(trace, response=_shown(trace, worded)) for trace in traces], fates


def _body(trace: Trace, settings: Rewriter) -> dict[str, Any]:
    ask = trace.ask
    question = reasoning.question(ask.kind, ask.dimension)
    told = f"{reasoning.fence(ask.caption)}\n{question}\n\n{trace.response}\n\n{_TASK}"
    return {
        "model": settings.model,
        "messages": [
            {"role": "system", "content": reasoning.instructions(ask.kind)},
            {"role": "user", "content": told},
        ],
        "n": 1,
        "temperature": 0.0,
        "max_tokens": settings.max_tokens,
    }


def _read(trace: Trace, answer: Answer) -> tuple[str, Fate]:
    found = served.choices_of(answer)
    if not found:
        return trace.response, "no answer"
    text = served.said(found[0]).strip()
    truncated = found[0].get("finish_reason") != "stop"
    wanted = reasoning.parse(trace.response, trace.ask.kind, truncated=False)
    got = reasoning.parse(text, trace.ask.kind, truncated=truncated)
    return (
        (text, "rewritten") if got.outcome == wanted.outcome else (trace.response, "another label")
    )


def _shown(trace: Trace, worded: dict[tuple[str, str], str]) -> str:
    response = worded[trace.ask.kind, trace.ask.item_id]
    return reasoning.swap(response) if trace.ask.order == "ba" else response
