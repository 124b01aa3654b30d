"""A critic behind an OpenAI-compatible endpoint, such as vLLM or SGLang (METHOD.md 3).

It judges and does not learn. One request a question asks for all its paths (`n`); clips and
caption stand before the question, so that the server's prefix cache serves all dimensions and
votes of a pair. A question without an answer after bounded retries abstains and is counted
(fault 64); a server that cannot be reached, or refuses, ends the stage with nothing recorded, so
that the repeated command asks again. The key comes from the environment only (fault 62).

Labels are weighed by the probabilities that the server reports. Where it reports none, the label
that it wrote stands alone (score by the grade, lean to the verdict), counted as "no probabilities";
where it wrote none either there is no answer, and no number stands in for one (fault 27).

Leaves out a path's token ids, which servers do not agree on.
"""

import base64
import hashlib
import io
import json
import math
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dualipo import config
from dualipo.config import Critic
from dualipo.critic import reasoning
from dualipo.critic.models import frame_choice
from dualipo.critic.models.endpoint import Answer, Endpoint, Failure
from dualipo.critic.vlm import Choice, Query, ReasoningPath
from dualipo.errors import StageError

NUM_TOP = 20  # alternatives a server reports for a token
UNREAD = ReasoningPath("", (), 0.0, truncated=True)
NO_PROBABILITIES = "no probabilities"
# Of a label that was not written, where nothing but the written one is known: its exp is 0.
UNSAID = -1e3
TIE = reasoning.NAMES["tie"]


