"""Tensors that stay in their files until they are read: a round's do not fit into memory.

A place is a safetensors file and a name inside it. Files' hashes are checked before places are
handed out. Leaves out a cache: the operating system has one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from safetensors import SafetensorError, safe_open
from torch import Tensor

from dualipo.errors import ModelError

Place = tuple[str, str]


@dataclass(frozen=True)
class StoredList(Sequence[Tensor]):
    """Stored tensors by position."""

    places: Sequence[Place]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]  # no slices
        return read(self.places[index])


@dataclass(frozen=True)
class StoredTable(Mapping[str, Tensor]):
    """Stored tensors by key."""

    places: Mapping[str, Place]

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __getitem__(self, key: str) -> Tensor:
        return read(self.places[key])


def read(place: Place) -> Tensor:
    """Read one tensor, and nothing else of its file."""
    path, name = place
    with safe_open(path, framework="pt") as opened:
        return opened.get_tensor(name)


def names(path: str) -> list[str]:
    """List the names of a file's tensors, by its header."""
    try:
        with safe_open(path, framework="pt") as opened:
            return list(opened.keys())
    except SafetensorError as broken:
        raise ModelError(f"{path}: not safetensors ({broken}). Restore or rewrite it.") from None
