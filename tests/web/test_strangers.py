"""Strangers, players and other programs of the host crash no page and lock nobody out."""

import json
import socket
import time
from contextlib import ExitStack

import httpx
import pytest

from dualipo.web import connections, security
from dualipo.web.security import COOKIE, token_in
from tests.web.conftest import Site, until

FEW = 12
HALVES = (b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b"\x16\x03\x01\x02\x00")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_MOST", FEW)


def connect(site: Site, sent: bytes) -> socket.socket:
    port = int(site.base.rpartition(":")[2])
    opened = socket.create_connection(("127.0.0.1", port), timeout=10)
    opened.sendall(sent)
    return opened


def is_closed(opened: socket.socket) -> bool:
    opened.settimeout(0.01)
    try:
        return not opened.recv(1 << 16)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", HALVES[:2])
def test_fault_96_half_open_connections_lock_nobody_out(few: None, site: Site, sent: bytes) -> None:
    with ExitStack() as stack, site.annotator("ada") as ada:
        assert ada.get("/api/state").status_code == 200
        strangers = [stack.enter_context(connect(site, sent)) for _ in range(4 * FEW)]
        until(lambda: sum(map(is_closed, strangers)) >= 3 * FEW)
        with site.annotator("bob") as bob:  # a new connection, and the old one again
            assert bob.get("/api/state").status_code == ada.get("/api/state").status_code == 200


@pytest.mark.parametrize("sent", HALVES)
def test_fault_96_a_head_that_takes_too_long_is_given_up(
    site: Site, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    with connect(site, sent) as stranger:
        until(lambda: is_closed(stranger))


def test_fault_96_a_body_that_takes_too_long_is_given_up(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(security, "BODY_SECONDS", 0.2)
    head = f"POST /api/join HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: {site.base}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with connect(site, head.replace("127.0.0.1\r", f"{site.base[7:]}\r", 1).encode()) as stranger:
        assert b" 408 " in stranger.recv(1 << 16).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "foreign", ["[]=1", "a b c", 'x="', "=", "naïve={}", "dualipo_token_of_another=2", ";;"]
)
def test_fault_96_another_program_s_cookie_locks_no_annotator_out(foreign: str) -> None:
    for cookies in (f"{foreign}; {COOKIE}=mine", f"{COOKIE}=mine; {foreign}"):
        assert token_in({"cookie": cookies}, COOKIE) == "mine"
    assert token_in({"cookie": foreign}, COOKIE) == ""


RANGES = {
    "bytes=0-9": (206, slice(0, 10)),
    "bytes=5-": (206, slice(5, None)),
    "bytes=-7": (206, slice(-7, None)),
    "bytes=0-999999999": (206, slice(0, None)),
    "bytes=-999999999": (206, slice(0, None)),
    "bytes=999999999-": (416, slice(0, 0)),
    "bytes=-0": (416, slice(0, 0)),
    "bytes=9-5": (416, slice(0, 0)),
    "bytes=-": (200, slice(None)),
    "bytes=0-1,4-5": (200, slice(None)),
    "frames=0-1": (200, slice(None)),
    "bytes=٣-٤": (200, slice(None)),
}


def test_players_get_the_ranges_that_they_ask_for(site: Site) -> None:
    with site.annotator("ada") as ada:
        address = ada.get("/api/state").json()["step"]["clips"][0]["url"]
        whole = ada.get(address)
        assert whole.headers["accept-ranges"] == "bytes" and "last-modified" not in whole.headers
        for wanted, (status, span) in RANGES.items():
            answer = ada.get(address, headers={"range": wanted.encode()})
            assert (answer.status_code, answer.content) == (status, whole.content[span]), wanted
            size = len(whole.content)
            if status == 206:
                start, stop, _ = span.indices(size)
                assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"
            if status == 416:
                assert answer.headers["content-range"] == f"bytes */{size}"


def body(**changes: object) -> bytes:
    whole = {"key": "k" * 16, "task": "t", "dimension": "motion", "outcome": "a", **changes}
    return json.dumps(whole).encode()


BODIES = (
    *(b"", b"null", b"[]", b"1", b'"', b"{", b"\xff\xfe", b"{}", b"NaN", b"[" * 60_000),
    *(b'{"key":' * 5000, b"9" * 5000, body(seconds="x"), body(seconds=-1), body(more=1)),
    *(body(reason="\ud800"), body(key="\ud800" * 16), body(task="\0"), body(outcome=None)),
    *(body(seconds=1e400), body(dimension={"a": []}), body(reason="x" * 3000)),
)


@pytest.mark.parametrize("path", ["/api/answers", "/api/undo", "/api/join"])
def test_fault_96_a_malformed_body_is_refused_in_the_documented_form(site: Site, path: str) -> None:
    with site.annotator("ada") as ada:
        for sent in BODIES:
            answer = ada.post(path, content=sent, headers={"content-type": "application/json"})
            assert 400 <= answer.status_code < 500, (sent[:40], answer.text)
            assert answer.json().keys() == {"error"} and answer.json()["error"], sent[:40]


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/state/more", "/clips/%00/%ff", "/static/%2e%2e"]
)
def test_an_unknown_path_is_refused_in_the_documented_form(site: Site, path: str) -> None:
    with site.annotator("ada") as ada:
        answer = ada.get(path)
        assert answer.status_code == 404 and answer.json().keys() == {"error"}


def test_an_origin_that_is_no_address_is_refused(site: Site) -> None:
    with site.annotator("ada") as ada:
        for origin in ("http://[", "null", "file://", "http://"):
            answer = ada.post("/api/undo", json={"key": "k" * 16}, headers={"origin": origin})
            assert answer.status_code == 403


def test_fault_96_strangers_write_no_lines_into_the_log(
    site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(20):
        with connect(site, b"nonsense\r\n\r\n") as stranger:
            stranger.recv(1 << 16)
    time.sleep(0.1)
    assert capfd.readouterr().err == ""
    assert httpx.get(f"{site.base}/join", trust_env=False).status_code == 200
