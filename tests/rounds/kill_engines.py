"""Kill runs of every engine at drawn points, drivers and workers, and keep a table of the outcomes.

| engine | its workers | who dies |
|---|---|---|
| inline | the run's own process | the driver |
| processes | two processes | the driver, and each worker at its nth failpoint |
| ray | two actors on two nodes | the same; the cluster outlives the driver |

A run is killed at several points one after the other, and resumed each time: 10 for the kill
harness, 5 for the smoke recipe, whose units are larger: a driver must live long enough for one.
Every row is written when it is done, and a repeated command makes those that are missing. When what
a clean run makes has changed, the rows of its recipe are made anew.
"""

import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dualipo import config
from dualipo.config import Config
from dualipo.progress import PlainProgress
from dualipo.rounds import loop
from dualipo.store import atomic, worker_rows
from tests.rounds import harness as harnesses
from tests.rounds import two_nodes
from tests.rounds.harness import State

TABLE = Path("benchmarks/results/kills.json")
SMOKE = Path("recipes/smoke.toml")
RECIPES = ("harness", "smoke")
NUM_POINTS = 20
PATIENCE = 3600  # seconds for a child, on a machine that has other things to do
TWO = "workers.num_workers=2"
ENGINES = {
    "inline": (),
    "processes": ("workers.engine=processes", TWO),
    "ray": ("workers.engine=ray", TWO),
}


