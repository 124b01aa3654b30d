"""Parquet tables of records, published whole, with a kind and a schema version in the file.

Equal rows give equal bytes (with one version of pyarrow), so a table's sha256 is its identity.
Columns follow from a frozen dataclass, or are given one by one. Left out: nested columns other
than lists of one type.
"""

import io
import types
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import pyarrow as pa
import pyarrow.parquet as pq

from dualipo.errors import DataError
from dualipo.records import SCHEMA_VERSION
from dualipo.store import atomic

Record = TypeVar("Record")

_ARROW_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}


def write_records(path: Path, records: Sequence[Record], *, record_type: type[Record]) -> str:
    """Publish dataclass instances, one a row; return the file's sha256.

    A field that is declared as optional has no column where no row has a value.
    """
    rows = [asdict(record) for record in records]  # type: ignore[call-overload]
    columns = columns_of(record_type)
    for name in _optional(record_type):
        if all(row[name] is None for row in rows):
            columns.pop(name)
            rows = [{key: value for key, value in row.items() if key != name} for row in rows]
    return write_rows(path, rows, kind=record_type.__name__, columns=columns)


def read_records(path: Path, *, record_type: type[Record]) -> list[Record]:
    """Read what `write_records` wrote; raise DataError for another kind of table."""
    rows = read_rows(path, kind=record_type.__name__)
    hints = get_type_hints(record_type)
    for name in {name for row in rows[:1] for name in row} & _optional(record_type):
        if _of(hints[name], tuple):
            for row in rows:
                row[name] = None if row[name] is None else tuple(row[name])
    try:
        return [record_type(**row) for row in rows]
    except TypeError as mismatch:
        raise DataError(f"{path}: {mismatch}. Delete it and repeat its stage.") from None


def write_rows(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    *,
    kind: str,
    columns: Mapping[str, pa.DataType],
) -> str:
    """Publish mappings whose keys are exactly `columns`; return the file's sha256."""
    for row in rows:
        assert row.keys() == columns.keys(), f"{path}: {set(row) ^ set(columns)}"
    metadata = {"kind": kind, "schema_version": str(SCHEMA_VERSION)}
    schema = pa.schema(list(columns.items()), metadata=metadata)
    sink = io.BytesIO()
    table = pa.Table.from_pylist(list(rows), schema=schema)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    atomic.write_bytes(path, sink.getvalue())
    return atomic.sha256_file(path)


def read_rows(path: Path, *, kind: str, restore: str | None = None) -> list[dict[str, Any]]:
    """Read a table of `kind`; raise DataError for one that is damaged or of another kind.

    `restore` is the remedy of a table that no stage writes.
    """
    remedy = restore or "Delete it and repeat the stage that writes it."
    if not path.is_file():
        raise DataError(f"{path}: no such table. {restore or 'Repeat the stage that writes it.'}")
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as opened:
            table = opened.read(use_threads=False)
        header = table.schema.metadata or {}
        metadata = {key.decode(): text.decode() for key, text in header.items()}
        rows = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError, OverflowError) as broken:
        raise DataError(f"{path}: torn or not parquet ({broken}). {remedy}") from None
    if metadata.get("kind") != kind:
        raise DataError(f"{path}: holds {metadata.get('kind')!r}, not {kind!r}. {remedy}")
    version = metadata.get("schema_version", "")
    if not version.isdecimal():
        raise DataError(f"{path}: it has no schema version. {remedy}")
    if int(version) > SCHEMA_VERSION:
        raise DataError(
            f"{path}: schema version {version} is newer. Use the dualipo that wrote it."
        )
    return rows


def kind_of(path: Path) -> str | None:
    """Return the kind of a table, or None where the file is no table of ours."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (pa.ArrowException, OSError, ValueError):
        return None
    return str(metadata[b"kind"].decode()) if b"kind" in metadata else None


def columns_of(record_type: type) -> dict[str, pa.DataType]:
    """Derive the columns of a dataclass of plain values."""
    hints = get_type_hints(record_type)
    return {field.name: _arrow_type(hints[field.name]) for field in fields(record_type)}


def _optional(record_type: Any) -> set[str]:
    """Return the fields of a dataclass that have a column only where a row has a value."""
    return {field.name for field in fields(record_type) if field.metadata.get("optional")}


def _of(hint: Any, kind: type) -> bool:
    """Tell whether a type is `kind`, or `kind` or None."""
    return kind in (get_origin(hint), *(get_origin(inner) for inner in get_args(hint)))


def _arrow_type(hint: Any) -> pa.DataType:
    origin = get_origin(hint)
    if origin is Literal:
        return _ARROW_TYPES[type(get_args(hint)[0])]
    if origin in (Union, types.UnionType):
        members = {_arrow_type(inner) for inner in get_args(hint) if inner is not types.NoneType}
        assert len(members) == 1, f"{hint}: a column has one type"
        return members.pop()
    if origin in (list, tuple):
        return pa.list_(_arrow_type(get_args(hint)[0]))
    return _ARROW_TYPES[hint]
