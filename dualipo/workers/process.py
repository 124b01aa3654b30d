"""One spawned worker: `python -m dualipo.workers.process FD`, over a pair of sockets.

    main thread    begin -> answer each call in order
    listener       reads calls from the driver; ends the process when the driver is gone

The driver's end of the sockets closes with the driver, however it dies, so no worker outlives it.
Calls stay bytes until the main thread takes them, for unpickling one may import torch.
"""

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from dualipo.errors import DualipoError
from dualipo.workers import worker as workers

REST = "rest"


def main(descriptor: int) -> None:
    """Do what the driver asks until it closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the driver's affair
    driver = Connection(descriptor)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(driver, calls), daemon=True).start()
    try:
        driver.send(workers.begin(pickle.loads(calls.get())))
    except DualipoError as refusal:
        driver.send(refusal)
        return
    worker = workers.Worker()
    while True:
        driver.send(_answer(worker, pickle.loads(calls.get())))


def _answer(worker: workers.Worker, call: Any) -> Any:
    if call == REST:
        worker.rest()
        return REST
    return worker.do(*call)


def _listen(driver: Connection, calls: "queue.SimpleQueue[bytes]") -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            calls.put(driver.recv_bytes())
    os._exit(0)  # the driver is gone, and nobody reads what this process makes


if __name__ == "__main__":
    main(int(sys.argv[1]))
