"""Runs of a few seconds in forked processes, killed at any chosen point (FAULTS.md, the harness).

The parent has imported torch and read the models once, so a fork starts at once; it never trains,
and a child ends by `os._exit`. What a run made is compared as its ledger's digest and the hash of
every file, each of which the ledger must name.
"""

import faulthandler
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dualipo import config, failpoints
from dualipo.config import Config
from dualipo.critic.models.vila import Vila
from dualipo.events import Recorded, RefreshEvent, WarmStartDpoEvent
from dualipo.generator import backbone
from dualipo.generator.sample import sample
from dualipo.progress import PlainProgress
from dualipo.records import Pair
from dualipo.rounds import loop, seed_labels
from dualipo.stages import Again
from dualipo.store import atomic, tables
from dualipo.store.ledger import Ledger
from dualipo.store.rundir import SWEPT_FOLDERS
from tests.rounds import models

RECIPE = Path(__file__).with_name("harness.toml")
MAX_SEEDS = 12
PATIENCE = 500  # seconds for a child, less than for a test
FORGETTING = "refresh.srpo.learning_rate=1e30"  # far above what a recipe may say
# One round whose refresh is a step so long that the critic forgets all it knew.
REVERTED = (
    "rounds=1",
    FORGETTING,
    "refresh.srpo.max_train_steps=1",
    "monitor.num_accuracy_pairs=3",
    "monitor.min_oracle_gap=0",
)

State = dict[str, str]


@dataclass(frozen=True)
class Harness:
    """A recipe, its uninterrupted run at `path`, and the names of the failpoints that it passed."""

    models_folder: Path
    path: Path
    overrides: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def clean(self) -> State:
        """Return what the uninterrupted run made."""
        return state(self.path)

    def recipe(self, path: Path, *overrides: str) -> Config:
        """Return the recipe for another folder, with further overrides."""
        return recipe(self.models_folder, path, *self.overrides, *overrides)

    def point(self, name: str, occurrence: int = 0) -> int:
        """Return the number of the hit at a failpoint's nth occurrence."""
        hits = [hit for hit, passed in enumerate(self.names, start=1) if passed == name]
        return hits[occurrence]

    def killed_at(self, *hits: int) -> State:
        """Return what a run makes that is killed at these hits, one process after the other."""
        with elsewhere(self) as path:
            for hit in hits:
                assert ended(self.recipe(path), fail=f"kill@{hit}") == -signal.SIGKILL
            assert ended(self.recipe(path)) == 0, log(path)
            return state(path)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Make a folder in memory where possible: fsync is free there, and SIGKILL tests no disk."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared, prefix="dualipo-") as folder:
        yield Path(folder)


@contextmanager
def elsewhere(harness: Harness) -> Iterator[Path]:
    """Make a place for another run; it stays after a failure, to be looked at."""
    path = Path(tempfile.mkdtemp(dir=harness.path.parent)) / "run"
    yield path
    shutil.rmtree(path.parent)


def prepare(
    models_folder: Path, folder: Path, *overrides: str, wanted: str, first_seed: int = 0
) -> Harness:
    """Run to the end without a fault, with the first seed by which the refresh ends as `wanted`.

    The critic flips coins: with some seeds it prefers nothing, and such a run rightly stops. It has
    to be of two minds about the seed as well, so that both halves of its warm start teach it.
    """
    for seed in range(first_seed, MAX_SEEDS):
        chosen = (*overrides, f"seed={seed}")
        path, names = folder / f"clean-{seed}", folder / f"names-{seed}"
        settings = recipe(models_folder, path, *chosen)
        code = ended(settings, fail=f"count@{names}")
        if code == 0 and outcome(path) == wanted and is_labelled_well(settings):
            return Harness(models_folder, path, chosen, tuple(names.read_text().split()))
    raise AssertionError(f"no seed under {MAX_SEEDS} gives {wanted}: {log(path)}")


def recipe(models_folder: Path, path: Path, *overrides: str) -> Config:
    """Load the harness's recipe with the tiny models."""
    own, allowed = model_overrides(models_folder), [o for o in overrides if o != FORGETTING]
    settings = config.load(RECIPE, [*own, f"output_dir={path}", *allowed])
    if FORGETTING not in overrides:
        return settings
    srpo = settings.refresh.srpo.model_copy(update={"learning_rate": 1e30})
    refresh = settings.refresh.model_copy(update={"srpo": srpo})
    return settings.model_copy(update={"refresh": refresh})


