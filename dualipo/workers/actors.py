"""A crew of Ray actors on a cluster, one for each device.

    driver                          node
    hire an actor, ask it to begin  it starts once the node has room, and sees the driver's files
    hand a unit                     it does its calls one after another
    a call failed with the actor    a new actor is hired, on whichever node has room

An actor whose node leaves is replaced by one that waits until a node joins; it is given units only
once it has said that it is ready. Ray's own restarts and retries are off, because the dispatcher
counts failures. When the driver ends, however it ends, Ray ends its actors.
"""

import logging
import os
import signal
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dualipo.errors import DualipoError
from dualipo.workers import worker as workers
from dualipo.workers.cluster import no_cluster, require_answer
from dualipo.workers.crew import REST_SECONDS, Answered, Died, Ready, Refused, Told
from dualipo.workers.job import Job, Work
from dualipo.workers.worker import Outcome, Place, Token


class _Actor:
    """A worker inside an actor."""

    def __init__(self) -> None:
        self._worker = workers.Worker()

    def begin(self, token: Token) -> tuple[str, Place | DualipoError]:
        """Return the node's id, and where this is or why it cannot begin."""
        node = ray.get_runtime_context().get_node_id()
        try:
            return node, workers.begin(token)
        except DualipoError as refusal:
            return node, refusal

    def do(self, job: Job, work: Work) -> Outcome:
        """Do one unit."""
        return self._worker.do(job, work)

    def rest(self) -> None:
        """Free what the worker keeps."""
        self._worker.rest()


@dataclass
class _Hired:
    """An actor with its calls under way, in their order, and where it runs once that is known."""

    actor: Any
    slot: int
    calls: deque[Any] = field(default_factory=deque)
    place: Place | None = None
    node: str = ""


class RayCrew:
    """Actors on the cluster at `address`; "local" starts a cluster of this machine alone."""

    def __init__(
        self,
        num_workers: int | None,
        *,
        address: str | None,
        num_gpus: float | None,
        token: Token,
    ) -> None:
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            _connect(address, num_workers)
        resources = ray.cluster_resources()
        if num_gpus is None:
            num_gpus = 1.0 if resources.get("GPU", 0) else 0.0
        needs = {"num_gpus": num_gpus, "num_cpus": 0 if num_gpus else 1}
        kind = "GPU" if num_gpus else "CPU"
        num = num_workers or max(1, int(resources.get(kind, 1) / (num_gpus or 1)))
        self._remote = ray.remote(_Actor).options(max_restarts=0, max_task_retries=0, **needs)
        self._token = token
        self._hired: dict[str, _Hired] = {}
        self._num_hired = 0
        for slot in range(num):
            self._hire(slot)

    def poll(self, seconds: float) -> list[Told]:
        """Return what the actors answered, and which of them are gone."""
        calls = [call for each in self._hired.values() for call in each.calls]
        if not ray.wait(calls, num_returns=1, timeout=seconds)[0]:
            return []
        ready = set(ray.wait(calls, num_returns=len(calls), timeout=0)[0])
        told: list[Told] = []
        for name, each in list(self._hired.items()):
            while name in self._hired and each.calls and each.calls[0] in ready:
                told.append(self._take(name, each, each.calls.popleft()))
        return told

    def hand(self, worker: str, job: Job, work: Work) -> None:
        """Call the actor; one that is gone meanwhile is told by the next poll."""
        each = self._hired[worker]
        each.calls.append(each.actor.do.remote(job, work))

    def end(self, worker: str) -> None:
        """Kill an actor's process on its node, since a stopped one does not hear Ray."""
        each = self._hired[worker]
        if each.place is not None:
            on_node = NodeAffinitySchedulingStrategy(each.node, soft=False)
            ray.remote(_kill).options(num_cpus=0, scheduling_strategy=on_node).remote(
                each.place.pid
            )
        ray.kill(each.actor)
        if not each.calls:  # nothing is left that could tell of its death
            each.calls.append(each.actor.rest.remote())

    def rest(self) -> None:
        """Have each actor free its models and wait for it; kill one that does not answer."""
        ready = {name: each.actor for name, each in self._hired.items() if each.place is not None}
        calls = {name: actor.rest.remote() for name, actor in ready.items()}
        if not calls:
            return
        _, late = ray.wait([*calls.values()], num_returns=len(calls), timeout=REST_SECONDS)
        for name, call in calls.items():
            if call in late:
                self.end(name)

    def close(self) -> None:
        """End every actor, and leave the cluster that this crew has joined or started."""
        for each in self._hired.values():
            ray.kill(each.actor)
        self._hired.clear()
        if self._is_ours:
            ray.shutdown()

    def _hire(self, slot: int) -> None:
        actor = self._remote.remote()
        calls = deque([actor.begin.remote(self._token)])
        self._hired[f"{slot}.{self._num_hired}"] = _Hired(actor, slot, calls)
        self._num_hired += 1

    def _take(self, name: str, each: _Hired, call: Any) -> Told:
        try:
            answer = ray.get(call)
        except RayActorError as gone:
            return self._bury(name, each, f"its actor is gone ({_first_line(gone)})")
        except RayError as broken:  # the call itself could not be read, for example
            return self._bury(name, each, _first_line(broken))
        if isinstance(answer, Outcome):
            return Answered(name, answer)
        each.node, place = answer
        if isinstance(place, DualipoError):
            return Refused(name, place)
        each.place = place
        return Ready(name, place, each.slot)

    def _bury(self, name: str, each: _Hired, reason: str) -> Died:
        """Note that an actor is gone, and hire another in its place."""
        del self._hired[name]
        ray.kill(each.actor)
        self._hire(each.slot)
        where = f" on {each.place.host}" if each.place else ""
        return Died(name, f"{reason}{where}")


def _connect(address: str | None, num_workers: int | None) -> None:
    """Join the cluster, or start one; the run's own handlers of signals stay in place."""
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        shared |= {"include_dashboard": False, "num_cpus": num_workers}
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        require_answer(address)
        ray.init(address or "local", **shared)
    except (ConnectionError, ValueError, RuntimeError) as refusal:
        if address is None:  # a cluster of this machine, which nobody had to start
            raise
        raise no_cluster(address, _first_line(refusal)) from None
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
