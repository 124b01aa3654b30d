"""Where a round and an attempt have their folders inside a run's."""

from pathlib import Path


def round_path(run_path: Path, round: int) -> Path:
    """Return a round's folder inside the run at `run_path`; round -1 precedes the first."""
    return run_path / "rounds" / (f"{round:03d}" if round >= 0 else "base")


def attempt_path(run_path: Path, round: int, attempt: int) -> Path:
    """Return the folder of one attempt inside the run at `run_path`."""
    return round_path(run_path, round) / f"attempt-{attempt}"
