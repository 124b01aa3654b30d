"""The web server: it serves an application on one address until it is stopped.

No other module imports uvicorn.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn

from dualipo.errors import ConfigError
from dualipo.web.connections import LimitedProtocol
from dualipo.web.security import Guard

_REMEDIES: dict[int | None, str] = {
    errno.EADDRINUSE: "If the page is being served already, use it; else choose another --port.",
    errno.EACCES: "Choose a --port from 1024 on, which needs no special right.",
}


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; an address that is in use is a ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio leaves Nagle on and every answer waits for 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, UnicodeError, TypeError) as refusal:  # a host may be no name at all
        listening.close()
        fact = getattr(refusal, "strerror", None) or refusal
        remedy = _REMEDIES.get(
            getattr(refusal, "errno", None), "Give --host an address of this machine."
        )
        raise ConfigError(f"{host}:{port}: cannot be listened on ({fact}). {remedy}") from None
    listening.listen(128)
    return listening


def address(listening: socket.socket, host: str) -> str:
    """Return the URL under which a browser reaches the socket."""
    port = listening.getsockname()[1]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: Guard, listening: socket.socket) -> None:
    """Serve until a signal ends the server; finish the requests that are under way."""
    _server(app).run(sockets=[listening])


@contextmanager
def serving(app: Guard, listening: socket.socket) -> Iterator[None]:
    """Serve in a thread of its own while the block runs."""
    server = _server(app)
    thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            thread.join(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join(10)


class _Server(uvicorn.Server):
    """A uvicorn server that ends event streams at once; they would keep it alive for seconds."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams, then shut down."""
        self.config.app.closing.set()  # type: ignore[union-attr]
        await super().shutdown(sockets=sockets)


def _server(app: Guard) -> uvicorn.Server:
    # No access log: it would hold addresses of clips and people's habits. No Server header. No
    # warnings: a stranger causes as many lines as he likes, on the disk of the run.
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=3,
    )
    return _Server(config)
