"""The wheel, installed read-only outside the repository, works for another user without a home."""

import os
import shutil
import site
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Ended

pytestmark = pytest.mark.slow
NOBODY = 65534
# What precedes round 0 is enough: every part of the package that a run needs is in it.
SMALL = (
    *("rounds=0", "monitor.num_accuracy_pairs=0", "critic.check.num_pairs=0"),
    *("warm_start_sft.max_train_steps=2", "warm_start_dpo.max_train_steps=1"),
)


@dataclass(frozen=True)
class Installed:
    """A virtual environment that holds the wheel, and a folder that only the other user writes."""

    program: Path
    folder: Path

    def run(self, *arguments: str | Path) -> Ended:
        """Run the program as another user, in a folder of that user's, with no environment."""
        other = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.run(
            [self.program, *map(str, arguments)],
            cwd=self.folder,
            env={"PATH": os.defpath, "OMP_NUM_THREADS": "1", "LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            **other,  # type: ignore[call-overload]
        )


@pytest.fixture(scope="module")
def installed() -> Iterator[Installed]:
    """Build the wheel and install it; nothing is downloaded, as what it needs is here already."""
    root = Path(tempfile.mkdtemp(prefix="dualipo-wheel-"))
    root.chmod(0o755)
    source, venv, own = root / "source", root / "venv", root / "own"
    left = shutil.ignore_patterns(
        ".*", "runs", "build", "*.egg-info", "tests", "docs", "benchmarks"
    )
    shutil.copytree(ROOT, source, ignore=left)
    pip = [sys.executable, "-m", "pip", "-q"]
    _do(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", root, source)
    shutil.rmtree(source)
    _do(_interpreter(), "-m", "venv", "--without-pip", venv)
    [wheel] = root.glob("*.whl")
    _do(*pip, "--python", venv / "bin/python", "install", "--no-deps", "--no-index", wheel)
    [packages] = venv.glob("lib/python*/site-packages")
    # A plain path: what is installed for development here stays out.
    (packages / "needs.pth").write_text("\n".join(site.getsitepackages()))
    _do("chmod", "-R", "a-w", venv)
    own.mkdir()
    own.chmod(0o777)
    yield Installed(venv / "bin/dualipo", own)
    _do("chmod", "-R", "u+w", venv)
    shutil.rmtree(root)


def _interpreter() -> str:
    """Return a Python of this version that other users may start."""
    version = ".".join(map(str, sys.version_info[:2]))
    for path in (sys.executable, shutil.which(f"python{version}", path=os.defpath)):
        folders = Path(path or "/nowhere").resolve().parents
        if all(os.path.isdir(folder) and folder.stat().st_mode & 0o001 for folder in folders):
            return str(path)
    pytest.skip(f"no Python {version} that other users may start")


def _do(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, cwd="/")


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of change of everything in a folder."""
    paths = sorted(folder.rglob("*"))
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


@pytest.fixture(scope="module")
def made(installed: Installed) -> Path:
    """Run a recipe that ships, by its name in the repository, where there is no repository."""
    before = contents(installed.program.parents[1])
    ended = installed.run("run", "recipes/smoke.toml", *SMALL)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert contents(installed.program.parents[1]) == before
    return installed.folder / "runs/smoke"


def test_a_recipe_that_ships_runs_to_its_report(installed: Installed, made: Path) -> None:
    assert installed.run("--version").stdout.startswith("dualipo ")
    assert "report with clips and curves" in installed.run("run", "smoke.toml", *SMALL).stdout
    assert (made / "report.html").stat().st_size > 10_000
    assert (made / "report.html").stat().st_uid == (NOBODY if os.geteuid() == 0 else os.geteuid())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("was_killed", [False, True])
def test_a_run_of_another_user_is_read_without_a_trace(
    installed: Installed, made: Path, was_killed: bool
) -> None:
    run = installed.folder.parent / f"theirs-{was_killed}"
    shutil.copytree(made, run)
    if was_killed:  # the log of a ledger that no process holds, as it is after `cp`
        (run / "ledger.sqlite-wal").write_bytes(b"")
    _do("chmod", "-R", "a-w,a+rX", run)
    before = contents(run)
    status = installed.run("status", run)
    assert status.returncode == 0 and "base" in status.stdout, status.stdout + status.stderr
    if was_killed:  # the ledger is opened alike by all that read it
        read_only(installed, run)
    assert contents(run) == before


def read_only(installed: Installed, run: Path) -> None:
    """Do what a reader may do with another user's run, and what no reader may."""
    refused = installed.run("report", run)
    assert refused.returncode == 3 and "--output writes the report elsewhere" in refused.stderr
    assert installed.run("report", run, "--output", "report.html").returncode == 0
    labels = installed.run("label", run, "--export", "labels.jsonl")
    assert labels.returncode == 2 and "no labels yet" in labels.stderr
    resumed = installed.run("resume", run)
    assert resumed.returncode == 2 and "is not writable" in resumed.stderr
