"""The elements of captions: lists that people edit, and which of their entries go together.

A folder holds a TOML file for each kind (`element_lists/` ships). Its tables are groups of entries;
a group's tags say what its entries are, and `needs` and `avoids` name tags of the other elements of
a caption, by their role. `categories.toml` says of which elements a caption of a category is made.

    subject  human.toml, animal.toml or vehicle.toml; in a caption without one the tag "scenery"
    action place light camera style: a file each
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dualipo.errors import DataError
from dualipo.prompts import toml_files
from dualipo.store import atomic

SHIPPED = Path(__file__).parent / "element_lists"
SUBJECTS = ("human", "animal", "vehicle")
ROLES = ("subject", "action", "place", "light", "camera", "style")
KINDS = (*SUBJECTS, *ROLES[1:])
SCENERY = "scenery"  # the tag of what stands for the subject in a caption that has none
FIELDS = (*ROLES, "scene", "is")

Role = Literal["subject", "action", "place", "light", "camera", "style"]
Tags = Mapping[Role, frozenset[str]]
Weight = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Entry(_Strict):
    text: str
    weight: Weight = 1.0


class _Group(_Strict):
    entries: Annotated[list[str | _Entry], Field(min_length=1)]
    tags: frozenset[str] = frozenset()
    needs: dict[Role, frozenset[str]] = {}
    avoids: dict[Role, frozenset[str]] = {}
    weight: Weight = 1.0
    plural: bool = False
    preposition: str = ""


class Pattern(_Strict):
    """A sentence with fields in braces, which a category draws by its weight."""

    text: str
    weight: Weight = 1.0

    def pieces(self) -> Iterator[tuple[str, str]]:
        """Yield each literal text and the field behind it ("" at the end)."""
        for literal, field, _, _ in Formatter().parse(self.text):
            yield literal, field or ""

    def roles(self) -> tuple[Role, ...]:
        """Return the roles that the sentence's fields have, in the order of `ROLES`."""
        fields = {field.lower() for _, field in self.pieces()}
        fields |= {"place"} if "scene" in fields else set()
        return tuple(role for role in ROLES if role in fields)  # type: ignore[misc]


class _Category(_Strict):
    patterns: Annotated[tuple[Pattern, ...], Field(min_length=1)]
    share: Annotated[float, Field(ge=0)] = 1.0
    subject: tuple[Literal["human", "animal", "vehicle"], ...] = ()
    only: dict[Role, frozenset[str]] = {}


@dataclass(frozen=True)
class Element:
    """An entry of a list; `scene` is a place's text without its preposition."""

    kind: str
    text: str
    scene: str = ""
    weight: float = 1.0
    plural: bool = False


@dataclass(frozen=True)
class Group:
    """Entries of one kind that share tags and conditions."""

    role: Role
    name: str
    tags: frozenset[str]
    needs: Tags
    avoids: Tags
    elements: tuple[Element, ...]

    def goes_with(self, other: "Group") -> bool:
        """Tell whether entries of both groups may stand in one caption."""
        return self._accepts(other) and other._accepts(self)

    def _accepts(self, other: "Group") -> bool:
        needed = self.needs.get(other.role)
        is_needed = needed is None or bool(needed & other.tags)
        return is_needed and not self.avoids.get(other.role, frozenset()) & other.tags


@dataclass(frozen=True)
class Category:
    """A kind of caption: its share, its sentences, and the groups that it draws from, by role."""

    name: str
    share: float
    patterns: tuple[Pattern, ...]
    groups: Mapping[Role, tuple[Group, ...]]


@dataclass(frozen=True)
class Elements:
    """All lists of a folder; `sha256` identifies their text."""

    groups: tuple[Group, ...]
    categories: tuple[Category, ...]
    sha256: str


_REMEDY = f"A folder of elements has a file for each of {', '.join(KINDS)}, and categories.toml."
_NO_SUBJECT = Group("subject", SCENERY, frozenset({SCENERY}), {}, {}, (Element("", ""),))


