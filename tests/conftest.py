"""One thread: where cores are shared, two OpenMP threads are ten times slower than one.

It stands before anything imports torch, which reads it once.
"""

import contextlib
import os

import psutil
import pytest

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


# Tests with these fixtures train a critic, run the loop, start a command, or need a browser.
SLOW_FIXTURES = {"models_folder", "taught_folder", "headed", "dualipo", "browser"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests with slow fixtures as slow."""
    for item in items:
        if not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `cuda` on a machine without a GPU."""
    if item.get_closest_marker("cuda") is not None:
        import torch

        if not torch.cuda.device_count():
            pytest.skip("no CUDA device")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End what tests have started and left running, such as the child of a test that timed out.

    The pipes of such a child stay open: who waits for the suite's output would wait for ever.
    """
    if hasattr(session.config, "workerinput") or not session.config.getoption("numprocesses", None):
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
