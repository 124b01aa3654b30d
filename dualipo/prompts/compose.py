"""Composes captions of elements, from a seed, in shards (METHOD.md section 2).

    shard -> its rows of each category -> a pattern for each row -> elements, one role at a time

A shard depends on the seed and its number alone, so shards can be made again, or in any order. An
element is drawn in two steps, its group and then the entry, because whether two elements go
together depends on their groups alone. Subject, action and place are drawn so that each leaves a
choice for the next: a table over their groups says which triples are possible at all.

Left out: two shards may hold the same caption. `screen` drops repeats.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from dualipo.captions import prompt_id
from dualipo.errors import ConfigError, DataError
from dualipo.prompts import shards
from dualipo.prompts.elements import Category, Element, Elements, Group, Pattern, Role
from dualipo.prompts.shards import ShardFolder
from dualipo.seeds import derive

SOURCE = "composed"
_CORE = ("subject", "action", "place")


@dataclass(frozen=True)
class Order:
    """The number of captions to compose, and of what; `shares` replaces the lists' own."""

    num: int
    seed: int = 0
    rows_per_shard: int = 50_000
    shares: Mapping[str, float] | None = None

    def quotas(self, elements: Elements, start: int, stop: int) -> dict[str, int]:
        """Return the rows of each category among the rows [start, stop) of all.

        Every part of the rows has its share within one row, and the parts sum up exactly.
        """
        shares = {category.name: category.share for category in elements.categories}
        if self.shares is not None:
            if unknown := self.shares.keys() - shares.keys():
                raise ConfigError(
                    f"share of {min(unknown)!r}: no such category. Known are {', '.join(shares)}."
                )
            shares = {name: self.shares.get(name, 0.0) for name in shares}
        total = sum(shares.values())
        if total <= 0 or min(shares.values()) < 0:
            raise ConfigError("shares: none is above 0, or one is below. Give at least one.")
        ends = np.cumsum([0.0, *(share / total for share in shares.values())])
        ends[-1] = 1.0
        begin, end = (np.round(ends * rows).astype(int) for rows in (start, stop))
        numbers = np.diff(end) - np.diff(begin)
        # Rounding may take one row back from a category whose neighbours grew: none is below 0.
        while (numbers < 0).any():
            numbers[numbers.argmax()] -= 1
            numbers[numbers.argmin()] += 1
        return {name: int(number) for name, number in zip(shares, numbers, strict=True)}