@dataclass(frozen=True)
class Subject:
    """A recipe whose runs are killed, and what one makes that is not.

    `settings` takes a folder and overrides. No unit passes `unit_hits` failpoints in its worker, so
    a worker that ends later than that has done a unit. The clean run passed `num_hits` failpoints,
    and each other is killed `num_kills` times.
    """

    name: str
    settings: Callable[..., Config]
    clean: State
    unit_hits: int
    num_hits: int
    num_kills: int

    @property
    def hits(self) -> tuple[int, int]:
        """Return the first and last failpoint at which a driver's process is killed.

        A process that resumes passes four at once. With workers a driver passes a quarter fewer, as
        they publish the clips.
        """
        return 5, 2 * (self.num_hits * 3 // 4) // (self.num_kills + 1)


@dataclass
class Row:
    """The outcome of one run: where it was killed, and what it made differently, if anything."""

    recipe: str
    engine: str
    driver_kills: list[int] = field(default_factory=list)
    workers_die_at: list[int] = field(default_factory=list)
    num_worker_deaths: int = 0  # of workers with a unit, since the last kill of the driver
    differs: str = ""
    seconds: float = 0.0


def kill_all_engines(
    folder: Path, models_folder: Path, table_path: Path, *, recipes: Sequence[str]
) -> int:
    """Make the rows that the table lacks of these recipes; return how many of theirs differ."""
    num_different = 0
    if "harness" in recipes:
        harness = harness_subject(folder, models_folder)
        num_different += kill_by_engines(harness, folder, table_path)
    if "smoke" in recipes:
        num_different += kill_by_engines(smoke_subject(folder), folder, table_path)
    return num_different


def kill_by_engines(subject: Subject, folder: Path, table_path: Path) -> int:
    """Make the rows that the subject lacks; return how many of its rows differ."""
    table = _table(table_path, subject)
    for number, engine in itertools.product(range(NUM_POINTS // subject.num_kills), ENGINES):
        name = f"{subject.name} {engine} {number}"
        if name not in table["rows"]:
            with _address(engine) as address:
                row = kill(subject, engine, folder / name.replace(" ", "-"), name, address)
            table["rows"][name] = asdict(row)
            atomic.write_json(table_path, table)
            print(f"{name}: {row.differs or 'equal'}, {row.seconds:.0f} s", flush=True)
    rows = table["rows"].values()
    return sum(row["recipe"] == subject.name and row["differs"] != "" for row in rows)


def kill(subject: Subject, engine: str, folder: Path, name: str, address: Sequence[str]) -> Row:
    """Run until the driver was killed as often as the subject asks, then to the end; compare."""
    draw, row, start = random.Random(name), Row(subject.name, engine), time.monotonic()
    settings = subject.settings(folder / "run", *ENGINES[engine], *address)
    code = -signal.SIGKILL
    while code == -signal.SIGKILL:
        fail = ""
        if len(row.driver_kills) < subject.num_kills:
            row.driver_kills.append(draw.randint(*subject.hits))
            fail = f"kill@{row.driver_kills[-1]}"
        row.workers_die_at.append(draw.randint(subject.unit_hits, 2 * subject.unit_hits))
        code = _live(settings, fail=fail, workers_die_at=row.workers_die_at[-1])
    if fail:
        row.driver_kills.pop()  # the run was over before
    if engine == "inline":
        row.workers_die_at.clear()
    row.num_worker_deaths = sum(each.num_failures for each in worker_rows.read(folder / "run"))
    row.differs = _difference(folder / "run", subject.clean) if code == 0 else f"ended with {code}"
    row.seconds = time.monotonic() - start
    if not row.differs:
        shutil.rmtree(folder)
    return row


def _live(settings: Config, *, fail: str, workers_die_at: int) -> int:
    """Run or resume in a child whose workers end at that failpoint of theirs; return its code."""
    for_workers = {"DUALIPO_FAIL": f"kill@{workers_die_at}"}  # this process has read its own

    def body() -> None:
        os.environ |= for_workers
        if settings.workers.engine == "ray":
            import ray

            # The nodes have an environment of their own.
            environment = {"env_vars": for_workers}
            ray.init(settings.workers.address, log_to_driver=False, runtime_env=environment)
        loop.run(settings, progress=PlainProgress())

    path = Path(settings.output_dir)
    return harnesses.in_child(body, path=path, fail=fail, patience=PATIENCE)


def harness_subject(folder: Path, models_folder: Path) -> Subject:
    """Make the clean run of the kill harness."""
    harness = harnesses.prepare(models_folder, folder / "refreshed", wanted="refreshed")
    num_hits = len(harness.names)
    return Subject("harness", harness.recipe, harness.clean, 22, num_hits, num_kills=10)


def smoke_subject(folder: Path) -> Subject:
    """Make the clean run of the smoke recipe."""

    def settings(path: Path, *overrides: str) -> Config:
        return config.load(SMOKE, [f"output_dir={path}", *overrides])

    path, names_path = folder / "smoke-clean", folder / "smoke-names"
    code = harnesses.ended(settings(path), fail=f"count@{names_path}", patience=PATIENCE)
    assert code == 0, harnesses.log(path)
    num_hits = len(names_path.read_text().split())
    return Subject("smoke", settings, harnesses.state(path), 30, num_hits, num_kills=5)


@contextmanager
def _address(engine: str) -> Iterator[tuple[str, ...]]:
    """Yield the override that names the cluster, which is there for this context."""
    if engine != "ray":
        yield ()
        return
    with two_nodes.address_of_cluster() as address:
        yield (f"workers.address={address}",)


def _table(path: Path, subject: Subject) -> dict[str, Any]:
    """Read the table, without the subject's rows if its clean run makes something else now."""
    table = atomic.read_json(path) if path.is_file() else {"ledgers": {}, "rows": {}}
    if table["ledgers"].get(subject.name) != subject.clean["ledger"]:
        table["ledgers"][subject.name] = subject.clean["ledger"]
        rows = table["rows"].items()
        table["rows"] = {key: row for key, row in rows if row["recipe"] != subject.name}
    return table


def _difference(path: Path, clean: State) -> str:
    """Return the names of what differs from the clean run, "" if nothing does."""
    try:
        made = harnesses.state(path)
    except AssertionError as orphans:
        return f"files without a row: {orphans}"
    return ", ".join(sorted(n for n in made.keys() | clean.keys() if made.get(n) != clean.get(n)))
