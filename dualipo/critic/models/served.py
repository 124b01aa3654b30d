"""A critic behind an OpenAI-compatible endpoint, such as vLLM or SGLang (METHOD.md 3).

It judges and does not learn. One request per question asks for all its paths (`n`). Clips and
caption stand before the question, so that the server's prefix cache serves all dimensions and votes
of a pair. A question without an answer after bounded retries abstains and is counted (fault 64). A
server that cannot be reached, or that refuses, ends the stage with nothing recorded, so that the
repeated command asks again.

Labels are weighed by the probabilities that the server reports. Where it reports none, the label
in its text stands alone (the score is the grade's, the lean is to the verdict), counted as "no
probabilities". Where the text has no label either there is no answer, and no number stands in for
one (fault 27).

Leaves out a path's token ids, on which servers do not agree.
"""

import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualipo.config import Critic
from dualipo.critic import reasoning
from dualipo.critic.models import frame_choice, structured
from dualipo.critic.models.frame_choice import FpsOf, unknown_fps
from dualipo.critic.models.sent_frames import url_of
from dualipo.critic.vlm import Kind, Query, ReasoningPath, Sampling
from dualipo.servers import completions
from dualipo.servers.endpoint import Answer, Endpoint, Failure

NUM_TOP = 20  # alternatives a server reports for a token
UNREAD = ReasoningPath("", (), 0.0, truncated=False)
NO_PROBABILITIES = "no probabilities"
BEGUN_ANEW = "did not go on with its answer"
NUM_CONTINUED = 8  # tokens, for a label and the beginning of its closing tag
# The log-probability of a label that the text does not have, where only the text is known.
UNSAID = -1e3
TIE = reasoning.NAMES["tie"]

Part = dict[str, Any]  # of a message's content


