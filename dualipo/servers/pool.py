"""Several addresses that serve one model: which of them a request goes to, and which rest.

A request goes to the address with the fewest requests under way. One that fails rests for a while,
and is knocked at before it is used again. Where all rest, all are tried: a lone address never
rests.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx

REST = 30.0  # seconds that an address rests after a failure


class Pool:
    """The addresses of one model; threads may share it."""

    def __init__(
        self,
        addresses: Sequence[httpx.URL],
        *,
        is_up: Callable[[httpx.URL], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.addresses = tuple(addresses)
        self._is_up, self._now = is_up, now
        self._lock = threading.Lock()
        self._num_open = [0] * len(addresses)
        self._rests_until = [0.0] * len(addresses)  # 0 for one that is not known to have failed

    @contextmanager
    def taken(self) -> Iterator[int]:
        """Choose an address for one request, and count it as under way; yield its number."""
        number = self._choose()
        try:
            yield number
        finally:
            with self._lock:
                self._num_open[number] -= 1

    def rest(self, number: int) -> None:
        """Let an address rest, because a request to it failed."""
        with self._lock:
            self._rests_until[number] = self._now() + REST

    def _choose(self) -> int:
        self._knock()
        with self._lock:
            every = range(len(self.addresses))
            awake = [n for n in every if not self._rests_until[n]] or every
            number = min(awake, key=lambda n: (self._num_open[n], n))
            self._num_open[number] += 1
        return number

    def _knock(self) -> None:
        """Wake the addresses that have rested and answer again; the others rest once more."""
        with self._lock:
            rested = [n for n, until in enumerate(self._rests_until) if 0 < until <= self._now()]
            for number in rested:  # others need not knock as well
                self._rests_until[number] = self._now() + REST
        for number in rested:
            if self._is_up(self.addresses[number]):
                with self._lock:
                    self._rests_until[number] = 0.0
