"""An alignment verifies the files of the latents that it needs, and no others."""

import shutil
from pathlib import Path

import pytest

from dualipo.errors import DataError, ModelError
from dualipo.progress import PlainProgress
from dualipo.records import Candidate
from dualipo.rounds import sampling
from dualipo.rounds.loop import opened
from dualipo.store import tables
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


def damage(path: Path) -> None:
    """Change the last byte, which is a number of a tensor."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_fault_34_the_files_of_named_candidates_are_verified_and_no_others(
    keeping: Harness,
) -> None:
    with harnesses.elsewhere(keeping) as path:
        shutil.copytree(keeping.path, path)
        rows = tables.read_records(
            path / "rounds" / "000" / "candidates.parquet", record_type=Candidate
        )
        first = [row for row in rows if row.prompt_id == rows[0].prompt_id]
        named = {row.candidate_id for row in first}

        def body() -> None:
            with opened(keeping.recipe(path), PlainProgress()) as run:
                files = [sampling.latents_path(run, 0, f"{index:04d}") for index in (0, 1)]
                damage(files[1])
                latents, texts = sampling.stored_latents(run, 0, candidates=named)
                assert {file for file, _ in latents.values()} == {str(files[0])}
                assert named <= latents.keys() and first[0].prompt_id in texts
            damage(files[0])
            with (
                opened(keeping.recipe(path), PlainProgress()) as run,
                pytest.raises(DataError, match=r"0000\.safetensors: its sha256"),
            ):
                sampling.stored_latents(run, 0, candidates=named)
            damage(files[0])  # undone
            files[1].write_bytes(files[1].read_bytes()[:-1])
            with (
                opened(keeping.recipe(path), PlainProgress()) as run,
                pytest.raises(ModelError, match=r"0001\.safetensors: not safetensors"),
            ):
                sampling.stored_latents(run, 0, candidates=named)

        assert harnesses.in_child(body, path=path) == 0, harnesses.log(path)