def compose(
    folder: Path,
    order: Order,
    elements: Elements,
    *,
    on_shard: Callable[[int], None] = lambda num_rows: None,
) -> int:
    """Write the shards that are missing in `folder`; return the number of captions in all."""
    num_shards = -(-order.num // order.rows_per_shard)
    plan = {
        "num": order.num,
        "seed": order.seed,
        "rows_per_shard": order.rows_per_shard,
        "shares": None if order.shares is None else dict(order.shares),
        "elements": elements.sha256,
        "num_shards": num_shards,
    }
    order.quotas(elements, 0, order.num)  # refuses wrong shares before anything is written
    target = ShardFolder(folder, command="compose", plan=plan)
    makers = {category.name: Composer(category) for category in elements.categories}
    for index in target.missing(num_shards):
        table = shard(order, elements, makers, index)
        target.write(index, table)
        on_shard(table.num_rows)
    return order.num


def shard(
    order: Order, elements: Elements, makers: Mapping[str, "Composer"], index: int
) -> pa.Table:
    """Return the rows of the shard of this number, categories in random order."""
    start = index * order.rows_per_shard
    stop = min(start + order.rows_per_shard, order.num)
    rng = np.random.default_rng(derive("captions", order.seed, index))
    captions: list[str] = []
    parts: list[str] = []
    categories: list[str] = []
    for name, num in order.quotas(elements, start, stop).items():
        own_captions, own_parts = makers[name].compose(num, rng)
        captions += own_captions
        parts += own_parts
        categories += [name] * num
    place = rng.permutation(stop - start)
    columns = {
        "prompt_id": [prompt_id(caption) for caption in captions],
        "caption": captions,
        "category": categories,
        "elements": parts,
        "seed": pa.array(np.full(stop - start, order.seed)),
        "source": [SOURCE] * (stop - start),
        "original": [""] * (stop - start),
    }
    return pa.table(columns, schema=shards.SCHEMA).take(place)


class Composer:
    """Draws captions of one category."""

    def __init__(self, category: Category) -> None:
        self.category = category
        self._lists = {role: _List(groups) for role, groups in category.groups.items()}
        self._pairs = {
            (first, second): np.array([[a.goes_with(b) for b in seconds] for a in firsts])
            for first, firsts in category.groups.items()
            for second, seconds in category.groups.items()
        }
        weights = np.array([pattern.weight for pattern in category.patterns])
        self._pattern_shares = weights / weights.sum()

    def compose(self, num: int, rng: np.random.Generator) -> tuple[list[str], list[str]]:
        """Return `num` captions, and the elements of each as JSON."""
        captions: list[str] = []
        parts: list[str] = []
        numbers = rng.multinomial(num, self._pattern_shares)
        for pattern, number in zip(self.category.patterns, numbers, strict=True):
            if number:
                drawn = self._draw(pattern.roles(), int(number), rng)
                captions += _sentences(pattern, drawn)
                parts += _as_json(list(drawn.values()))
        return captions, parts

    def _draw(
        self, roles: tuple[Role, ...], num: int, rng: np.random.Generator
    ) -> dict[Role, list[Element]]:
        """Return `num` elements of each role that go together, row by row."""
        core = tuple(role for role in _CORE if role in (*roles, "subject"))
        possible = self._possible(core)
        groups: dict[Any, np.ndarray] = {}
        drawn: dict[Role, list[Element]] = {}
        for role in (*core, *(role for role in roles if role not in core)):
            allowed = np.ones((num, len(self._lists[role].groups)), dtype=bool)
            for before, chosen in groups.items():
                allowed &= self._pairs[before, role][chosen]
            if role in core:
                rest = possible[tuple(groups[before] for before in core if before in groups)]
                axes = tuple(range(rest.ndim - (len(core) - 1 - len(groups)), rest.ndim))
                allowed &= rest.any(axis=axes)
            if not allowed.any(axis=1).all():
                self._refuse(role, drawn, int(np.argmin(allowed.any(axis=1))))
            groups[role], drawn[role] = self._lists[role].draw(allowed, rng)
        return {role: own for role, own in drawn.items() if role in roles}

    def _possible(self, core: tuple[Any, ...]) -> np.ndarray:
        """Return which groups of the core roles go together, all at once: an axis a role."""
        possible = np.ones([len(self._lists[role].groups) for role in core], dtype=bool)
        for first, one_role in enumerate(core):
            for second in range(first + 1, len(core)):
                shape = [1] * len(core)
                shape[first], shape[second] = possible.shape[first], possible.shape[second]
                possible &= self._pairs[one_role, core[second]].reshape(shape)
        return possible

    def _refuse(self, role: str, drawn: Mapping[Role, list[Element]], row: int) -> None:
        others = ", ".join(repr(own[row].text) for own in drawn.values() if own[row].text)
        raise DataError(
            f"elements of {self.category.name}: no {role} goes with {others or 'any other'}. "
            "Correct what these lists need and avoid."
        )


class _List:
    """The groups of a role as arrays, to draw many elements at once."""

    def __init__(self, groups: tuple[Group, ...]) -> None:
        self.groups = groups
        self.elements = [element for group in groups for element in group.elements]
        sizes = np.array([len(group.elements) for group in groups])
        self._first = np.cumsum(sizes) - sizes
        self._last = self._first + sizes - 1
        self._ends = np.cumsum([element.weight for element in self.elements])
        self._starts = np.concatenate([[0.0], self._ends])[self._first]
        self._weights = self._ends[self._last] - self._starts

    def draw(
        self, allowed: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[Element]]:
        """Draw for each row one of its allowed groups, and an element of it, by their weights."""
        ends = np.cumsum(allowed * self._weights, axis=1)
        total = ends[:, -1:]
        group = (ends <= rng.random((len(ends), 1)) * total).sum(axis=1)
        group = np.minimum(group, (ends < total).sum(axis=1))  # rounding may reach the total
        within = self._starts[group] + rng.random(len(group)) * self._weights[group]
        index = np.searchsorted(self._ends, within, side="right")
        index = np.clip(index, self._first[group], self._last[group])
        return group, [self.elements[i] for i in index.tolist()]


def _sentences(pattern: Pattern, drawn: Mapping[Role, list[Element]]) -> list[str]:
    num = len(next(iter(drawn.values())))
    columns: list[list[str]] = []
    for literal, field in pattern.pieces():
        columns.append([literal] * num)
        if field:
            columns.append([_spell(field, element) for element in _owners(field, drawn)])
    return ["".join(row) for row in zip(*columns, strict=True)]


def _owners(field: str, drawn: Mapping[Role, list[Element]]) -> list[Element]:
    role: Any = {"is": "subject", "scene": "place"}.get(field.lower(), field.lower())
    return drawn[role]


def _spell(field: str, element: Element) -> str:
    if field == "is":
        return "are" if element.plural else "is"
    text = element.scene if field.lower() == "scene" else element.text
    return text[:1].upper() + text[1:] if field[0].isupper() else text


def _as_json(columns: list[list[Element]]) -> list[str]:
    """Return each row's elements as JSON, from kind to text."""
    return [
        json.dumps({element.kind: element.text for element in row}, ensure_ascii=False)
        for row in zip(*columns, strict=True)
    ]
