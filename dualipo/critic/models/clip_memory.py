"""A critic's memory of the clips it has seen: visual tokens, up to a number of bytes.

A clip's visual tokens depend on the clip and the weights alone. As long as the weights do not
change, each clip therefore goes through the vision tower once, however many questions are asked
about it:

    recall(key, look)   key is remembered: return its tokens, and mark them as just used
                        else: compute them by look(), keep them, and drop the least recently
                        used clips until the rest fits into `max_bytes`
    forget()            the weights have changed: drop everything

Dropping a clip costs time and changes nothing: a clip is always computed alone, never in a batch
whose other members could change its rounding, so that its tokens are the same every time. At least
the newest clip is kept, whatever its size.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor


class ClipMemory:
    """Visual tokens by clip, the least recently used first."""

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()

    def recall(self, key: Hashable, look: Callable[[], Tensor]) -> Tensor:
        """Return the tokens remembered under `key`, or compute them by `look` and remember them."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        seen = self._kept[key] = look()
        self.num_bytes += seen.nbytes
        while self.num_bytes > self.max_bytes and len(self._kept) > 1:
            _, forgotten = self._kept.popitem(last=False)
            self.num_bytes -= forgotten.nbytes
        return seen

    def forget(self) -> None:
        """Drop all tokens, so that every clip is looked at again."""
        self._kept.clear()
        self.num_bytes = 0
