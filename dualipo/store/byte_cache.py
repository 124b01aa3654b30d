"""A cache that is bounded by bytes: what was used least recently goes first.

A number of entries bounds nothing where one entry may be a thousand times another: a decoded clip
of 81 frames of 480 x 832 has 97 MB.

    recall(key, make)   key is remembered: return its value, and mark it as just used
                        else: compute it by make(), keep it, and drop the least recently used
                        values until the rest fits into `max_bytes`
    forget()            what the values depend on has changed: drop everything

Dropping a value costs time and changes nothing, as `make` gives the same again. At least the newest
one is kept, whatever its size. Several threads may share a cache: two that miss one key at once
both compute it.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Values by key, the least recently used first; `size` tells the bytes of one."""

    def __init__(self, *, max_bytes: int, size: Callable[[Value], int] | None = None) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._size = size or _nbytes
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Value] = OrderedDict()

    def recall(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value remembered under `key`, or compute it by `make` and remember it."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        value = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = value
                self.num_bytes += self._size(value)
            while self.num_bytes > self.max_bytes and len(self._kept) > 1:
                _, forgotten = self._kept.popitem(last=False)
                self.num_bytes -= self._size(forgotten)
        return value

    def forget(self) -> None:
        """Drop all values."""
        with self._lock:
            self._kept.clear()
            self.num_bytes = 0


def _nbytes(value: Any) -> int:
    return int(value.nbytes)
