"""The stored form of an event (`events`): from a frozen dataclass to plain JSON values and back.

A field is stored under its name, unless its type is one of the four below. A run's digest covers
the stored bytes, so this form is fixed.

Reading is lenient towards other versions of dualipo: a missing field takes its default, and a key
that no field has is collected by name, so that somebody can say it once.
"""

import functools
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from types import NoneType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from dualipo.errors import DataError

Record = TypeVar("Record")

T = TypeVar("T")
Omitted = Annotated[T, "omitted"]  # not stored while it is None
Inline = Annotated[T, "inline"]  # a record whose keys stand among those of the event that holds it
Whole = Annotated[T, "whole"]  # the only field of an event: its value is stored without a key
InName = Annotated[T, "in name"]  # stands in the event's name and not in its value


def to_json(value: Any) -> Any:
    """Return a record, or anything that a record holds, as plain JSON values."""
    if isinstance(value, Mapping):
        return {key: to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    if not is_dataclass(value):
        return value
    stored: dict[str, Any] = {}
    for name, hint in _hints(type(value)).items():
        part, form = getattr(value, name), _form(hint)
        if form == "whole":
            return to_json(part)
        if form == "in name" or (part is None and form in ("omitted", "inline")):
            continue
        stored |= to_json(part) if form == "inline" else {name: to_json(part)}
    return stored


@dataclass(frozen=True)
class Reader:
    """Reads records from JSON; `subject` names their file, `unknown` collects keys it passed by."""

    subject: str
    unknown: set[str]

    def record(
        self, kind: type[Record], value: Any, *, name: str, in_name: Mapping[str, str]
    ) -> Record:
        """Return a record of this kind; `name` is its place in messages, such as "align"."""
        hints = _hints(kind)
        parts: dict[str, Any] = dict(in_name)
        for key, hint in hints.items():
            if _form(hint) == "whole":
                return kind(**{key: self._value(hint, value, name)})
        if not isinstance(value, Mapping):
            raise self._refusal(f"the event {name} holds no table")
        known: set[str] = set()
        for declared in fields(kind):  # type: ignore[arg-type]
            if declared.name not in parts:
                known |= self._field(declared, hints[declared.name], value, name, parts)
        self.unknown.update(f"{name}.{key}" for key in value.keys() - known)
        return kind(**parts)

    def _field(
        self,
        declared: Field[Any],
        hint: Any,
        value: Mapping[str, Any],
        name: str,
        parts: dict[str, Any],
    ) -> set[str]:
        """Add one field to `parts` if it is stored; return the keys that belong to it."""
        key, is_optional = declared.name, declared.default is not MISSING
        if _form(hint) == "inline":
            kind = _bare(hint)
            keys = {inner.name for inner in fields(kind)}
            stored = {inner: value[inner] for inner in sorted(keys & value.keys())}
            if stored or not is_optional:
                parts[key] = self.record(kind, stored, name=name, in_name={})
            return keys
        if key in value:
            parts[key] = self._value(hint, value[key], f"{name}.{key}")
        elif not is_optional:
            raise self._refusal(f"the event {name} has no {key}")
        return {key}

    def _value(self, hint: Any, value: Any, name: str) -> Any:
        """Return what a field holds; numbers and texts are taken as they are."""
        hint = _bare(hint)
        inner = get_args(hint)
        if value is None:
            return None
        if is_dataclass(hint):
            return self.record(hint, value, name=name, in_name={})  # type: ignore[arg-type]
        if get_origin(hint) is list:
            return [self._value(inner[0], item, name) for item in value]
        if get_origin(hint) is dict:
            return {key: self._value(inner[1], item, name) for key, item in value.items()}
        return tuple(value) if get_origin(hint) is tuple else value

    def _refusal(self, fact: str) -> DataError:
        return DataError(
            f"{self.subject}: {fact}. Another version of dualipo wrote it; read it with that one."
        )


def _hints(kind: Any) -> dict[str, Any]:
    """Return the types of a record's fields by name."""
    return _cached_hints(kind)  # two functions, since mypy takes a dataclass for unhashable


@functools.cache
def _cached_hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _form(hint: Any) -> str | None:
    """Return how a field of this type is stored; None for a key of its own."""
    return hint.__metadata__[0] if get_origin(hint) is Annotated else None


def _bare(hint: Any) -> Any:
    """Return X for the hints X | None and Annotated[X | None, ...]."""
    if get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    choices = get_args(hint)
    if NoneType not in choices:
        return hint
    return next(choice for choice in choices if choice is not NoneType)
