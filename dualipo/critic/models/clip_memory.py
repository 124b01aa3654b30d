"""What a critic whose weights rest remembers of the clips it has seen, within a number of bytes.

A clip's visual tokens do not change while the weights do not, so each clip goes through the vision
tower once a critic version. What does not fit is forgotten, the least recently used first, and
looked at again: with the same result, as a clip is always looked at alone.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor


class ClipMemory:
    """Visual tokens by clip."""

    def __init__(self, *, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.num_bytes = 0
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()

    def recall(self, key: Hashable, look: Callable[[], Tensor]) -> Tensor:
        """What is kept under `key`; else what `look` sees, which is kept."""
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
        """Look at everything again."""
        self._kept.clear()
        self.num_bytes = 0
