"""Parquet tables of records, published whole, with a kind and a schema version in the file.

Equal rows give equal bytes (with one version of pyarrow), so a table's sha256 is its identity.
Columns follow from a frozen dataclass, or are given one by one. Left out: nested columns other
than lists of one type.
"""

import io
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields
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
    columns, optional = columns_of(record_type), _optional(record_type)
    cells = {name: [getattr(record, name) for record in records] for name in columns}
    for name in optional:
        if all(value is None for value in cells[name]):
            del cells[name], columns[name]
    return _publish(path, cells, kind=record_type.__name__, columns=columns)


def read_records(path: Path, *, record_type: type[Record]) -> list[Record]:
    """Read what `write_records` wrote; raise DataError for another kind of table."""
    table = _read(path, kind=record_type.__name__)
    hints, optional = get_type_hints(record_type), _optional(record_type)
    columns = {}
    for name in table.column_names:
        values = _shared(table.column(name))
        if name in optional and _of(hints[name], tuple):
            values = [None if value is None else tuple(value) for value in values]
        columns[name] = values
    try:
        return [
            record_type(**dict(zip(columns, row, strict=True)))
            for row in zip(*columns.values(), strict=True)
        ]
    except TypeError as mismatch:
        raise DataError(f"{path}: {mismatch}. Delete it and repeat its stage.") from None


def _shared(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values; equal texts are one object, as a caption has many clips."""
    if not pa.types.is_string(column.type):
        values: list[Any] = column.to_pylist()
        return values
    known: dict[Any, Any] = {}
    return [known.setdefault(text, text) for batch in column.chunks for text in batch.to_pylist()]


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
    cells = {name: [row[name] for row in rows] for name in columns}
    return _publish(path, cells, kind=kind, columns=columns)


def _publish(
    path: Path, cells: Mapping[str, list[Any]], *, kind: str, columns: Mapping[str, pa.DataType]
) -> str:
    """Publish columns of cells as a table; return the file's sha256."""
    metadata = {"kind": kind, "schema_version": str(SCHEMA_VERSION)}
    schema = pa.schema(list(columns.items()), metadata=metadata)
    sink = io.BytesIO()
    arrays = [pa.array(cells[name], type_) for name, type_ in columns.items()]
    table = pa.Table.from_arrays(arrays, schema=schema)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    atomic.write_bytes(path, sink.getvalue())
    return atomic.sha256_file(path)


def read_rows(path: Path, *, kind: str, restore: str | None = None) -> list[dict[str, Any]]:
    """Read a table of `kind`; raise DataError for one that is damaged or of another kind.

    `restore` is the remedy of a table that no stage writes.
    """
    rows: list[dict[str, Any]] = _read(path, kind=kind, restore=restore).to_pylist()
    return rows


def _read(path: Path, *, kind: str, restore: str | None = None) -> pa.Table:
    remedy = restore or "Delete it and repeat the stage that writes it."
    if not path.is_file():
        raise DataError(f"{path}: no such table. {restore or 'Repeat the stage that writes it.'}")
    atomic.require_readable(path)
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as opened:
            table = opened.read(use_threads=False)
        header = table.schema.metadata or {}
        metadata = {key.decode(): text.decode() for key, text in header.items()}
        table.validate(full=True)
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
    return table


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