class ServedCritic:
    """A judge that is asked over HTTP; implements `vlm.Vlm`.

    `failures` counts what went wrong, and the labels that came without probabilities.
    """

    def __init__(self, model: str, *, settings: Critic) -> None:
        self.model = model
        self.settings = settings
        self.endpoint = endpoint_of(settings.server, settings_name="critic.server")
        self.failures: Counter[str] = Counter()

    def hash(self) -> str:
        """Names the model that is asked for; what the server holds under it is not known."""
        return hashlib.sha256(f"server {self.model}".encode()).hexdigest()

    def sample(
        self,
        queries: Sequence[Query],
        *,
        num_paths: int,
        temperature: float,
        seeds: Sequence[Sequence[int]],
        max_new_tokens: int,
        choice: Choice | None = None,
    ) -> list[list[ReasoningPath]]:
        """`num_paths` paths a query; the request's seed is made of its paths' seeds."""
        shown = self._shown(queries)
        bodies = [
            {
                **self._body(query, shown),
                "n": num_paths,
                "temperature": temperature,
                "max_tokens": max_new_tokens,
                "seed": _one_seed(row),
                **_want_log_probs(NUM_TOP if choice else 0),
            }
            for query, row in zip(queries, seeds, strict=True)
        ]
        answers = self._ask_all(bodies)
        return [self._paths(answer, num_paths, choice) for answer in answers]

    def choice_log_probs(
        self, queries: Sequence[Query], prefixes: Sequence[str], choices: Sequence[str]
    ) -> Tensor:
        """Of the choices after the answer so far; without an answer a row of NaN."""
        shown = self._shown(queries)
        bodies = [
            {
                **self._body(query, shown, answer=prefix),
                "continue_final_message": True,
                "add_generation_prompt": False,
                "n": 1,
                "temperature": 0.0,
                "max_tokens": 1,
                **_want_log_probs(NUM_TOP),
            }
            for query, prefix in zip(queries, prefixes, strict=True)
        ]
        rows = []
        for answer in self._ask_all(bodies):
            found: dict[str, float] = {}
            for one in choices_of(answer)[:1]:
                found = self._first_token(one, choices)
            rows.append([found.get(option, math.nan) for option in choices])
        return torch.tensor(rows)

    def _ask_all(self, bodies: Sequence[dict[str, Any]]) -> list[Answer]:
        """All requests, some at a time, in their order."""
        with ThreadPoolExecutor(self.settings.server.max_concurrency) as pool:
            answers = list(pool.map(lambda b: self.endpoint.post("/chat/completions", b), bodies))
        for answer in answers:
            if isinstance(answer, Failure):
                self.failures[answer.trouble] += 1
                stop_if_hopeless(
                    answer,
                    settings=self.settings.server,
                    does=f"judge with {self.model!r}",
                    remedy="See that it serves this model and takes images, or lower "
                    "critic.max_frames.",
                )
        return answers

    def _paths(self, answer: Answer, num_paths: int, choice: Choice | None) -> list[ReasoningPath]:
        """Read what came; what did not come is unread."""
        found = choices_of(answer)[:num_paths]
        if not isinstance(answer, Failure) and len(found) < num_paths:
            self.failures["too few answers"] += 1
        return [self._path(one, choice) for one in found] + [UNREAD] * (num_paths - len(found))

    def _path(self, one: dict[str, Any], choice: Choice | None) -> ReasoningPath:
        tokens = _tokens(one)
        text = said(one).strip()
        chosen: dict[str, float] = {}
        if choice and _reported(tokens):
            place = _place_after([str(token.get("token", "")) for token in tokens], choice.after)
            chosen = _options(tokens[place], choice.options) if place is not None else {}
        elif choice:
            chosen = self._alone(_label(text, choice.after), choice.options)
        log_prob = math.fsum(token["logprob"] for token in tokens)
        return ReasoningPath(text, (), log_prob, one.get("finish_reason") != "stop", chosen)

    def _first_token(self, one: dict[str, Any], options: Sequence[str]) -> dict[str, float]:
        """Of the options by the answer's first token, or by what it says."""
        tokens = _tokens(one)
        if _reported(tokens):
            return _options(tokens[0], options)
        text = said(one).partition("<")[0].strip()
        begun = [label for label in _labels(options) if text and label.startswith(text)]
        return self._alone(begun[0] if len(begun) == 1 else None, options)

    def _alone(self, label: str | None, options: Sequence[str]) -> dict[str, float]:
        """What a label says that came without probabilities; a tie leans to none of the others."""
        if label not in _labels(options):
            return {}
        self.failures[NO_PROBABILITIES] += 1
        return {option: 0.0 if label in (option, TIE) else UNSAID for option in options}

    def _body(
        self, query: Query, shown: dict[str, list[dict[str, Any]]], *, answer: str | None = None
    ) -> dict[str, Any]:
        question = query.question or reasoning.question(query.kind, query.dimension)
        if query.hint is not None:
            question += "\n" + reasoning.hint(query.hint)
        content: list[dict[str, Any]] = []
        for n, clip_hash in enumerate(query.clip_hashes):
            content.append(_text(f"Video {'AB'[n]}:" if query.kind == "pair" else "Video:"))
            content += shown[clip_hash]
        content += [_text(reasoning.fence(query.caption)), _text(question)]
        messages = [
            {"role": "system", "content": reasoning.instructions(query.kind)},
            {"role": "user", "content": content},
        ]
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        return {"model": self.model, "messages": messages}

    def _shown(self, queries: Sequence[Query]) -> dict[str, list[dict[str, Any]]]:
        """The frames of every clip as messages hold them, each clip once."""
        clips = {i: c for q in queries for i, c in zip(q.clip_hashes, q.clips, strict=True)}
        return {
            clip_hash: [
                {"type": "image_url", "image_url": {"url": _url(frame)}}
                for frame in frame_choice.choose(
                    clip,
                    max_frames=self.settings.max_frames,
                    short_video=self.settings.short_video,
                    clip_hash=clip_hash,
                )
            ]
            for clip_hash, clip in clips.items()
        }


def endpoint_of(settings: config.Server, *, settings_name: str) -> Endpoint:
    """Where to ask; the key comes from the environment."""
    return Endpoint(
        settings.base_url,
        api_key=os.environ.get(settings.api_key_env),
        timeout=settings.timeout,
        max_retries=settings.max_retries,
        settings_name=settings_name,
    )


