"""Screens captions: what no generator should be trained or measured on is dropped and counted.

    first pass   each caption alone (`rules`), its tokens, evaluation prompts, repeats; what is left
                 goes into the search for near-copies
    in between   near-copies are known when the last caption is
    second pass  what is kept is written in shards, what is dropped with its reason

A caption is dropped for the first reason that holds. Of two that are alike the first one stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from dualipo import interrupt
from dualipo.captions import normalise
from dualipo.prompts import caption_files, screened, shards, tokens
from dualipo.prompts.near_copies import NearCopies
from dualipo.prompts.overlap import EvaluationPrompts
from dualipo.prompts.rules import Rules, Wanted
from dualipo.prompts.screened import Report, Verdicts
from dualipo.prompts.shards import ShardFolder
from dualipo.prompts.words import FlatWords, Vocabulary, words_of

REPEAT, NEAR_COPY, EVALUATION = "a repeat", "a near-copy", "an evaluation prompt"


@dataclass(frozen=True)
class Settings:
    """Everything that decides what is dropped; `near_copies` None keeps near-copies."""

    wanted: Wanted = field(default_factory=Wanted)
    tokenizer: Path | None = None
    max_tokens: int | None = None
    against: tuple[Path, ...] = ()
    near_copies: float | None = 0.8


def screen(
    source: Path,
    output: Path,
    settings: Settings,
    *,
    on_batch: Callable[[int], None] = lambda num_rows: None,
) -> Report:
    """Write the captions of `source` that pass into the folder `output`, and what was dropped.

    Repeating the command after it has finished only reads its report.
    """
    plan = _as_plan(settings) | {"source": caption_files.fingerprint(source)}
    target = ShardFolder(output, command="screen", plan=plan)
    if (output / shards.REPORT).exists():
        return screened.read_report(output)
    verdicts = _Screening(settings).verdicts(source, on_batch)
    return screened.write(source, target, verdicts, on_batch)


class _Screening:
    """The first pass."""

    def __init__(self, settings: Settings) -> None:
        self._rules = Rules(settings.wanted)
        self._max_tokens = settings.max_tokens
        self._count = tokens.counter(settings.tokenizer) if settings.tokenizer else None
        self._prompts = EvaluationPrompts()
        for path in settings.against:
            for batch in caption_files.batches(path):
                self._prompts.add(batch["caption"].to_pylist())
        threshold = settings.near_copies
        self._near_copies = NearCopies(threshold) if threshold is not None else None
        self._vocabulary = Vocabulary()
        self._first: dict[int, int] = {}  # hash of a normalised caption -> its first row
        self._reasons = ["kept"]
        self._likes: dict[int, int | str] = {}

    def verdicts(self, source: Path, on_batch: Callable[[int], None]) -> Verdicts:
        """Look at every caption of a file."""
        codes = []
        num_rows = 0
        for batch in caption_files.batches(source):
            codes.append(self._batch(batch["caption"].to_pylist(), num_rows))
            num_rows += len(batch)
            on_batch(len(batch))
            interrupt.check()
        all_codes = np.concatenate(codes) if codes else np.empty(0, dtype=np.uint16)
        copies = self._near_copies.copies() if self._near_copies else {}
        all_codes[list(copies)] = self._code(NEAR_COPY) if copies else 0
        self._likes |= copies
        return Verdicts(all_codes, self._reasons, self._likes, len(self._prompts))

    def _batch(self, captions: list[str], first_row: int) -> np.ndarray:
        keys = [normalise(caption) for caption in captions]
        words = [words_of(key) for key in keys]
        codes = np.zeros(len(captions), dtype=np.uint16)
        for place, (caption, own) in enumerate(zip(captions, words, strict=True)):
            if reason := self._rules.reason(caption, own):
                codes[place] = self._code(reason)
        self._drop_long(captions, codes)
        left = np.flatnonzero(codes == 0)
        flat = self._vocabulary.flat([words[place] for place in left])
        overlaps = self._prompts.overlaps([words[place] for place in left], flat)
        for index, overlap in overlaps.items():
            place = int(left[index])
            codes[place] = self._code(f"{EVALUATION} ({overlap.how})")
            self._likes[first_row + place] = overlap.prompt
        self._drop_repeats(keys, codes, first_row)
        self._keep_for_later(flat, codes[left] == 0, first_row + left)
        return codes

    def _drop_long(self, captions: Sequence[str], codes: np.ndarray) -> None:
        left = np.flatnonzero(codes == 0)
        if self._count is None or self._max_tokens is None or not len(left):
            return
        numbers = self._count([captions[place] for place in left.tolist()])
        if (is_long := numbers > self._max_tokens).any():
            codes[left[is_long]] = self._code(f"over {self._max_tokens} tokens")

    def _drop_repeats(self, keys: Sequence[str], codes: np.ndarray, first_row: int) -> None:
        for place in np.flatnonzero(codes == 0).tolist():
            key = xxhash.xxh3_64_intdigest(keys[place].encode())
            original = self._first.setdefault(key, first_row + place)
            if original != first_row + place:
                codes[place] = self._code(REPEAT)
                self._likes[first_row + place] = original

    def _keep_for_later(self, flat: FlatWords, is_kept: np.ndarray, rows: np.ndarray) -> None:
        if self._near_copies is None:
            return
        is_kept = is_kept & (flat.lengths > 0)
        hashes = flat.hashes[np.repeat(is_kept, flat.lengths)]
        own = FlatWords(hashes, np.cumsum(flat.lengths[is_kept]))
        self._near_copies.add(own, rows[is_kept])

    def _code(self, reason: str) -> int:
        if reason not in self._reasons:
            self._reasons.append(reason)
        return self._reasons.index(reason)


def _as_plan(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON; files stand for their content."""
    plan = asdict(settings.wanted) | {
        "scripts": list(settings.wanted.scripts),
        "words": list(settings.wanted.words),
        "max_tokens": settings.max_tokens,
        "near_copies": settings.near_copies,
        "against": [caption_files.fingerprint(path) for path in settings.against],
    }
    return plan | {"tokenizer": str(settings.tokenizer) if settings.tokenizer else None}
