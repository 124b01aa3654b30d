"""The whole exchange ends in time, wherever a server dawdles; an address in error is named."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydantic import ValidationError

from dualipo.config import Rewriter, Server
from dualipo.errors import ConfigError
from dualipo.servers import endpoint as http
from dualipo.servers.endpoint import Answer, Endpoint, Failure
from tests.servers import loopback


def ask(url: str, *, timeout: float = 30.0, body: dict[str, str] | None = None) -> Answer:
    settings = Server(base_url=url, timeout=timeout, max_retries=0)
    return Endpoint(settings, settings_name="critic.server").post("/chat/completions", body or {})


def trouble(outcome: Answer) -> str:
    assert isinstance(outcome, Failure), outcome
    return outcome.trouble


@contextmanager
def silent() -> Iterator[int]:
    """Listen on a port where connections open and nobody ever reads or answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: ",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    ],
    ids=["header", "chunk's size", "body until the end", "body"],
)
def test_fault_64_a_dripping_answer_ends_at_the_deadline_wherever_it_drips(begun):
    with loopback.serving(lambda body, count: loopback.dripping_after(begun)) as served:
        began = time.monotonic()
        outcome = ask(served.url, timeout=0.3)
    assert time.monotonic() - began < 3 and trouble(outcome) == "slow"


@pytest.mark.parametrize("scheme", ["http", "https"])  # one never answers, one never shakes hands
@pytest.mark.parametrize("size", [1, 32 << 20], ids=["answering", "reading"])
def test_fault_64_a_server_that_opens_and_does_nothing_ends_at_the_deadline(scheme, size):
    with silent() as port:
        began = time.monotonic()
        outcome = ask(f"{scheme}://127.0.0.1:{port}", timeout=0.3, body={"text": "x" * size})
    assert time.monotonic() - began < 3 and trouble(outcome) == "slow"


def test_a_server_that_hangs_up_is_broken_and_not_gone():
    def hang_up(handler):
        handler.close_connection = True

    with loopback.serving(lambda body, count: hang_up) as served:
        assert trouble(ask(served.url)) == "broken"


def test_a_server_that_is_gone_is_unreachable_in_the_systems_own_words():
    with silent() as port:
        pass
    outcome = ask(f"http://127.0.0.1:{port}/v1")
    assert trouble(outcome) == "unreachable" and "ConnectionRefusedError" in outcome.detail


def test_an_answer_over_the_cap_is_broken_whatever_length_it_declared(monkeypatch):
    monkeypatch.setattr(http, "MAX_ANSWER_BYTES", 1000)

    def endless(handler):
        handler.close_connection = True
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"0" * 5000)

    for say in (endless, loopback.failing(200, b" " * 1001)):
        with loopback.serving(lambda body, count, say=say: say) as served:
            outcome = ask(served.url)
        assert trouble(outcome) == "broken" and "exceeds 1000 bytes" in outcome.detail


def test_a_redirect_is_a_refusal_and_is_not_followed():
    def elsewhere(handler):
        handler.send_response(307)
        handler.send_header("Location", served.url + "/other")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with loopback.serving(lambda body, count: elsewhere) as served:
        outcome = ask(served.url)
    assert (outcome.trouble, outcome.status) == ("refused", 307) and len(served.requests) == 1


def test_a_connection_is_used_again_and_a_notebooks_own_loop_is_no_hindrance():
    peers: set[int] = set()

    def note(handler):
        peers.add(handler.client_address[1])
        handler.answer(200, b"{}")

    with loopback.serving(lambda body, count: note) as served:
        endpoint = Endpoint(Server(base_url=served.url), settings_name="critic.server")

        async def in_a_notebook() -> list[Answer]:
            return [endpoint.post("/chat/completions", {}) for _ in range(3)]

        assert asyncio.run(in_a_notebook()) == [{}] * 3
    assert len(peers) == 1


@pytest.mark.parametrize("url", ["localhost:8000", "http://host:99999/v1", "http://[::1/v1"])
@pytest.mark.parametrize(
    ("settings", "name"), [(Server, "critic.server"), (Rewriter, "seed_labels.rewriter")]
)
def test_an_address_that_is_none_names_the_setting_that_holds_it(url, settings, name):
    with pytest.raises(ValidationError, match="it must be an address such as http"):
        settings(base_url=url)
    unchecked = settings().model_copy(update={"base_url": url})
    with pytest.raises(ConfigError, match=rf"no HTTP address\. Give {name}\.base_url"):
        Endpoint(unchecked, settings_name=name)
    with pytest.raises(ValidationError, match=r"holds a user or password.*api_key_env") as refused:
        settings(base_url="http://me:cret@host/v1")
    assert "cret" not in str(refused.value)


@pytest.mark.parametrize("key", ["sk-secret\n", "sk-s\u00e9cret"])
def test_fault_62_a_key_that_no_header_can_hold_is_refused_and_not_shown(monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match=r"critic\.server\.api_key_env") as refusal:
        Endpoint(Server(), settings_name="critic.server")
    assert "cret" not in str(refusal.value)


def test_a_fork_asks_on_a_loop_of_its_own() -> None:
    with loopback.serving(lambda body, count: {"asked": count}) as served:
        assert not isinstance(ask(served.url), Failure)
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # ends the child where it would wait for ever
            os._exit(int(isinstance(ask(served.url), Failure)))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
