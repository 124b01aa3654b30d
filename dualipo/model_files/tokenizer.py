"""Tokenizers from local folders: one that reads a probe sentence, or an error.

A folder whose vocabulary is missing becomes an empty tokenizer without a word from its library, and
every caption then reads the same. So a sentence is read, and must come back in pieces.
"""

from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from dualipo.errors import ModelError
from dualipo.model_files import settings_files, weight_files
from dualipo.model_files.guard import LOCAL, reading
from dualipo.model_files.weight_files import FETCH

PROBES = ("a red ball rolls over the table", "two blue cubes jump on a green hill")
SENTENCEPIECE = ("spiece.model", "tokenizer.model")
VOCABULARIES = ("tokenizer.json", *SENTENCEPIECE, "vocab.json")
_JSON = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
)
_COPY = "Copy the tokenizer's files that the model was published with."
_MAX_UNKNOWN = 0.5  # the share of a probe's tokens that may be unknown
_MIN_KNOWN = 0.9  # of a model's embeddings; published ones are padded by 0.4 % at most


def read(folder: Path, *, kind: Any = AutoTokenizer) -> Any:
    """Read a folder's tokenizer, by its class or by what its files say; refuse one that cannot."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder. {FETCH}")
    if not any((folder / name).is_file() for name in VOCABULARIES):
        raise ModelError(
            f"{folder}: no vocabulary, which is one of {', '.join(VOCABULARIES)}. {_COPY}"
        )
    for name in _JSON:
        if (folder / name).is_file():
            _refuse_doubles(folder / name, settings_files.read(folder / name))
    if not (folder / "tokenizer.json").is_file():
        for name in SENTENCEPIECE:
            if (folder / name).is_file():
                _refuse_unreadable(folder / name)
    with reading(folder):
        tokenizer = kind.from_pretrained(folder, **LOCAL)
        rows = [tokenizer(probe, add_special_tokens=False)["input_ids"] for probe in PROBES]
    _refuse_unread(folder, tokenizer, rows)
    return tokenizer


def refuse_other_vocabulary(folder: Path, tokenizer: Any, *, num_embeddings: int) -> None:
    """Raise a ModelError where a tokenizer belongs to another model than the embeddings do."""
    last = max(tokenizer.get_vocab().values())
    if last < num_embeddings and len(tokenizer) >= _MIN_KNOWN * num_embeddings:
        return
    raise ModelError(
        f"{folder}: its tokenizer has {len(tokenizer)} tokens up to id {last}, the model has "
        f"{num_embeddings} embeddings. Copy the tokenizer that the model was published with."
    )


def refuse_other_layout(folder: Path, tokenizer: Any, *, end: Any) -> None:
    """Raise a ModelError unless a text ends with the token `end`, and is padded behind it."""
    with reading(folder):
        row = tokenizer(PROBES[0])["input_ids"]
        padded = tokenizer(PROBES[0], padding="max_length", max_length=len(row) + 2)["input_ids"]
    if padded[: len(row)] != row:
        raise ModelError(
            f"{folder}: its tokenizer pads a text at its beginning, where the model reads it from "
            f"the first token on. {_COPY}"
        )
    if isinstance(end, int) and row[-1] != end:
        raise ModelError(
            f"{folder}: its tokenizer ends a text with token {row[-1]}, the text encoder with "
            f"token {end}. {_COPY}"
        )


def _refuse_unread(folder: Path, tokenizer: Any, rows: list[list[int]]) -> None:
    unknown = [token == tokenizer.unk_token_id for row in rows for token in row]
    if rows[0] == rows[1] or not all(rows) or sum(unknown) > _MAX_UNKNOWN * len(unknown):
        raise ModelError(
            f"{folder}: its tokenizer does not read {PROBES[0]!r}: {len(rows[0])} tokens, "
            f"{sum(unknown)} of {len(unknown)} unknown. {_COPY}"
        )


def _refuse_doubles(path: Path, content: dict[str, Any]) -> None:
    """Refuse a vocabulary in which a token has two ids, or two tokens share one."""
    model = content.get("model")
    vocabulary = model.get("vocab") if isinstance(model, dict) else None
    if path.name == "vocab.json":
        vocabulary = content
    if isinstance(vocabulary, dict):
        kind, entries = "id", [str(number) for number in vocabulary.values()]
    elif isinstance(vocabulary, list):
        rows = [row for row in vocabulary if isinstance(row, list) and row]
        kind, entries = "token", [str(row[0]) for row in rows]
    else:
        return
    entry, number = Counter(entries).most_common(1)[0] if entries else ("", 0)
    if number > 1:
        raise ModelError(
            f"{path}: the {kind} {entry!r} stands {number} times in its vocabulary. {_COPY}"
        )


def _refuse_unreadable(path: Path) -> None:
    """Refuse a sentencepiece model that is torn: its library's own error names something else."""
    weight_files.refuse_pointer(path)
    with reading(path):
        import_module("google.protobuf")  # without it transformers would ask for another package
        import_module("sentencepiece").SentencePieceProcessor(model_file=str(path))
