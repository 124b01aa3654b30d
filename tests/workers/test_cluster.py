"""An address of a cluster is tried before Ray tries it for minutes."""

import socket

import pytest

from dualipo.errors import ConfigError
from dualipo.workers import cluster


def test_an_address_is_refused_that_is_none_or_where_nothing_listens() -> None:
    for none in ("nonsense", "host:", ":6379", "host:port", "ray://host", "host:70000"):
        with pytest.raises(ConfigError, match="is no address"):
            cluster.require_answer(none)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        here = f"127.0.0.1:{listening.getsockname()[1]}"
        for address in (None, "auto", "local", here, f"ray://{here}"):
            cluster.require_answer(address)
    with pytest.raises(ConfigError, match="no Ray cluster answers there"):
        cluster.require_answer(here)
