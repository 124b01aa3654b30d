"""Pickled state dicts: converted without running their code, or refused (fault 49)."""

import argparse
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from dualipo.cli import convert
from dualipo.cli.convert import read_state_dict
from dualipo.errors import ModelError
from tests.cli.conftest import Ended


class Malicious:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.slow
def test_a_state_dict_becomes_safetensors(dualipo: Callable[..., Ended], tmp_path: Path) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    torch.save({"state_dict": {"a.weight": weight, "tied.weight": weight}}, tmp_path / "model.pt")
    ended = dualipo("convert", "model.pt")
    assert (ended.returncode, ended.stdout) == (0, "model.safetensors: 2 tensors\n")
    written = load_file(tmp_path / "model.safetensors")
    assert torch.equal(written["a.weight"], weight) and torch.equal(written["tied.weight"], weight)
    again = dualipo("convert", "model.pt")
    assert again.returncode == 2 and "exists already" in again.stderr


@pytest.mark.parametrize(
    "save", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, protocol=2))]
)
def test_fault_49_convert_runs_no_code(
    tmp_path: Path, save: Callable[[object, Path], object]
) -> None:
    canary, path = tmp_path / "canary", tmp_path / "model.bin"
    save({"weight": torch.ones(2), "trap": Malicious(canary)}, path)
    with pytest.raises(ModelError, match="could run code"):
        read_state_dict(path)
    assert not canary.exists()


@pytest.mark.parametrize(
    ("pickled", "sought"),
    [
        ("pytorch_model.bin", "model.safetensors"),
        ("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"),
    ],
)
def test_a_folder_is_converted_to_the_names_that_loaders_look_for(
    tmp_path: Path, pickled: str, sought: str
) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / pickled)
    torch.save({"rate": 0.1}, tmp_path / "training_args.bin")
    convert.act(argparse.Namespace(source=tmp_path, target=None))
    assert load_file(tmp_path / sought)["weight"].tolist() == [1, 1]
    with pytest.raises(ModelError, match="exists already"):
        convert.act(argparse.Namespace(source=tmp_path, target=None))


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ({"a": "part.bin", "b": "part.bin"}, "1 of its tensors are in no file, the first is b"),
        ({"a": "../part.bin"}, "not beside it"),
        ({"a": "gone.bin"}, "there is no such file"),
        (["a"], "it is no index of weights"),
    ],
)
def test_an_index_that_does_not_fit_is_refused_and_none_written(
    tmp_path: Path, places: object, says: str
) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "part.bin")
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(ModelError, match=says):
        convert.act(argparse.Namespace(source=tmp_path, target=None))
    assert not (tmp_path / "model.safetensors.index.json").exists()


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04torn", b"\x80\x02}q\x00"])
def test_fault_49_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.bin"):
        read_state_dict(path)


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save([torch.ones(2)], tmp_path / "model.pt")
    with pytest.raises(ModelError, match="not a state dict"):
        read_state_dict(tmp_path / "model.pt")
