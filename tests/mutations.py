"""Does the suite notice when the code stops holding a fault? Break it on purpose, row by row.

    python -m tests.mutations                 every row of mutations.toml; ends with 1 if one lives
    python -m tests.mutations 12 25 38        the rows of these faults
    python -m tests.mutations --list          what would be broken, and by which tests it is caught

A mutation replaces a piece of text in one file of a copy of the package, so that a mutation never
touches the working tree. The row's tests then run on the copy, and have to fail. What takes long
to import is imported once: each mutation runs in a fork. Left out: mutations that are drawn by a
program; each of ours undoes one thing that a row of FAULTS.md demands.
"""

import argparse
import importlib
import io
import os
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("dualipo", "tests", "benchmarks", "recipes", "docs")
HEAVY = (
    "torch",
    "transformers",
    "diffusers",
    "peft",
    "pyarrow.parquet",
    "av",
    "pydantic",
    "pytest",
)


@dataclass(frozen=True)
class Mutation:
    """A break of the code: `old` becomes `new` in `file`, and one of `tests` must fail.

    `what` says in words what the code then does not do any more.
    """

    fault: int
    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, text: str) -> str:
        """Return a file's text with the mutation in it."""
        assert text.count(self.old) == 1, f"{self.file}: {text.count(self.old)} times {self.old!r}"
        return text.replace(self.old, self.new)


def read(path: Path = ROOT / "tests" / "mutations.toml") -> list[Mutation]:
    """Read all mutations, in the order of their faults."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutation"]
    return [Mutation(**row | {"tests": tuple(row["tests"])}) for row in rows]


def is_caught(mutation: Mutation, copy: Path) -> tuple[bool, str]:
    """Run the tests on a mutated copy of the tree; return whether one failed, and what was said."""
    path, aside = copy / mutation.file, copy / "whole.txt"
    shutil.copy2(path, aside)
    path.write_text(mutation.apply(path.read_text(encoding="utf-8")), encoding="utf-8")
    try:
        code, said = _pytest(mutation.tests, copy)
    finally:
        shutil.copy2(aside, path)
    failed = re.findall(r"^(?:FAILED|ERROR) \S+", said, re.M)
    return code == 1 and bool(failed), said


def _pytest(tests: Sequence[str], copy: Path) -> tuple[int, str]:
    """Run pytest on the copy in a fork, which has what is heavy in its memory already."""
    log = copy / "said.txt"
    child = os.fork()
    if child == 0:
        code = 2
        with suppress(BaseException):
            code = _run_here(tests, copy, log)
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), log.read_text()


def _run_here(tests: Sequence[str], copy: Path, log: Path) -> int:
    """Run pytest in this process, with the copy in place of the package."""
    sys.dont_write_bytecode = True
    sys.path[:] = [
        str(copy),
        *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT),
    ]
    for name in [name for name in sys.modules if name.split(".")[0] in ("dualipo", "tests")]:
        del sys.modules[name]
    os.environ |= {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    os.chdir(copy)
    import pytest

    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:warnings", "--rootdir", str(copy)]
    with open(log, "w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream  # a test that runs this has its own in their places
        return int(pytest.main([*options, *tests]))


def _copied(folder: Path) -> Path:
    """Copy what tests need; the copies keep their times, so that compiled files stay valid."""
    copy = folder / "tree"
    for name in COPIED:
        if (ROOT / name).exists():
            shutil.copytree(ROOT / name, copy / name)
    for path in ROOT.glob("*.*"):
        if path.is_file():
            shutil.copy2(path, copy / path.name)
    return copy


def _warm() -> None:
    """Import what takes long, once for all forks; its own messages are of no interest here."""
    os.environ |= {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        for name in HEAVY:
            with suppress(ImportError):
                importlib.import_module(name)


def main() -> int:
    """Try the mutations that were asked for; return 1 if the suite did not notice one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("faults", type=int, nargs="*", help="rows of FAULTS.md; all by default")
    parser.add_argument("--list", action="store_true", help="print the mutations, and try none")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what the tests said")
    arguments = parser.parse_args()
    chosen = [m for m in read() if not arguments.faults or m.fault in arguments.faults]
    if arguments.list:
        for mutation in chosen:
            print(f"{mutation.fault:>3}  {mutation.what}: {' '.join(mutation.tests)}")
        return 0
    _warm()
    alive = []
    with tempfile.TemporaryDirectory(prefix="dualipo-mutations-") as folder:
        copy = _copied(Path(folder))
        for mutation in chosen:
            caught, said = is_caught(mutation, copy)
            print(
                f"{mutation.fault:>3}  {'caught' if caught else 'ALIVE '}  {mutation.what}",
                flush=True,
            )
            if arguments.verbose or not caught:
                print(said[-2000:], flush=True)
            alive += [] if caught else [mutation]
    print(f"{len(chosen) - len(alive)} of {len(chosen)} mutations were caught.")
    return bool(alive)


if __name__ == "__main__":
    sys.exit(main())
