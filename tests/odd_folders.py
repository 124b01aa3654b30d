"""Changes that make a sound model's folder odd, for the corpora of model folders."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentencepiece import sentencepiece_model_pb2

Change = Callable[[Path], object]
Tensors = dict[str, torch.Tensor]

MARK = b"\xef\xbb\xbf"
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4\n"
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000


def edited(name: str, **values: Any) -> Change:
    """Change values of a JSON file; None takes a key away."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text()) | values
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / name).write_text(json.dumps(kept))

    return change


def written(name: str, content: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)

    return change


def prefixed(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content + (folder / name).read_bytes())


def torn(name: str, share: float = 0.5) -> Change:
    def change(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * share)])

    return change


def recoded(name: str, encoding: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_text().encode(encoding))

    return change


def gone(*names: str) -> Change:
    def change(folder: Path) -> None:
        for name in names:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    return change


def renamed(name: str, new: str) -> Change:
    return lambda folder: (folder / name).rename(folder / new)


def linked(name: str) -> Change:
    """Move a file away and leave a link, as a download's cache does."""

    def change(folder: Path) -> None:
        target = folder.parent / f"{folder.name}-blob"
        (folder / name).rename(target)
        (folder / name).symlink_to(target)

    return change


def folder_at(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def weights(name: str, change_tensors: Callable[[Tensors], Tensors]) -> Change:
    def change(folder: Path) -> None:
        changed = change_tensors(load_file(folder / name))
        save_file(changed, folder / name, {"format": "pt"})

    return change


def without_last(tensors: Tensors) -> Tensors:
    return {name: tensor for name, tensor in tensors.items() if name != max(tensors)}


def with_longer_first(tensors: Tensors) -> Tensors:
    first = min(tensors)
    return tensors | {first: torch.cat([tensors[first]] * 2)}


def ending_in(number: float) -> Callable[[Tensors], Tensors]:
    """Put a number at the end of the last weight."""

    def changed(tensors: Tensors) -> Tensors:
        last = max(tensors)
        odd = tensors[last].clone()
        odd.flatten()[-1] = number
        return tensors | {last: odd}

    return changed


def as_type(dtype: torch.dtype) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()}


def sharded(name: str, *, index: bool = True) -> Change:
    """Split a file of weights over two, as large models are published."""

    def change(folder: Path) -> None:
        path = folder / name
        tensors, stem = load_file(path), path.name.removesuffix(".safetensors")
        path.unlink()
        places: dict[str, str] = {}
        for number in (1, 2):
            shard = f"{stem}-{number:05}-of-00002.safetensors"
            part = {key: tensors[key] for key in sorted(tensors)[number - 1 :: 2]}
            save_file(part, path.parent / shard, {"format": "pt"})
            places |= dict.fromkeys(part, shard)
        if index:
            table = {"metadata": {}, "weight_map": places}
            (path.parent / f"{path.name}.index.json").write_text(json.dumps(table))

    return change


def after(*changes: Change) -> Change:
    """Make several changes, one after the other."""

    def change(folder: Path) -> None:
        for step in changes:
            step(folder)

    return change


def replaced(name: str, old: str, new: str) -> Change:
    """Replace a text that stands in a file, once."""

    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def scheduler(made: Any) -> Change:
    """Replace a pipeline's scheduler, in the index as well."""

    def change(folder: Path) -> None:
        shutil.rmtree(folder / "scheduler")
        made.save_pretrained(folder / "scheduler")
        edited("model_index.json", scheduler=["diffusers", type(made).__name__])(folder)

    return change


def sentencepiece_alone(part: str, scores: dict[str, float], **ids: int) -> Change:
    """Replace a tokenizer's tokenizer.json by a sentencepiece model of these pieces."""

    def change(folder: Path) -> None:
        (folder / part / "tokenizer.json").unlink()
        model = sentencepiece_model_pb2.ModelProto()
        special = {"<unk>": 2, **{piece: 3 for piece in ("<pad>", "<s>", "</s>")}}
        for piece, score in scores.items():
            model.pieces.add(piece=piece, score=score, type=special.get(piece, 1))
        model.trainer_spec.model_type = 1  # Unigram
        for name, number in ids.items():
            setattr(model.trainer_spec, f"{name}_id", number)
        model.normalizer_spec.name = "identity"
        (folder / part / "spiece.model").write_bytes(model.SerializeToString())

    return change
