"""Servers that the run starts itself: they are started, mended, and end with the run."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from dualipo.errors import StageError
from dualipo.servers import fleet as fleets
from dualipo.servers.fleet import MAX_STARTS, Fleet
from tests.servers import loopback

# The smallest server that lists a model: it writes its process's id, and an engine's JSON stays.
SCRIPT = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        told = json.dumps({"data": [{"id": sys.argv[2], "owned_by": "script"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
with open(f"{sys.argv[2]}/new-{sys.argv[1]}", "w") as note:
    note.write(f"{os.getpid()} {sys.argv[3]}")
os.replace(f"{sys.argv[2]}/new-{sys.argv[1]}", f"{sys.argv[2]}/{sys.argv[1]}.pid")
server.serve_forever()
"""
COMMAND = (sys.executable, "-S", "-c", SCRIPT, "{port}", "{model}", '{"image": 8}')


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    servers = make(tmp_path)
    yield servers
    servers.stop()


def make(folder: Path, command: tuple[str, ...] = COMMAND) -> Fleet:
    return Fleet(
        command, folder, environments=[{}, {}], log_folder=folder / "logs", ready_timeout=30
    )


def written(folder: Path, url: str) -> tuple[int, str]:
    """Return the process that serves an address, and its last argument."""
    port = httpx.URL(url).port
    pid, _, rest = (folder / f"{port}.pid").read_text().partition(" ")
    return int(pid), rest


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def eventually(read: Callable[[], int], *, other_than: int) -> int:
    """Wait until a number is another one, and return it."""
    until = time.monotonic() + 20
    while (number := read()) == other_than and time.monotonic() < until:
        time.sleep(0.02)
    return number


def gone(pid: int) -> bool:
    return eventually(lambda: is_alive(pid), other_than=True) == 0


def wait_until_dead(fleet: Fleet) -> None:
    """Wait until the processes above the servers have seen that these died."""
    assert eventually(lambda: min(fleet.num_alive, 1), other_than=1) == 0


def mended(fleet: Fleet) -> int:
    """Mend until the process above a killed server has seen that it died."""
    return eventually(fleet.mend, other_than=0)


def test_fault_98_a_server_that_is_killed_comes_again_at_its_address(
    fleet: Fleet, tmp_path: Path
) -> None:
    rows = fleet.start()
    assert rows == [{"id": str(tmp_path), "owned_by": "script"}] * 2
    first, second = fleet.base_urls
    pid, rest = written(tmp_path, first)
    assert rest == '{"image": 8}', "only the names of places are filled in"
    os.kill(pid, signal.SIGKILL)
    assert mended(fleet) == 1 and fleet.base_urls == [first, second]
    again = eventually(lambda: written(tmp_path, first)[0], other_than=pid)
    # Where none is left, the next question waits until they are ready.
    assert httpx.get(f"{second}/models").status_code == 200
    for victim in (again, written(tmp_path, second)[0]):
        os.kill(victim, signal.SIGKILL)
        assert gone(victim)
    wait_until_dead(fleet)
    assert fleet.mend() == 2
    assert httpx.get(f"{first}/models").status_code == 200
    pid = written(tmp_path, first)[0]
    fleet.stop()
    assert gone(pid) and gone(written(tmp_path, second)[0])


def test_fault_98_servers_end_with_the_run_however_it_dies(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        try:
            make(tmp_path).start()
            os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    pids = [int(path.read_text().split()[0]) for path in tmp_path.glob("*.pid")]
    assert len(pids) == 2 and all(map(gone, pids))


def test_a_command_that_cannot_serve_says_what_it_said(tmp_path: Path) -> None:
    broken = (sys.executable, "-S", "-c", "import sys; sys.exit('no such model {model} {port}')")
    fleet = make(tmp_path, broken)
    with pytest.raises(StageError, match=r"ended before it was ready.*no such model"):
        fleet.start()
    for _ in range(MAX_STARTS - 1):
        wait_until_dead(fleet)
        with pytest.raises(StageError, match="ended before"):
            fleet.mend()
    wait_until_dead(fleet)
    with pytest.raises(StageError, match=f"it died {MAX_STARTS} times"):
        fleet.mend()


@pytest.mark.parametrize("name", [None, "", 3, ["model"]])
def test_a_model_that_is_listed_without_a_name_is_not_ready(name: object, tmp_path: Path) -> None:
    with loopback.serving(loopback.brighter) as server:
        server.models = [name]
        port = server.server_address[1]
        assert fleets._listed(fleets._Server(port, {}, tmp_path / "log")) is None
        server.models = ["model"]
        assert fleets._listed(fleets._Server(port, {}, tmp_path / "log")) is not None
