"""Signals: the first is remembered until a safe place, the second ends the process."""

import signal
import subprocess
import sys

import pytest

LOOP = """
import sys, time
from dualipo import interrupt
interrupt.install()
print("ready", flush=True)
try:
    for step in range(500):
        time.sleep(0.01)  # a signal does not cut a unit short
        if sys.argv[1] == "obeys":
            interrupt.check()
except interrupt.Interrupted as stop:
    print(f"saved: {stop}", flush=True)
    sys.exit(stop.exit_code)
"""


def start(manner: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", LOOP, manner]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_fault_10_a_signal_stops_at_a_safe_place(signum: signal.Signals) -> None:
    process = start("obeys")
    process.send_signal(signum)
    assert process.communicate(timeout=10)[0] == f"saved: stopped by {signum.name}\n"
    assert process.returncode == 128 + signum


def test_fault_10_a_second_signal_exits_at_once() -> None:
    process = start("is busy")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.3)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=2)[0] == ""
    assert process.returncode == 128 + signal.SIGINT
