"""A stage reads files that are still the ones that were committed; one that differs is named."""

from pathlib import Path

import pytest

from dualipo.config import Config
from dualipo.errors import DataError, ModelError
from dualipo.store import atomic
from dualipo.store.file_hashes import FileHashes, folder_hashes
from dualipo.store.ledger import Unit
from dualipo.store.rundir import RunDir


@pytest.fixture
def run(tmp_path: Path):
    """Return an open run with a model of two files, and a table whose name begins like it."""
    opened = RunDir.open(tmp_path / "run", Config())
    names = [
        "rounds/000/model/a.safetensors",
        "rounds/000/model/b.json",
        "rounds/000/model0.parquet",
    ]
    for name in names:
        atomic.write_text(opened.path / name, f"content of {name}")
    hashes = {name: atomic.sha256_file(opened.path / name) for name in names}
    opened.ledger.commit_unit(Unit(0, 0, "align"), files=hashes)
    yield opened
    opened.close()


def test_fault_91_a_flipped_byte_in_a_folder_is_found_once_a_process_and_named(run: RunDir) -> None:
    folder = run.path / "rounds/000/model"
    first = FileHashes(run.path, run.ledger)
    assert first.checked(folder) == folder
    content = bytearray((folder / "b.json").read_bytes())
    content[3] ^= 1
    (folder / "b.json").write_bytes(content)
    first.checked(folder)  # compared already
    with pytest.raises(DataError, match=r"model/b\.json: its sha256 is .*changed or damaged"):
        FileHashes(run.path, run.ledger).checked(folder)
    FileHashes(run.path, run.ledger).checked(run.path / "rounds/000/model0.parquet")


def test_a_file_that_is_missing_or_that_no_unit_made_is_named(run: RunDir) -> None:
    hashes, path = FileHashes(run.path, run.ledger), run.path / "rounds/000/model0.parquet"
    path.unlink()
    with pytest.raises(DataError, match=r"model0\.parquet: no such file"):
        hashes.checked(path)
    with pytest.raises(DataError, match="no unit of the ledger made it"):
        hashes.checked(run.path / "rounds/000/other.parquet")


def test_fault_91_another_base_model_between_two_processes_is_refused_by_name(
    run: RunDir, tmp_path: Path
) -> None:
    folder = tmp_path / "generator"
    for name in ("vae/weights.safetensors", "transformer/weights.safetensors", "README.md"):
        atomic.write_text(folder / name, name)
    (folder / "loop").symlink_to(folder)
    FileHashes(run.path, run.ledger).checked_model(folder, "generator")
    (folder / "README.md").write_text("another card changes no model")
    FileHashes(run.path, run.ledger).checked_model(folder, "generator")
    (folder / "vae/weights.safetensors").write_text("another")
    (folder / "vae/more.safetensors").write_text("new")
    with pytest.raises(ModelError, match=r"vae/more\.safetensors, vae/weights\.safetensors differ"):
        FileHashes(run.path, run.ledger).checked_model(folder, "generator")


def test_links_to_files_and_folders_are_followed(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "blobs/part/weights.safetensors", "content")
    model = tmp_path / "model"
    model.mkdir()
    (model / "transformer").symlink_to(tmp_path / "blobs/part")
    (model / "vae.safetensors").symlink_to(tmp_path / "blobs/part/weights.safetensors")
    assert folder_hashes(model).keys() == {"transformer/weights.safetensors", "vae.safetensors"}
