"""Large numbers as people read them, and how fast this machine multiplies."""

import time

import torch


def count(number: float) -> str:
    """`1.42 billion`, `87.5 million`, `21,196`."""
    for unit, word in ((1e9, "billion"), (1e6, "million")):
        if number >= unit:
            return f"{number / unit:.3g} {word}"
    return f"{number:,.0f}"


def storage(num_bytes: float) -> str:
    """`20.1 TB`, `350 MB`, in powers of 1,000."""
    for unit, word in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.3g} {word}"
    return f"{num_bytes / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """`12 days`, `8.4 h`, `6.9 min`, `0.06 s`."""
    for least, unit, word in ((3 * 86400, 86400, "days"), (3600, 3600, "h"), (60, 60, "min")):
        if seconds >= least:
            return f"{seconds / unit:,.3g} {word}"
    return f"{seconds:.2g} s"


def matmul_rate() -> float:
    """FLOP/s of a large matrix product here: bfloat16 on a GPU, float32 on a CPU."""
    on_gpu = torch.cuda.is_available()
    width, dtype = (8192, torch.bfloat16) if on_gpu else (768, torch.float32)
    matrix = torch.ones(width, width, dtype=dtype, device="cuda" if on_gpu else "cpu")
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return 2 * width**3 / min(seconds)