def cogvideox(models_folder: Path) -> list[str]:
    """Return the overrides for the tiny CogVideoX."""
    name = models_folder / "cogvideox"
    return [
        f"generator.pretrained_model_name_or_path={name}",
        "generator.max_sequence_length=8",
    ]


def model_overrides(models_folder: Path) -> list[str]:
    """Return the overrides that name the tiny models."""
    parts = ("generator", "critic")
    return [f"{part}.pretrained_model_name_or_path={models_folder / part}" for part in parts]


def ended(
    settings: Config, *, fail: str = "", again: Again | None = None, patience: int = PATIENCE
) -> int:
    """Run or resume in a child; return its exit code, or minus the signal that ended it."""

    def body() -> None:
        loop.run(settings, progress=PlainProgress(), again=again)

    return in_child(body, path=Path(settings.output_dir), fail=fail, patience=patience)


def in_child(
    body: Callable[[], object],
    *,
    path: Path,
    fail: str = "",
    patience: int = PATIENCE,
    meanwhile: Callable[[int], None] = lambda process: None,
) -> int:
    """Do `body` in a fork, which logs beside `path`, and `meanwhile` here, given its process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            sys.stdout = sys.stderr = open(f"{path}.log", "w", buffering=1)  # noqa: SIM115
            os.dup2(sys.stderr.fileno(), 2)
            faulthandler.dump_traceback_later(patience, exit=True)  # says where it waits for ever
            failpoints.arm(fail)
            body()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        except BaseException:  # the child ends here: nothing may reach the frames of pytest
            traceback.print_exc()
        finally:
            os._exit(code)
    meanwhile(child)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def log(path: Path) -> str:
    """Return what the last child said."""
    return Path(f"{path}.log").read_text()


@contextmanager
def ledger_of(path: Path) -> Iterator[Ledger]:
    """Open a run's ledger to read it."""
    ledger = Ledger(path / "ledger.sqlite", read_only=True)
    yield ledger
    ledger.close()


def events(path: Path, kind: type[Recorded]) -> list[Recorded]:
    """Return a run's events of one class."""
    with ledger_of(path) as ledger:
        return [event for _, event in ledger.events(kind)]


def outcome(path: Path) -> str:
    """Return how the first refresh ended; "none" for a run that ended before it."""
    return next((event.outcome for event in events(path, RefreshEvent)), "none")


def is_labelled_well(settings: Config) -> bool:
    """Tell whether a run's labels taught and measured all that they may.

    The critic's own answers to them made pairs for the warm start. Of those that are held out some
    are decided, and they are about two prompts, one to choose a checkpoint by and one to judge it.
    """
    path = Path(settings.output_dir)
    pairs = tables.read_records(path / "rounds" / "base" / "seed-pairs.parquet", record_type=Pair)
    held_out = seed_labels.keep_part(settings, pairs, held_out=True)
    return (
        any(event.num_pairs for event in events(path, WarmStartDpoEvent))
        and len({pair.prompt_id for pair in held_out}) > 1
        and any(pair.verdict in ("a", "b") for pair in held_out)
    )


def state(path: Path) -> State:
    """Return the ledger's digest and the hash of every file, each of which needs a row."""
    with ledger_of(path) as ledger:
        digest, known = ledger.digest(), ledger.files()
    inner = [file for name in SWEPT_FOLDERS for file in (path / name).rglob("*") if file.is_file()]
    hashes = {file.relative_to(path).as_posix(): atomic.sha256_file(file) for file in inner}
    assert hashes == known, sorted(hashes.items() ^ known.items())
    return {"ledger": digest, **hashes}


def make_models(folder: Path) -> Path:
    """Make the models in a child and read them here, so that forks inherit the imports."""
    assert in_child(lambda: models.make(folder), path=folder) == 0, log(folder)
    settings = recipe(folder, folder)
    Vila.load(folder / "critic", settings=settings.critic)
    wan = backbone.load(folder / "generator", max_sequence_length=16)
    sample(wan, captions=["a ball"], seeds=[0], settings=settings.generator)
    return folder
