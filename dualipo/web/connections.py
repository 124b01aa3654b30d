"""Limits on the connections of a page's server, so that strangers cannot use them up.

A connection costs a file descriptor before any token is asked for. So there is a largest number of
connections; where it is reached, the oldest that waits for a request gives its place to the new
one. A connection that has not sent the whole head of a request in time is closed.

Left out: limits by address, as behind a proxy all people have one.
"""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0
_MOST = 256


def most_connections() -> int:
    """Return how many connections may be open: at most half of the process's descriptors."""
    return max(8, min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2))


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP, with a limit on connections and on the time that a request's head takes."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.opened = self.loop.time()
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        """True while no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, in the place of the oldest that waits where there are too many."""
        others: list[LimitedProtocol] = [*self.connections]  # type: ignore[list-item]
        super().connection_made(transport)
        if len(others) >= most_connections():
            waiting = [other for other in others if other.is_waiting]
            min(waiting, key=lambda other: other.opened, default=self).close()
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read what was sent, and stop the clock once that is a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop()
        super().connection_lost(exc)

    def close(self) -> None:
        """Close the connection without an answer."""
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        if not self.is_waiting:
            self._stop()
        elif self._deadline is None:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        if self.is_waiting:
            self.close()

    def _stop(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
