"""The speed of this machine's device: how fast it multiplies matrices."""

import time

import torch


def matmul_rate() -> float:
    """Measure the FLOP/s of a large matrix product: bfloat16 on a GPU, float32 on a CPU."""
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
