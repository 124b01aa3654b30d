"""Whatever a library writes where the disk refuses is one error: path, bytes, remedy, exit code 3.

The kernel refuses by the limit on a file's size, which every library meets as it meets a full disk.
"""

import errno
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from dualipo.errors import StorageError
from dualipo.generator import weights
from dualipo.store import atomic, tensors
from dualipo.training import sharded
from tests.critic import vlms
from tests.critic.conftest import make_tokenizer, make_vila
from tests.generator.conftest import make_pipeline

LIMIT = 8_000  # bytes; every writer below writes more
NUMBERS = {"weight": torch.arange(10_000.0)}


@contextmanager
def full_disk() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def published(write: Callable[[Path], object]) -> Callable[[Path], None]:
    def publish(folder: Path) -> None:
        with atomic.publish_folder(folder, num_bytes=123) as temporary:
            write(temporary)

    return publish


def checkpoint(folder: Path) -> None:
    sharded.save(folder, step=1, tensors=NUMBERS, state={}, total_limit=1)


WRITERS: dict[str, Callable[[], Callable[[Path], Any]]] = {
    "a critic in VILA's layout": lambda: published(make_vila().save),
    "a VLM of transformers": lambda: published(vlms.make("qwen2_5_vl").save_pretrained),
    "a tokenizer": lambda: published(make_tokenizer().save_pretrained),
    "a generator version": lambda: (
        lambda folder: weights.publish(make_pipeline().transformer, folder)
    ),
    "a pipeline": lambda: published(make_pipeline().save_pretrained),
    "tensors": lambda: lambda folder: tensors.save(folder / "a.safetensors", NUMBERS, metadata={}),
    "a checkpoint in parts": lambda: checkpoint,
}


@pytest.mark.parametrize("name", WRITERS)
def test_fault_15_a_library_that_may_not_write_is_an_error_of_the_disk(
    name: str, tmp_path: Path
) -> None:
    write = WRITERS[name]()
    with full_disk(), pytest.raises(StorageError) as refusal:
        write(tmp_path / "target")
    text = str(refusal.value)
    assert refusal.value.exit_code == 3 and str(tmp_path / "target") in text, text
    assert "ulimit" in text or "Free that much" in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    write(tmp_path / "target")  # there is room again
    assert [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "failure",
    [
        SafetensorError("Error while serializing: No space left on device (os error 28)"),
        Exception("No space left on device (os error 28)"),  # of tokenizers
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 704 vs 598"),
        OSError("300000 requested and 25584 written"),  # of numpy
        OSError(errno.ENOSPC, "Detail: [errno 28] No space left on device"),  # of pyarrow
    ],
)
def test_fault_15_what_libraries_say_of_a_full_disk(failure: Exception, tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match=r"model: No space left on device, 5 bytes needed \(\d+"),
        atomic.storage_errors(tmp_path / "model", num_bytes=5),
    ):
        raise failure


def test_other_errors_of_libraries_pass(tmp_path: Path) -> None:
    for failure in (RuntimeError("shape mismatch"), StorageError("x: [Errno 28] told already.")):
        with pytest.raises(type(failure)) as passed, atomic.storage_errors(tmp_path):
            raise failure
        assert passed.value is failure
