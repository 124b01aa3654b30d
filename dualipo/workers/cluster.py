"""Looks whether anything listens where a Ray cluster should be: Ray tries for minutes.

An address is "auto", which Ray finds on this machine, HOST:PORT, or ray://HOST:PORT.
"""

import socket

from dualipo.errors import ConfigError

ANSWER_SECONDS = 10.0


def require_answer(address: str | None) -> None:
    """Raise ConfigError where the address is none, or where nothing listens."""
    if address in (None, "auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            f'workers.address = {address!r} is no address. Give "auto" for the cluster of this '
            "machine, HOST:PORT or ray://HOST:PORT."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except OSError as refusal:
        raise no_cluster(address, str(refusal)) from None


def no_cluster(address: str | None, why: str) -> ConfigError:
    """Return the error of a cluster that does not answer."""
    return ConfigError(
        f"workers.address = {address!r}: no Ray cluster answers there ({why}). Start one with "
        "`ray start --head`, or leave workers.address away."
    )