def load(folder: Path = SHIPPED) -> Elements:
    """Read the lists of a folder; a wrong key, tag, field or entry is a DataError."""
    groups: list[Group] = []
    for kind in KINDS:
        path = folder / f"{kind}.toml"
        tables = toml_files.read(path, dict[str, _Group], remedy=_REMEDY)
        groups += [_group(kind, name, table, path) for name, table in tables.items()]
    path = folder / "categories.toml"
    categories = [
        _category(name, table, groups, path)
        for name, table in toml_files.read(path, dict[str, _Category], remedy=_REMEDY).items()
    ]
    _check_tags(groups, folder)
    hashes = [atomic.sha256_file(folder / f"{name}.toml") for name in (*KINDS, "categories")]
    sha256 = hashlib.sha256("".join(hashes).encode()).hexdigest()
    return Elements(tuple(groups), tuple(categories), sha256)


def _group(kind: str, name: str, table: _Group, path: Path) -> Group:
    if (kind == "place") != bool(table.preposition):
        fact = "has no preposition" if kind == "place" else "has a preposition"
        raise DataError(f'{path}: {name} {fact}. Only places have one, as in "on a stone pier".')
    entries = [_Entry(text=e) if isinstance(e, str) else e for e in table.entries]
    if len({entry.text for entry in entries}) < len(entries):
        raise DataError(f"{path}: {name} has an entry twice. Remove one of them.")
    elements = tuple(
        Element(
            kind=kind,
            text=f"{table.preposition} {entry.text}".strip(),
            scene=entry.text if kind == "place" else "",
            weight=entry.weight * table.weight,
            plural=table.plural,
        )
        for entry in entries
    )
    role: Any = "subject" if kind in SUBJECTS else kind
    tags = table.tags | {kind} if kind in SUBJECTS else table.tags
    return Group(role, f"{kind}.{name}", tags, table.needs, table.avoids, elements)


def _category(name: str, table: _Category, groups: list[Group], path: Path) -> Category:
    for pattern in table.patterns:
        try:
            fields = {field.lower() for _, field in pattern.pieces() if field}
        except ValueError as error:
            raise DataError(f"{path}: {name}: {pattern.text!r}: {error}. Correct it.") from None
        if unknown := fields - set(FIELDS):
            raise DataError(
                f"{path}: {name} has the field {{{min(unknown)}}}. Known are {', '.join(FIELDS)}."
            )
        if "subject" in fields and not table.subject:
            raise DataError(
                f"{path}: {name} has a {{subject}} but no list of them. Name `subject`."
            )
    chosen: dict[Role, tuple[Group, ...]] = {}
    for role in ROLES:
        own = [g for g in groups if g.role == role and _is_admitted(g, table)]
        chosen[role] = tuple(own) if role != "subject" or table.subject else (_NO_SUBJECT,)  # type: ignore[index]
        if not chosen[role]:  # type: ignore[index]
            raise DataError(f"{path}: {name} admits no {role}. Correct its `only`.")
    return Category(name, table.share, table.patterns, chosen)


def _is_admitted(group: Group, table: _Category) -> bool:
    tags = table.only.get(group.role)
    is_kind = group.role != "subject" or group.elements[0].kind in table.subject
    return is_kind and (tags is None or bool(tags & group.tags))


def _check_tags(groups: list[Group], folder: Path) -> None:
    """Raise a DataError for a tag that a group needs or avoids and no group has: a typo."""
    known: dict[str, set[str]] = {role: set() for role in ROLES}
    known["subject"] = {SCENERY}
    for group in groups:
        known[group.role] |= group.tags
    for group in groups:
        for tags in (group.needs, group.avoids):
            for role, named in tags.items():
                if unknown := named - known[role]:
                    raise DataError(
                        f"{folder}: {group.name} names the tag {min(unknown)!r}, which no {role} "
                        "has. Correct the tag."
                    )