class ServedCritic:
    """A judge that is asked over HTTP; implements `vlm.Vlm`.

    `failures` counts the answers that went wrong, and the labels that came without probabilities.
    `usage` counts requests, tokens as the server counts them, and whole seconds of waiting.
    """

    # Some servers ignore `continue_final_message` and begin a new answer, whose first word may look
    # like a label. So a label is weighed only where the text goes on as the grammar does.
    must_close_labels = True

    def __init__(self, model: str, *, settings: Critic, fps_of: FpsOf = unknown_fps) -> None:
        self.model = model
        self.settings = settings
        self.endpoint = Endpoint(
            settings.server, settings_name="critic.server", others=settings.server.base_urls
        )
        self.failures: Counter[str] = Counter()
        self.usage: Counter[str] = Counter()
        self.fps_of = fps_of

    def hash(self) -> str:
        """Return a hash of the model's name, and of questions other than the world's.

        The weights that a server holds are not known.
        """
        named = f"server {self.model}{self.settings.questions.mark}"
        return hashlib.sha256(named.encode()).hexdigest()

    def sample(self, queries: Sequence[Query], sampling: Sampling) -> list[list[ReasoningPath]]:
        """Draw reasoning paths, one request per query; see `vlm.Vlm`.

        A request has one seed, which is made of its paths' seeds.
        """
        images = self._images(queries)
        bodies = [
            {
                **self._body(query, images),
                "n": sampling.num_paths,
                "temperature": sampling.temperature,
                "max_tokens": sampling.max_new_tokens,
                "seed": _request_seed(row),
                **_want_log_probs(NUM_TOP if sampling.choice else 0),
                **structured.wanted(self.settings.server.structured, query.kind),
            }
            for query, row in zip(queries, sampling.seeds, strict=True)
        ]
        answers = self._ask_all(bodies)
        return [
            self._paths(answer, query.kind, sampling)
            for answer, query in zip(answers, queries, strict=True)
        ]

    def choice_log_probs(
        self, queries: Sequence[Query], prefixes: Sequence[str], choices: Sequence[str]
    ) -> Tensor:
        """Return the log-probability [B, C] of each choice after the response; see `vlm.Vlm`.

        Values are NaN where the server did not go on with the response.
        """
        images = self._images(queries)
        bodies = [
            {
                **self._body(query, images, response=prefix),
                "continue_final_message": True,
                "add_generation_prompt": False,
                "n": 1,
                "temperature": 0.0,
                "max_tokens": NUM_CONTINUED if self.must_close_labels else 1,
                **_want_log_probs(NUM_TOP),
            }
            for query, prefix in zip(queries, prefixes, strict=True)
        ]
        rows = []
        for answer in self._ask_all(bodies):
            log_probs: dict[str, float] = {}
            for sent in completions.choices_of(answer)[:1]:
                log_probs = self._first_token(sent, choices)
            rows.append([log_probs.get(option, math.nan) for option in choices])
        return torch.tensor(rows)

    def _ask_all(self, bodies: Sequence[dict[str, Any]]) -> list[Answer]:
        began = time.monotonic()
        answers = self.endpoint.post_all(
            "/chat/completions",
            bodies,
            task=f"judge with {self.model!r}",
            remedy="See that it serves this model, takes images and knows critic.server.structured "
            f'= "{self.settings.server.structured}", or lower critic.max_frames.',
        )
        self.usage["seconds"] += round(time.monotonic() - began)
        self.usage["requests"] += len(bodies)
        for answer in answers:
            self.usage.update(completions.usage_of(answer))
        self.failures.update(answer.trouble for answer in answers if isinstance(answer, Failure))
        return answers

    def _paths(self, answer: Answer, kind: Kind, sampling: Sampling) -> list[ReasoningPath]:
        """Read the paths that arrived; each that did not arrive is unreadable."""
        sent = completions.choices_of(answer)[: sampling.num_paths]
        num_missing = sampling.num_paths - len(sent)
        if not isinstance(answer, Failure) and num_missing:
            self.failures["too few answers" if sent else "no answer in its reply"] += 1
        return [self._path(each, kind, sampling) for each in sent] + [UNREAD] * num_missing

    def _path(self, sent: dict[str, Any], kind: Kind, sampling: Sampling) -> ReasoningPath:
        choice = sampling.choice
        tokens, text = completions.tokens_of(sent), completions.text_of(sent).strip()
        place = choice.after if choice else None
        if self.settings.server.structured == "response_format":
            place, text = structured.place_of_label(text, kind), structured.in_grammar(text, kind)
        label_log_probs: dict[str, float] = {}
        if choice and place and completions.reports_alternatives(tokens):
            token = completions.token_after(tokens, place)
            if token is not None:
                label_log_probs = completions.option_log_probs(token, choice.options)
        elif choice:
            label_log_probs = self._label_alone(_label(text, choice.after), choice.options)
        log_prob = math.fsum(token["logprob"] for token in tokens)
        end = completions.end_of(sent)
        # A filter or a tool call: what there is of the text is no answer.
        if end not in ("", "length"):
            self.failures[f"ended by {end}"] += 1
            return UNREAD
        is_cut = completions.is_cut(sent, max_tokens=sampling.max_new_tokens)
        return ReasoningPath(text, (), log_prob, is_cut, label_log_probs)

    def _first_token(self, sent: dict[str, Any], options: Sequence[str]) -> dict[str, float]:
        """Read the options' log-probabilities off the first token, or else off the text."""
        if self.must_close_labels and not _closes_label(sent, options):
            self.failures[BEGUN_ANEW] += 1
            return {}
        tokens = completions.tokens_of(sent)
        if completions.reports_alternatives(tokens):
            return completions.option_log_probs(tokens[0], options)
        text = completions.text_of(sent).partition("<")[0].strip()
        begun = [label for label in _labels(options) if text and label.startswith(text)]
        return self._label_alone(begun[0] if len(begun) == 1 else None, options)

    def _label_alone(self, label: str | None, options: Sequence[str]) -> dict[str, float]:
        """Return log-probabilities for a label that came without any, and count it.

        A tie between two options leans to neither.
        """
        if label not in _labels(options):
            return {}
        self.failures[NO_PROBABILITIES] += 1
        return {option: 0.0 if label in (option, TIE) else UNSAID for option in options}

    def _body(
        self, query: Query, images: Mapping[str, Sequence[Part]], *, response: str | None = None
    ) -> dict[str, Any]:
        messages = self._turns(query, images)
        if response is not None:
            messages.append({"role": "assistant", "content": response})
        return {"model": self.model, "messages": messages}

    def _turns(self, query: Query, images: Mapping[str, Sequence[Part]]) -> list[dict[str, Any]]:
        """Return the turns before the answer: what is wanted, then the clips and the question."""
        content: list[Part] = []
        for n, clip_hash in enumerate(query.clip_hashes):
            head = frame_choice.heading(query, n, settings=self.settings, fps_of=self.fps_of)
            content.append(text_part(head))
            content += images[clip_hash]
        asked = reasoning.question_of(query, self.settings.questions)
        content += [text_part(reasoning.fence(query.caption)), text_part(asked)]
        told = self.settings.instructions(query.kind)
        if self.settings.server.structured == "response_format":
            told += structured.IN_JSON[query.kind]
        return [{"role": "system", "content": told}, {"role": "user", "content": content}]

    def _images(self, queries: Sequence[Query]) -> dict[str, list[Part]]:
        """Write the frames of every clip as parts of a message, each clip once."""
        clips = {i: c for q in queries for i, c in zip(q.clip_hashes, q.clips, strict=True)}
        return {clip_hash: self._shown(clip, clip_hash) for clip_hash, clip in clips.items()}

    def _shown(self, clip_FHWC: np.ndarray, clip_hash: str) -> list[Part]:
        """Write the frames of one clip that the critic sees."""
        return [
            {"type": "image_url", "image_url": {"url": url_of(frame, settings=self.settings)}}
            for frame in self._chosen(clip_FHWC, clip_hash)
        ]

    def _chosen(self, clip_FHWC: np.ndarray, clip_hash: str) -> np.ndarray:
        return frame_choice.choose(
            clip_FHWC,
            max_frames=self.settings.max_frames,
            short_video=self.settings.short_video,
            clip_hash=clip_hash,
        )


def text_part(text: str) -> Part:
    """Return a text as a part of a message."""
    return {"type": "text", "text": text}


def _request_seed(seeds: Sequence[int]) -> int:
    """Make one seed of several, below 2**31 because some servers take no larger ones."""
    digest = hashlib.sha256(json.dumps(list(seeds)).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _want_log_probs(num_top: int) -> dict[str, Any]:
    return {"logprobs": True, "top_logprobs": num_top} if num_top else {"logprobs": True}


def _labels(options: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that may stand in the options' place; a verdict may also be a tie."""
    return (*options, TIE) if reasoning.NAMES["a"] in options else tuple(options)


def _closes_label(sent: dict[str, Any], options: Sequence[str]) -> bool:
    """Tell whether a continuation is a label and nothing else up to a tag or the text's end."""
    text, tag, _ = completions.text_of(sent).partition("<")
    label = text.strip().lower()
    is_whole = bool(tag) or not completions.is_cut(sent, max_tokens=NUM_CONTINUED)
    return is_whole and label in (option.lower() for option in _labels(options))


def _label(text: str, marker: str) -> str | None:
    """Return the text between the marker and its closing tag, if the marker stands there once."""
    _, separator, after = text.partition(marker)
    return after.partition("<")[0] if separator and marker not in after else None
