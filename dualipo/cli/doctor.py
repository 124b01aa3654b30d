"""`dualipo doctor [FOLDER | RECIPE]`: finds what would stop a run, and says what to do.

It looks at versions, a broken torchvision, the embedded weights, threads, disk space and write
permission; with a recipe, also at all that the recipe names. FAIL means that a run cannot work, and
the command ends with 1. WARN means that a run may be slow or run out of space.
"""

import argparse
import importlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from dualipo.cli import weights
from dualipo.cli.verbs import add_verb
from dualipo.store import temporaries

# The bounds of pyproject.toml; a test compares the two.
LOWEST = {"torch": "2.6", "diffusers": "0.42", "transformers": "5.17", "accelerate": "1.0"}
LOWEST_PYTHON = (3, 11)
INSTALL = "pip install -c constraints.txt ."
GIGABYTE = 1e9


@dataclass(frozen=True)
class Finding:
    """One line of the examination: how bad it is, the fact, and what to do."""

    level: Literal["OK", "WARN", "FAIL"]
    fact: str
    remedy: str = ""


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "doctor",
        "Check this installation, and say what to do. The command ends with 1 if a run cannot "
        "work.",
    )
    parser.add_argument(
        "folder",
        type=Path,
        nargs="?",
        default=Path("runs"),
        help="The folder in which runs will be written (default: %(default)s), or a recipe, whose "
        "captions, labels, clips, models and servers are checked as well.",
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="Replace a setting of the recipe."
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Print every finding, and return 1 if one of them is a FAIL."""
    is_recipe = arguments.folder.suffix == ".toml"
    failed = False
    for finding in examine(Path("runs") if is_recipe else arguments.folder):
        print(f"{finding.level:<5} {finding.fact}", flush=True)
        if finding.remedy:
            print(f"      {finding.remedy}", flush=True)
        failed = failed or finding.level == "FAIL"
    if is_recipe:
        _examine_recipe(arguments.folder, arguments.overrides)
        print(f"OK    {arguments.folder}: nothing stands in the way of a run")
    return int(failed)


def _examine_recipe(recipe: Path, overrides: Sequence[str]) -> None:
    """Raise one error that tells all that would stop a recipe's run."""
    from dualipo import config
    from dualipo.rounds import preflight

    settings, problems = config.examine(recipe, overrides)
    preflight.require(settings, known=problems)


def examine(folder: Path) -> Iterator[Finding]:
    """Yield the findings, quick ones first."""
    yield _python()
    yield from (_package(name) for name in LOWEST)
    yield _threads()
    yield _disk(folder)
    yield _writable(folder)
    yield from _leftovers(folder)
    yield _weights()
    torchvision = _torchvision()
    yield torchvision
    if torchvision.level != "FAIL":
        yield _models()
        yield _device()


def _python() -> Finding:
    python = f"Python {platform.python_version()}"
    if sys.version_info >= LOWEST_PYTHON:
        return Finding("OK", python)
    return Finding(
        "FAIL", f"{python} is too old", "Make the environment with Python 3.11 or newer."
    )


def _package(name: str) -> Finding:
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Finding("FAIL", f"{name} is not installed", f"Run `{INSTALL}`.")
    if _numbers(installed) >= _numbers(LOWEST[name]):
        return Finding("OK", f"{name} {installed}")
    return Finding("FAIL", f"{name} {installed} is older than {LOWEST[name]}", f"Run `{INSTALL}`.")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


def _threads() -> Finding:
    chosen, num_cores = os.environ.get("OMP_NUM_THREADS", ""), len(os.sched_getaffinity(0))
    fact = f"{chosen or 'all'} threads a process on {num_cores} cores"
    if not chosen or (chosen.isdigit() and 1 <= int(chosen) <= num_cores):
        return Finding("OK", fact)
    return Finding("WARN", fact, f"Set OMP_NUM_THREADS to 1 to {num_cores}, or unset it.")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(_existing(folder)).free / GIGABYTE
    fact = f"{free:.1f} GB free for {folder}"
    if free >= 2:
        return Finding("OK", fact)
    remedy = "A quick run takes a few hundred MB: free some space, or choose another output_dir."
    return Finding("WARN" if free >= 0.5 else "FAIL", fact, remedy)


def _writable(folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return Finding("OK", f"{folder} is writable")
    except OSError as refusal:
        fact = f"{folder} is not writable ({refusal.strerror})"
        return Finding("FAIL", fact, "Grant write permission, or choose another output_dir.")


def _leftovers(folder: Path) -> Iterator[Finding]:
    """Name what ended commands left: it is removed only by one of the host that has left it."""
    if left := list(temporaries.unclaimed(folder)):
        size = sum(file.lstat().st_size for path in left for file in (path, *path.rglob("*")))
        fact = f"{folder} holds {len(left)} temporaries, {size / GIGABYTE:.1f} GB: {left[0].name}"
        remedy = "Delete them, unless a command on another host is writing there."
        yield Finding("WARN", fact, remedy)


def _weights() -> Finding:
    if not weights.FOLDER.is_dir():
        return Finding("FAIL", "embedded weights are missing", f"Install anew: `{INSTALL}`.")
    if damage := weights.damage(weights.FOLDER):
        fact = f"embedded weights: {'; '.join(damage[:3])}"
        return Finding("FAIL", fact, f"Install anew: `{INSTALL}`.")
    return Finding("OK", "embedded weights are whole")


def _torchvision() -> Finding:
    """Look for a torchvision built for another torch, with which model imports fail unreadably."""
    if find_spec("torchvision") is None:
        return Finding("OK", "torchvision is absent, as it should be")
    if trouble := _trouble(lambda: importlib.import_module("torchvision")):
        return Finding(
            "FAIL",
            f"torchvision is present but broken ({trouble})",
            "Model imports fail with it, and dualipo needs none: `pip uninstall torchvision`.",
        )
    return Finding("OK", "torchvision is present and fits torch")


def _models() -> Finding:
    def load() -> None:
        importlib.import_module("diffusers").WanPipeline  # noqa: B018 - imported when named
        importlib.import_module("transformers").LlamaForCausalLM  # noqa: B018

    if trouble := _trouble(load):
        fact = f"the model libraries do not import ({trouble})"
        return Finding("FAIL", fact, f"Make a fresh environment, then `{INSTALL}`.")
    return Finding("OK", "diffusers and transformers load their models")


def _device() -> Finding:
    import torch

    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU, runs on the CPU"
    return Finding("OK", f"device: {name}")


def _trouble(load: Callable[[], object]) -> str:
    """Return what a broken library raises, in one line; nothing where it loads."""
    try:
        load()
    except Exception as broken:  # a half-installed library may raise anything at import
        return " ".join(f"{type(broken).__name__}: {broken}".split())[:200]
    return ""


def _existing(path: Path) -> Path:
    """Return the path, or the nearest folder above it that exists."""
    path = path.absolute()
    return path if path.exists() else _existing(path.parent)
