"""The whole exchange ends in time, wherever a server dawdles; an address in error is named."""

import time

import pytest

from dualipo.config import Rewriter, Server
from dualipo.critic.models import server
from dualipo.critic.models.http import Endpoint, Failure
from dualipo.errors import ConfigError
from tests.critic import loopback


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
        endpoint = Endpoint(served.url, None, timeout=0.3, max_retries=0, settings_name="x")
        began = time.monotonic()
        outcome = endpoint.post("/chat/completions", {})
    assert time.monotonic() - began < 3
    assert isinstance(outcome, Failure) and outcome.trouble == "slow"


def test_a_server_that_hangs_up_is_broken_and_not_gone():
    def hang_up(handler):
        handler.close_connection = True

    with loopback.serving(lambda body, count: hang_up) as served:
        endpoint = Endpoint(served.url, None, timeout=30, max_retries=0, settings_name="x")
        outcome = endpoint.post("/chat/completions", {})
    assert isinstance(outcome, Failure) and outcome.trouble == "broken"


@pytest.mark.parametrize("url", ["localhost:8000", "http://host:99999/v1", "http://[::1/v1"])
@pytest.mark.parametrize(
    ("settings", "name"), [(Server, "critic.server"), (Rewriter, "seed_labels.rewriter")]
)
def test_an_address_that_is_none_names_the_setting_that_holds_it(url, settings, name):
    with pytest.raises(ConfigError, match=rf"no HTTP address\. Give {name}\.base_url"):
        server.endpoint_of(settings(base_url=url), settings_name=name)
    with pytest.raises(ConfigError, match=rf"{name}\.base_url: holds a user.*{name}\.api_key_env"):
        known = settings(base_url="http://me:secret@host/v1")
        server.endpoint_of(known, settings_name=name)
