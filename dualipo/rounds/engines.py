"""The engine that a recipe's `[workers]` ask for."""

import importlib.util
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dualipo.config import Workers
from dualipo.errors import ConfigError
from dualipo.workers.crew import Crew
from dualipo.workers.dispatch import CrewEngine
from dualipo.workers.inline import InlineEngine
from dualipo.workers.job import Engine
from dualipo.workers.processes import ProcessCrew
from dualipo.workers.roster import Roster
from dualipo.workers.worker import Token


def engine_of(settings: Workers, run_path: Path, *, bench: Any) -> Engine:
    """Return the engine; it starts no worker before its first unit.

    `bench` is the driver's own. The file that a worker must see is the run's lock.
    """
    if settings.engine == "inline":
        return InlineEngine(bench)
    return CrewEngine(
        _starter(settings, run_path.absolute()),
        unit_timeout=settings.unit_timeout,
        max_failures=settings.max_failures,
        roster=Roster(run_path),
    )


def _starter(settings: Workers, run_path: Path) -> Callable[[], Crew]:
    start = _start_processes if settings.engine == "processes" else _start_actors
    return partial(start, settings, run_path)


def _start_processes(settings: Workers, run_path: Path) -> Crew:
    return ProcessCrew(
        environments(settings.num_workers), token=token(run_path), log_folder=run_path / "logs"
    )


def _start_actors(settings: Workers, run_path: Path) -> Crew:
    require_ray()
    from dualipo.workers.actors import RayCrew

    return RayCrew(
        settings.num_workers,
        address=settings.address,
        num_gpus=settings.num_gpus,
        token=token(run_path),
    )


def require_ray() -> None:
    """Raise a ConfigError where Ray is not installed."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            'workers.engine = "ray" needs Ray, which is not installed here. Install it with '
            '`pip install "dualipo[ray]"`, or set workers.engine = "processes".'
        )


def token(run_path: Path) -> Token:
    """Return the file that a worker must see: the lock of the run."""
    lock = run_path / "LOCK"
    return Token(lock, lock.read_bytes())


def environments(num_workers: int | None) -> list[dict[str, str]]:
    """Return what each process finds in its environment: the one device that it uses."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
    if not torch.cuda.is_available() or not devices:
        return [{} for _ in range(num_workers or 1)]
    num = num_workers or len(devices)
    return [{"CUDA_VISIBLE_DEVICES": devices[n % len(devices)]} for n in range(num)]
