"""A fixed amount of arithmetic as a unit of work, for `workers.py`; a worker imports it by name."""

import time

import torch

WIDTH = 256


def open_nothing(num_threads: int) -> torch.Tensor:
    """Open a bench that is one matrix."""
    torch.set_num_threads(num_threads)
    return torch.ones(WIDTH, WIDTH) / WIDTH


def multiply(matrix: torch.Tensor, times: int) -> float:
    """Multiply a matrix with itself so many times; return a number of it."""
    product = matrix
    for _ in range(times):
        product = product @ matrix
    return float(product[0, 0])


def times_in(seconds: float) -> int:
    """Return how many products take about so many seconds of one thread."""
    matrix, num = open_nothing(1), 200
    start = time.process_time()
    multiply(matrix, num)
    return max(1, round(num * seconds / (time.process_time() - start)))
