"""A cache is bounded by bytes, keeps what was used last, and changes no value."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from dualipo.store.byte_cache import ByteCache


def test_bytes_bound_what_is_kept_and_the_least_recently_used_goes() -> None:
    made = []

    def value(key: int, num_bytes: int) -> np.ndarray:
        def make() -> np.ndarray:
            made.append(key)
            return np.full(num_bytes, key, np.uint8)

        return cache.recall(key, make)

    cache: ByteCache[np.ndarray] = ByteCache(max_bytes=1000)
    for key in (1, 2, 1, 3, 1, 2):  # 3 displaces 2, as 1 was used since
        assert (value(key, 400) == key).all() and cache.num_bytes <= 1000
    assert made == [1, 2, 3, 2]
    assert value(9, 5000).nbytes == 5000 == cache.num_bytes  # the newest is kept, whatever its size
    value(1, 400)
    assert cache.num_bytes == 400
    cache.forget()
    assert cache.num_bytes == 0
    made.clear()
    value(1, 400)
    assert made == [1]


def test_threads_that_miss_one_key_at_once_count_it_once() -> None:
    cache: ByteCache[bytes] = ByteCache(max_bytes=10_000, size=len)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: cache.recall(n % 5, lambda: bytes(100)), range(400)))
    assert cache.num_bytes == 500
