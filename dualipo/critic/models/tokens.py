"""The critic's tokenizer: text to token ids and back, and the place of a label among them.

Texts are tokenized without special tokens. Results are cached, because headings and questions
recur.
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from dualipo.critic.models.prefixes import num_shared
from dualipo.critic.vlm import Choice, Response
from dualipo.errors import ModelError
from dualipo.store.byte_cache import ByteCache

_CACHE_BYTES = 64 << 20


class Tokens:
    """A tokenizer with the critic's own ways to encode and decode.

    Answers end with the token `end` if the tokenizer knows it, else with its end of sequence. What
    a model writes ends with any of `ends`: that token, the end of sequence, and `also_ends`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        end: str | None = None,
        also_ends: Sequence[str] = (),
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError("critic tokenizer: no end of sequence. Set its eos_token.")
        self.tokenizer = tokenizer
        known = tokenizer.get_vocab()
        self.end: int = known.get(end or "", tokenizer.eos_token_id)
        others = [known[token] for token in also_ends if token in known]
        self.ends: list[int] = sorted({self.end, tokenizer.eos_token_id, *others})
        self.start: list[int] = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self._encoded = ByteCache[tuple[int, ...]](max_bytes=_CACHE_BYTES, size=_num_bytes)

    def encode(self, text: str) -> tuple[int, ...]:
        """Return a text's ids, without special tokens."""
        return self._encoded.recall(text, lambda: self._encode(text))

    def _encode(self, text: str) -> tuple[int, ...]:
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        """Decode ids without special tokens and outer spaces."""
        text = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text.strip()

    def response(self, response: Response) -> list[int]:
        """Return the ids of a response: a text gets an end of sequence, ids stay as they are."""
        return list(response) if isinstance(response, tuple) else [*self.encode(response), self.end]

    def continuations(
        self, prefix: str, choices: Sequence[str]
    ) -> tuple[list[int], list[list[int]]]:
        """Split prefix + choice into the ids that all choices share and the rest of each."""
        rows = [list(self.encode(prefix + choice)) for choice in choices]
        shared = num_shared(rows)
        return rows[0][:shared], [row[shared:] for row in rows]

    def first_tokens(self, choice: Choice) -> list[int]:
        """Return the first token of each option after `choice.after`; all must differ."""
        first = [rest[0] for rest in self.continuations(choice.after, choice.options)[1]]
        if len(set(first)) < len(first):
            raise ModelError(
                f"critic tokenizer: {', '.join(choice.options)} share their first token after "
                f"{choice.after!r}. Use a tokenizer that tells them apart."
            )
        return first

    def place_after(self, ids: Sequence[int], marker: str) -> int | None:
        """Return the index of the token after the last `marker`; None if a token straddles its end.

        A binary search finds the shortest prefix whose text reaches the marker's end.
        """
        text = self.text(ids)
        if marker not in text:
            return None
        end = text.rindex(marker) + len(marker)
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high) // 2
            if len(self.text(ids[:middle])) < end:
                low = middle + 1
            else:
                high = middle
        return low if low < len(ids) and self.text(ids[:low]).endswith(marker) else None


def _num_bytes(ids: tuple[int, ...]) -> int:
    return 32 * (2 + len(ids))  # a Python integer, and its place in the tuple
