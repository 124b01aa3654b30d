"""Tensors that stay in their files until they are read: a round's do not fit into memory.

A place is a safetensors file and a name inside it. Files' hashes are checked before places are
handed out. Leaves out a cache: the operating system has one.

Text embeddings [L, D] are stored without the rows of zeros at their end, which are most of Wan's
512. Their file says how many rows to fill up again, so that what is read is what was saved.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.functional import pad

from dualipo.errors import ModelError

Place = tuple[str, str]
_LENGTH, _TEXT_AXES = "text_length", 2


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
    """Read one tensor, and nothing else of its file; a text gets its rows of zeros again."""
    path, name = place
    with safe_open(path, framework="pt") as opened:
        tensor: Tensor = opened.get_tensor(name)
        length = (opened.metadata() or {}).get(_LENGTH)
    if length is None or tensor.ndim != _TEXT_AXES:
        return tensor
    return pad(tensor, (0, 0, 0, int(length) - len(tensor)))


def without_zeros(texts: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Cut the rows of zeros off texts of one length; return them and their file's metadata."""
    cut = {name: text_LD[: _num_filled(text_LD)].clone() for name, text_LD in texts.items()}
    lengths = {len(text_LD) for text_LD in texts.values()}
    if all(len(cut[name]) == len(text_LD) for name, text_LD in texts.items()):
        return cut, {}
    assert len(lengths) == 1, "texts of one file are filled up to one length"
    return cut, {_LENGTH: str(lengths.pop())}


def _num_filled(text_LD: Tensor) -> int:
    """Count the rows up to the last one that is not zero; one at least."""
    filled = text_LD.any(1).nonzero()
    return int(filled[-1]) + 1 if len(filled) else 1


def names(path: str) -> list[str]:
    """List the names of a file's tensors, by its header."""
    try:
        with safe_open(path, framework="pt") as opened:
            return list(opened.keys())
    except SafetensorError as broken:
        raise ModelError(f"{path}: not safetensors ({broken}). Restore or rewrite it.") from None
