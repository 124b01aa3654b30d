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
# Files that take over twenty seconds begin first: two processes then end at about the same time.
LONG_FILES = (
    *(
        "rounds/test_kills.py",
        "rounds/test_changed_settings.py",
        "generator/test_shared_alignment.py",
    ),
    *("rounds/test_device.py", "rounds/test_spread.py", "cli/test_wheel.py", "rounds/test_loop.py"),
    *("rounds/test_bad_clips.py", "rounds/test_publishing.py", "rounds/test_preferring.py"),
    *("rounds/test_tuning.py", "rounds/test_commands.py", "rounds/test_held_out_judges.py"),
    *("rounds/test_cogvideox.py", "cli/test_main.py", "cli/test_push.py", "test_style.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests with slow fixtures as slow, and put the files that take long in front."""
    for item in items:
        if not SLOW_FIXTURES.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONG_FILES))


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
