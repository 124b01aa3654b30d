"""Tensor files: equal content gives equal bytes, and no pickle is ever opened."""

import pickle
from pathlib import Path

import pytest
import torch

from dualipo.errors import ModelError
from dualipo.store import atomic, stored, tensors

NAMED = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(3, dtype=torch.bfloat16)}
METADATA = {f"key{number}": str(number) for number in range(8)}


def test_equal_content_gives_equal_bytes_whatever_the_order(tmp_path: Path) -> None:
    first = tensors.save(tmp_path / "1.safetensors", NAMED, metadata=METADATA)
    turned = dict(reversed(METADATA.items()))
    again = tensors.save(tmp_path / "2.safetensors", dict(reversed(NAMED.items())), metadata=turned)
    assert first == again == atomic.sha256_file(tmp_path / "2.safetensors")
    assert tensors.read_metadata(tmp_path / "2.safetensors") == METADATA
    loaded = tensors.load(tmp_path / "1.safetensors")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in NAMED.items())
    assert loaded["a"].dtype == torch.bfloat16


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latents.safetensors"
    tensors.save(path, NAMED, metadata={})
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ModelError, match="not safetensors"):
        tensors.load(path)


class Canary:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("suffix", [".pt", ".bin", ".ckpt", ".PTH"])
def test_fault_49_a_pickle_is_refused_unopened(tmp_path: Path, suffix: str) -> None:
    path, canary = tmp_path / f"weights{suffix}", tmp_path / "canary"
    path.write_bytes(pickle.dumps(Canary(canary)))
    for read in (tensors.load, tensors.read_metadata):
        with pytest.raises(ModelError, match="dualipo convert"):
            read(path)
    path.rename(tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="not safetensors"):
        tensors.load(tmp_path / "weights.safetensors")
    assert not canary.exists()


def test_the_hash_of_parameters_sees_names_types_shapes_and_bytes() -> None:
    weight = torch.zeros(4)
    variants = [
        {"w": weight},
        {"v": weight},
        {"w": weight.half()},
        {"w": weight.reshape(2, 2)},
        {"w": torch.tensor([0.0, 0.0, 0.0, -0.0])},
        {"w": weight, "s": torch.tensor(1.0)},
    ]
    assert len({tensors.hash_parameters(variant) for variant in variants}) == len(variants)
    assert tensors.hash_parameters({"w": torch.zeros(4)}) == tensors.hash_parameters({"w": weight})


def test_stored_tensors_are_read_when_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "some.safetensors"
    tensors.save(path, {"a": torch.ones(2), "b": torch.zeros(3)}, metadata={})
    places = [(str(path), name) for name in stored.names(str(path))]
    assert [tuple(tensor.shape) for tensor in stored.StoredList(places)] == [(2,), (3,)]
    table = stored.StoredTable(dict(zip("xy", places, strict=True)))
    assert torch.equal(table["y"], torch.zeros(3)) and list(table) == ["x", "y"]
    path.unlink()
    with pytest.raises(FileNotFoundError):
        table["x"]
