"""Stored tensors: a text's rows of zeros are not on disk, and are there when it is read."""

from pathlib import Path

import torch

from dualipo.store import stored, tensors

LENGTH, WIDTH = 512, 8


def text(num_filled: int) -> torch.Tensor:
    rows_LD = torch.zeros(LENGTH, WIDTH, dtype=torch.bfloat16)
    rows_LD[:num_filled] = torch.randn(num_filled, WIDTH).to(torch.bfloat16)
    return rows_LD


def test_fault_71_a_text_is_read_as_it_was_saved_and_takes_what_its_words_take(
    tmp_path: Path,
) -> None:
    torch.manual_seed(0)
    texts = {"short": text(3), "long": text(100), "empty": text(0)}
    texts["holed"] = text(5)
    texts["holed"][2] = 0.0
    latent = torch.randn(2, 3, 4, 5)
    cut, padding = stored.without_zeros(texts)
    path = tmp_path / "unit.safetensors"
    tensors.save(path, cut | {"latent": latent}, metadata=padding)
    for name, saved in (texts | {"latent": latent}).items():
        assert torch.equal(stored.read((str(path), name)), saved)
    num_rows = 3 + 100 + 1 + 5
    assert path.stat().st_size < num_rows * WIDTH * 2 + latent.nbytes + 1000


def test_texts_that_are_filled_to_the_end_make_the_file_that_they_made(tmp_path: Path) -> None:
    texts = {"full": torch.ones(4, WIDTH), "other": torch.ones(4, WIDTH)}
    cut, padding = stored.without_zeros(texts)
    assert padding == {}
    hashes = [
        tensors.save(tmp_path / f"{n}.safetensors", saved, metadata={"axes": "LD", **more})
        for n, (saved, more) in enumerate([(texts, {}), (cut, padding)])
    ]
    assert hashes[0] == hashes[1]
