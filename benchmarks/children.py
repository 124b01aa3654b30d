"""Runs a piece of a benchmark in a process of its own, whose memory and clocks begin anew."""

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Literal


def in_child(work: Callable[..., Any], *arguments: Any, start: Literal["fork", "spawn"]) -> Any:
    """Return what `work` returns; its error is raised here, and a child that dies is an error."""
    context = multiprocessing.get_context(start)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def with_peak(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Return what `work` returns, and this process's peak memory in MB."""
    result = work(*arguments)
    return result, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
