"""The servers of one folder of weights: started with it, started again when they die, ended.

Each is a process group under `attached`, with its own port, its own devices and its own log. A
server that died is started again at its port, so its address stays the same.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dualipo.config.servers import Server
from dualipo.errors import StageError
from dualipo.servers.endpoint import Endpoint, Failure
from dualipo.store import atomic

MAX_STARTS = 4  # of one server: one that dies each time has a fault that a start cannot mend
_POLL = 0.2  # seconds between two looks at a server that starts
_SHOWN_LINES = 5
_SHOWN_CHARACTERS = 300  # of each
_MEND = "Run the command by hand, and mend it until it serves."


@dataclass
class _Server:
    """One server: its port, what its process finds in the environment, and its log."""

    port: int
    environment: Mapping[str, str]
    log: Path
    num_starts: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    keeper: int = field(default=-1)  # our end of the pipe, which keeps the process

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @cached_property
    def endpoint(self) -> Endpoint:
        return Endpoint(Server(base_url=self.base_url), settings_name=None)


class Fleet:
    """Servers that serve one folder; `environments` has one entry for each of them."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        environments: Sequence[Mapping[str, str]],
        log_folder: Path,
        ready_timeout: float,
    ) -> None:
        self._command, self._folder = command, folder
        self._ready_timeout = ready_timeout
        atomic.make_folder(log_folder)
        self._servers = [
            _Server(_free_port(), environment, log_folder / f"server-{number}.log")
            for number, environment in enumerate(environments)
        ]

    @property
    def base_urls(self) -> list[str]:
        """The addresses of all servers, also of those that are down at the moment."""
        return [server.base_url for server in self._servers]

    @property
    def num_alive(self) -> int:
        """The number of servers whose processes run, ready or not."""
        return sum(server.is_alive for server in self._servers)

    def start(self) -> list[dict[str, str]]:
        """Start every server, and wait for all; return the row by which each lists its model."""
        for server in self._servers:
            self._start(server)
        return [self._ready(server) for server in self._servers]

    def mend(self) -> int:
        """Start servers again that died, and wait if none is left; return how many died."""
        dead = [server for server in self._servers if not server.is_alive]
        for server in dead:
            self._start(server)
        if len(dead) == len(self._servers):  # nobody would answer meanwhile
            for server in dead:
                self._ready(server)
        return len(dead)

    def stop(self) -> None:
        """End all servers, and wait until their devices are free."""
        for server in self._servers:
            _let_go(server)
        for server in self._servers:
            if server.process is not None:
                server.process.wait()

    def _start(self, server: _Server) -> None:
        if server.num_starts == MAX_STARTS:
            raise StageError(
                f"{self._name(server)}: it died {MAX_STARTS} times. {_MEND} {_said(server)}"
            )
        _let_go(server)
        theirs, server.keeper = os.pipe()
        places = {"model": str(self._folder), "port": str(server.port)}
        command = [_filled(word, places) for word in self._command]
        with open(server.log, "ab") as log:
            server.process = subprocess.Popen(
                [sys.executable, "-m", "dualipo.servers.attached", str(theirs), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **server.environment},
                pass_fds=[theirs],
            )
        os.close(theirs)
        server.num_starts += 1

    def _ready(self, server: _Server) -> dict[str, str]:
        """Wait until a server lists its model; return the row that names it."""
        until = time.monotonic() + self._ready_timeout
        while server.is_alive:
            if (row := _listed(server)) is not None:
                return row
            if time.monotonic() > until:
                raise StageError(
                    f"{self._name(server)}: it lists no model after {self._ready_timeout:g} s. "
                    f"Raise critic.serving.ready_timeout. {_said(server)}"
                )
            time.sleep(_POLL)
        raise StageError(
            f"{self._name(server)}: it ended before it was ready. {_MEND} {_said(server)}"
        )

    def _name(self, server: _Server) -> str:
        return f"critic.serving.command: `{self._command[0]}` at port {server.port}"


def _let_go(server: _Server) -> None:
    if server.keeper >= 0:
        os.close(server.keeper)
        server.keeper = -1


def _filled(word: str, places: Mapping[str, str]) -> str:
    """Put values into their places; other braces, as those of JSON, stay."""
    for name, value in places.items():
        word = word.replace(f"{{{name}}}", value)
    return word


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _listed(server: _Server) -> dict[str, str] | None:
    """Return the first model that a server lists, or None while it lists none by its name."""
    answer = server.endpoint.listed()
    rows = None if isinstance(answer, Failure) else answer.get("data")
    first = rows[0] if isinstance(rows, list) and rows else None
    if not isinstance(first, dict) or not isinstance(first.get("id"), str) or not first["id"]:
        return None
    return {"id": first["id"], "owned_by": str(first.get("owned_by", ""))}


def _said(server: _Server) -> str:
    lines = server.log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
    if not lines:
        return f"It wrote nothing to {server.log}."
    shown = " / ".join(line[:_SHOWN_CHARACTERS] for line in lines)
    return f"The last lines of {server.log}: {shown}"