def stop_if_hopeless(failure: Failure, *, settings: config.Server, does: str, remedy: str) -> None:
    """A server that is gone, or refuses, ends the stage: no repetition mends it."""
    if failure.trouble == "unreachable":
        raise StageError(
            f"server {settings.base_url}: cannot be reached "
            f"({failure.detail}). Start it, and repeat the command: nothing is lost."
        )
    if failure.trouble == "refused":
        if failure.status in (401, 403):
            remedy = f"Set {settings.api_key_env} in the environment."
        raise StageError(
            f"server {settings.base_url}: refuses to {does} ({failure.detail}). {remedy}"
        )


def choices_of(answer: Answer) -> list[dict[str, Any]]:
    """The answer's choices that have the shape of one; strangers' JSON is not trusted."""
    found = [] if isinstance(answer, Failure) else answer.get("choices")
    if not isinstance(found, list):
        return []
    return [one for one in found if isinstance(one, dict) and isinstance(said(one), str)]


def said(one: dict[str, Any]) -> Any:
    """The text of a choice."""
    message = one.get("message")
    return message.get("content") if isinstance(message, dict) else None


def _url(frame_HWC: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(frame_HWC).save(buffer, format="PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _one_seed(seeds: Sequence[int]) -> int:
    """Some servers take seeds of 32 bits."""
    digest = hashlib.sha256(json.dumps(list(seeds)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _want_log_probs(num_top: int) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": num_top} if num_top else {"logprobs": True}


def _tokens(one: dict[str, Any]) -> list[dict[str, Any]]:
    """The choice's tokens with their log-probabilities, where the server reports them."""
    log_probs = one.get("logprobs")
    return _with_log_prob(log_probs.get("content") if isinstance(log_probs, dict) else None)


def _with_log_prob(found: Any) -> list[dict[str, Any]]:
    """What has a log-probability that is one; strangers' numbers may be NaN, or far from it."""
    rows = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []
    numbers = [row.get("logprob") for row in rows]
    return [
        row | {"logprob": float(max(min(number, 0.0), -1e4))}
        for row, number in zip(rows, numbers, strict=True)
        if isinstance(number, int | float) and number == number
    ]


def _reported(tokens: Sequence[dict[str, Any]]) -> bool:
    """Whether alternatives stand beside the tokens."""
    return any(_with_log_prob(token.get("top_logprobs")) for token in tokens)


def _labels(options: Sequence[str]) -> tuple[str, ...]:
    """The options, and what a verdict may be besides."""
    return (*options, TIE) if reasoning.NAMES["a"] in options else tuple(options)


def _label(text: str, marker: str) -> str | None:
    """What stands behind the only marker, up to its closing tag."""
    _, found, after = text.partition(marker)
    return after.partition("<")[0] if found and marker not in after else None


def _place_after(tokens: Sequence[str], marker: str) -> int | None:
    """The token that begins where the last marker ends; none if one straddles its end."""
    wanted = "".join(tokens).rfind(marker) + len(marker)
    if wanted < len(marker):
        return None
    length = 0
    for place, token in enumerate(tokens):
        if length == wanted:
            return place
        length += len(token)
    return None


def _options(token: dict[str, Any], options: Sequence[str]) -> dict[str, float]:
    """Log-probability of each option by the tokens that begin it; none where none is listed.

    An option that the server does not list is at most as likely as the last that it does.
    """
    listed = _with_log_prob(token.get("top_logprobs"))
    pairs = [(str(one.get("token", "")).strip(), one["logprob"]) for one in listed]
    masses = {
        option: math.fsum(math.exp(lp) for text, lp in pairs if text and option.startswith(text))
        for option in options
    }
    if not any(masses.values()):
        return {}
    least = min(log_prob for _, log_prob in pairs)
    return {option: math.log(mass) if mass > 0 else least for option, mass in masses.items()}
