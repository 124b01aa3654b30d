"""Checkpoints: exact, hashed, quarantined when bad, never silently started afresh."""

import logging
import random
import shutil
from pathlib import Path

import pytest
import torch

from dualipo import failpoints
from dualipo.errors import CheckpointError, StorageError
from dualipo.store import checkpoint


def save(folder: Path, step: int, total_limit: int = 5) -> None:
    tensors = {"w": torch.full((7, 3), step + 0.5), "b": torch.ones(2, dtype=torch.bfloat16)}
    state = {"step": step, "seed": 2**62 + 1}
    checkpoint.save(folder, step=step, tensors=tensors, state=state, total_limit=total_limit)


def load(folder: Path) -> checkpoint.Checkpoint:
    path = checkpoint.newest(folder)
    assert path is not None
    return checkpoint.load(path)


def test_what_is_saved_is_loaded_and_the_oldest_purged(tmp_path: Path) -> None:
    assert checkpoint.newest(tmp_path / "never") is None
    for step in (1, 20, 300):
        save(tmp_path, step, total_limit=2)
    latest = load(tmp_path)
    assert latest.step == 300 and latest.state == {"step": 300, "seed": 2**62 + 1}
    assert torch.equal(latest.tensors["w"], torch.full((7, 3), 300.5))
    assert latest.tensors["b"].dtype == torch.bfloat16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000020", "step-000300"]


def test_fault_97_a_copy_of_a_checkpoint_is_no_checkpoint_and_steps_are_numbers(
    tmp_path: Path,
) -> None:
    for step in (999_999, 1_000_000):
        save(tmp_path, step)
    for name in ("step-1000000 (copy)", "step-000002.old", "step-x"):
        shutil.copytree(tmp_path / "step-999999", tmp_path / name)
    assert load(tmp_path).step == 1_000_000
    save(tmp_path, 1_000_001, total_limit=2)
    assert not (tmp_path / "step-999999").exists() and (tmp_path / "step-x").exists()


def test_fault_12_a_flipped_bit_falls_back(tmp_path: Path, caplog) -> None:
    rng = random.Random(0)
    for trial in range(12):
        folder = tmp_path / str(trial)
        save(folder, 1)
        save(folder, 2)
        victim = rng.choice(sorted((folder / "step-000002").iterdir()))
        content = bytearray(victim.read_bytes())
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        victim.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert load(folder).step == 1
        assert "bad-0-step-000002" in caplog.text
        assert (folder / "bad-0-step-000002").is_dir()


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("how", ["missing", "truncated", "empty"])
def test_fault_13_a_missing_or_truncated_part_falls_back(tmp_path: Path, name, how) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2)
    victim = tmp_path / "step-000002" / name
    content = victim.read_bytes()
    victim.unlink()
    if how != "missing":
        victim.write_bytes(content[: len(content) // 2] if how == "truncated" else b"")
    assert load(tmp_path).step == 1


def test_fault_14_all_bad_is_an_error_now_and_later(tmp_path: Path) -> None:
    for step in (1, 2):
        save(tmp_path, step)
        (tmp_path / f"step-{step:06d}" / "state.json").write_text("{}")
    for _ in range(2):
        with pytest.raises(CheckpointError, match="every checkpoint is damaged"):
            checkpoint.newest(tmp_path)


def test_fault_15_a_full_disk_keeps_the_one_before(tmp_path: Path) -> None:
    save(tmp_path, 1)
    failpoints.arm("enospc@1")
    try:
        with pytest.raises(StorageError, match=r"step-000002: No space.* 88 bytes needed"):
            save(tmp_path, 2)
    finally:
        failpoints.arm("")
    assert load(tmp_path).step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    save(tmp_path, 2)
    assert load(tmp_path).step == 2


def test_fault_17_a_purge_that_fails_only_warns(tmp_path: Path, monkeypatch, caplog) -> None:
    def refuse(path: Path, ignore_errors: bool = False) -> None:
        if ignore_errors:
            return
        raise PermissionError(13, "Permission denied", str(path))

    save(tmp_path, 1, total_limit=1)
    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING):
        patched.setattr(shutil, "rmtree", refuse)
        save(tmp_path, 2, total_limit=1)
    assert "step-000001: not purged" in caplog.text
    assert load(tmp_path).step == 2


def test_fault_18_what_is_saved_is_the_value_at_save_time(tmp_path: Path) -> None:
    weight = torch.zeros(5)
    checkpoint.save(tmp_path, step=1, tensors={"w": weight}, state={}, total_limit=1)
    weight.add_(1)  # the optimizer goes on at once
    assert torch.equal(load(tmp_path).tensors["w"], torch.zeros(5))
