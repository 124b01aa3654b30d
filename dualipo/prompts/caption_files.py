"""Reads captions of every kind of file, in batches of one shape, without reading a file whole.

A folder of parquet shards, one parquet file, CSV, JSON, JSON Lines, or text (`.txt`, or a name
without an ending) with one caption a line. The caption is in the first of the columns
`CAPTION_COLUMNS` that the file has; the columns of `shards.SCHEMA` are kept where it has them, and
all others are passed by.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dualipo import text_files
from dualipo.captions import prompt_id
from dualipo.errors import DataError
from dualipo.prompts import shards
from dualipo.store import atomic, row_files

CAPTION_COLUMNS = ("caption", "prompt", "prompt_en", "text")
ROWS_PER_BATCH = 20_000
GIVEN = "given"
_TABLES = {".csv", ".json", ".jsonl"}
_TEXT = {"", ".txt"}  # of a table of another kind, each line would become a caption
_TEXTS = (
    *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
    *(pa.types.is_binary, pa.types.is_large_binary),
)
_KEPT = tuple(name for name in shards.SCHEMA.names if name != "caption")


def batches(path: Path, *, num_rows: int = ROWS_PER_BATCH) -> Iterator[pa.Table]:
    """Yield the rows of a file or folder in the columns of `shards.SCHEMA`."""
    if _is_device(path):  # /dev/zero has no end
        raise _missing(path, "it is a device")
    if os.path.isdir(path) or path.suffix.lower() == ".parquet":
        for file in shards.files(path) if path.is_dir() else [path]:
            yield from _parquet(file, num_rows)
    elif path.suffix.lower() in _TABLES:
        yield from _collected(_dictionaries(path), num_rows)
    elif path.suffix.lower() in _TEXT:
        yield from _collected(({"caption": line} for line in _lines(path)), num_rows)
    else:
        raise DataError(
            f"{path}: captions are not read from {path.suffix} files. Save it as .txt with one "
            "caption a line, or as .csv, .json, .jsonl or .parquet."
        )


def _is_device(path: Path) -> bool:
    """Tell whether a path is a device; a path that cannot be looked at is told when it is read."""
    try:
        return path.is_char_device() or path.is_block_device()
    except OSError:
        return False


def read(path: Path) -> tuple[list[str], list[str] | None]:
    """Return all captions, and their categories where the file has any."""
    captions: list[str] = []
    categories: list[str] = []
    for batch in batches(path):
        captions += batch["caption"].to_pylist()
        categories += batch["category"].to_pylist()
    return captions, categories if any(categories) else None


def named(batch: pa.Table) -> pa.Table:
    """Return the rows with an id, and with the source "given" where they have none."""
    captions = batch["caption"].to_pylist()
    ids = zip(batch["prompt_id"].to_pylist(), captions, strict=True)
    columns = {
        "prompt_id": [own or prompt_id(caption) for own, caption in ids],
        "source": [own or GIVEN for own in batch["source"].to_pylist()],
    }
    for name, values in columns.items():
        place = batch.schema.get_field_index(name)
        batch = batch.set_column(place, name, pa.array(values, pa.string()))
    return batch


def fingerprint(path: Path) -> str:
    """Return a hash of the content of a file or folder of captions."""
    paths = shards.files(path) if path.is_dir() else [path]
    if not all(file.is_file() for file in paths):
        raise _missing(path)
    hashes = "".join(atomic.sha256_file(file) for file in paths)
    return hashlib.sha256(hashes.encode()).hexdigest()


def _missing(path: Path, fact: str = "there is no such file") -> DataError:
    return DataError(f"{path}: {fact}. Name a file or folder of captions.")


def _parquet(path: Path, num_rows: int) -> Iterator[pa.Table]:
    atomic.require_readable(path)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as opened:
            names = opened.schema_arrow.names
            text_files.require_unique(names, str(path))
            caption = caption_column(names, path)
            _require_texts(opened.schema_arrow.field(caption), path)
            columns = [caption, *(name for name in _KEPT if name in names)]
            for batch in opened.iter_batches(num_rows, columns=columns, use_threads=False):
                yield _in_shape(pa.table(batch), caption)
    except FileNotFoundError:
        raise _missing(path) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        fact = f"damaged or not parquet ({error})"
        raise DataError(f"{path}: {fact}. Make or download it again.") from None


def _require_texts(column: pa.Field, path: Path) -> None:
    """Refuse a column that a cast would make texts of, such as numbers."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    tests = (*_TEXTS, pa.types.is_null)
    if not any(test(kind) for test in tests):
        raise DataError(
            f"{path}: its column {column.name} holds no texts but {kind}. Write the captions into "
            "a column of texts."
        )


def _in_shape(batch: pa.Table, caption: str) -> pa.Table:
    columns = []
    for field in shards.SCHEMA:
        name = caption if field.name == "caption" else field.name
        if name not in batch.column_names:
            columns.append(pa.nulls(len(batch), field.type))
        else:
            columns.append(batch[name].cast(field.type))
        if field.type == pa.string():
            columns[-1] = pc.fill_null(columns[-1], "")
            columns[-1].validate(full=True)  # parquet's texts need not be UTF-8
    return pa.table(columns, schema=shards.SCHEMA)


def _dictionaries(path: Path) -> Iterator[dict[str, Any]]:
    caption = ""
    for line, row in row_files.whole_rows(path):
        if caption not in row:
            caption = caption_column(list(row), path)
        text = row[caption]
        if not isinstance(text, str):
            raise DataError(f"{path}:{line}: its {caption} is no text. Correct this line.")
        kept: dict[str, Any] = {n: row[n] for n in _KEPT if isinstance(row.get(n), str)}
        if (seed := str(kept.pop("seed", row.get("seed")))).isdecimal() and len(seed) < 19:
            kept["seed"] = int(seed)
        yield {"caption": text, **kept}


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 text as they stand; blank ones are skipped."""
    try:
        for number, line in text_files.lines(path):
            if isinstance(line, text_files.Unreadable):
                raise DataError(f"{path}:{number}: {line} Save the file as UTF-8.")
            if line.strip():
                yield line
    except OSError as missing:
        raise _missing(path, text_files.os_fact(missing)) from missing


def _collected(rows: Iterable[dict[str, Any]], num_rows: int) -> Iterator[pa.Table]:
    remaining = iter(rows)
    while own := list(islice(remaining, num_rows)):
        columns: dict[str, list[Any]] = {
            name: [row.get(name, "") for row in own] for name in shards.SCHEMA.names
        }
        columns["seed"] = [row.get("seed") for row in own]
        yield pa.table(columns, schema=shards.SCHEMA)


def caption_column(names: Iterable[str], path: Path) -> str:
    """Return the column that holds the captions."""
    known = list(names)
    for name in CAPTION_COLUMNS:
        if name in known:
            return name
    raise DataError(
        f"{path}: no column of captions among {', '.join(known) or 'none'}. Name it one of "
        f"{', '.join(CAPTION_COLUMNS)}."
    )
