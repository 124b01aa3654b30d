"""Makes the data of docs/results.md that rest on the runs of one recipe, some jobs at a time.

    python benchmarks/evidence.py recipes/world.toml --jobs 2            # days on two cores
    python benchmarks/evidence.py recipes/world.toml sources sight       # these, and what they need
    python benchmarks/evidence.py recipes/world.toml --list

Every job is the command of another benchmark, begun when the jobs that it needs are done. A seed's
warm start and clips are made once. The same command goes on where it stopped; a job that failed is
tried again by the next command, and its output is in RUNS/logs. Before `dual`, read what `sources`
found: sources that do not help belong out of the recipe (`refresh.sources`).
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from claims import ARMS

from dualipo.store import atomic

BENCHMARKS = Path(__file__).parent
SEEDS, MONITORED = range(4), range(5)  # the judge of a monitored run is warmed by the next seed
CRITIC_SEEDS = range(3)  # of what asks about critics alone
PROCESSES: list[subprocess.Popen[bytes]] = []  # begun so far


@dataclass(frozen=True)
class Job:
    """A benchmark's command; `needs` names the jobs before it."""

    name: str
    command: Sequence[str]
    needs: Sequence[str] = ()


class Plan:
    """The jobs of a recipe's evidence, in the order in which they are begun."""

    def __init__(self, recipe: str, runs: str, output: str) -> None:
        self.recipe, self.runs, self.output = recipe, runs, output
        self.claims = f"{runs}/claims"
        self.shared = ["--claims", self.claims]
        self.jobs: list[Job] = []

    def add(self, name: str, *command: str, needs: Sequence[str] = ()) -> None:
        """Add a command."""
        self.jobs.append(Job(name, command, needs))

    def add_arm(self, name: str, seeds: Iterable[int], *arm: str) -> None:
        """Add a run of `claims.py` for each seed; no arm is the warm start alone."""
        for seed in seeds:
            needs = [f"warm-{seed}"] if arm else []
            own = ["--seeds", f"{seed}", "--arms", *arm, "--runs", self.claims]
            self.add(f"{name}-{seed}", "claims", self.recipe, *own, needs=needs)

    def add_by_seed(self, name: str, script: str, *command: str, arm: str) -> None:
        """Add a job for each seed, then one that joins them."""
        folder = f"{self.runs}/{name}"
        own = [script, self.recipe, *command, *self.shared, "--runs", folder]
        for seed in CRITIC_SEEDS:
            part = ["--seeds", f"{seed}", "--output", f"{folder}/seed-{seed}.json"]
            self.add(f"{name}-{seed}", *own, *part, needs=[f"{arm}-{seed}"])
        path = f"{self.output}/{script.replace('_', '-')}.json"
        whole = ["--seeds", *map(str, CRITIC_SEEDS), "--output", path]
        self.add(name, *own, *whole, needs=of(name, CRITIC_SEEDS))

    def add_critics(self) -> None:
        """Add what measures critics before any refresh, and what sources teach."""
        recipe, runs, output, claims = self.recipe, self.runs, self.output, self.claims
        self.add_arm("warm", range(len(MONITORED) + 1))
        own = [*self.shared, "--runs", f"{runs}/caption-invariance", "--output", output]
        self.add("captions", "caption_invariance", recipe, "--pairs", "600", *own, needs=["warm-0"])
        warm = [f"{claims}/before-{seed}" for seed in CRITIC_SEEDS]
        own = ["--work", f"{runs}/sight", "--controls", "--output", f"{output}/sight-world.json"]
        self.add("sight", "sight", *warm, *own, needs=of("warm", CRITIC_SEEDS))
        own = [*self.shared, "--runs", f"{runs}/critic-stages", "--output", output]
        self.add("stages", "critic_stages", recipe, *own, needs=of("warm", CRITIC_SEEDS))
        self.add_arm("no_update", MONITORED, "no_update")
        self.add_by_seed("sources", "refresh_sources", "--pairs", "600", arm="no_update")
        own = [f"{claims}/no_update-0", "--output", f"{output}/votes-world.json"]
        self.add("votes", "votes", *own, needs=["no_update-0"])

    def add_loops(self) -> None:
        """Add the runs with refreshes and their controls, and what compares runs."""
        recipe, runs, output = self.recipe, self.runs, self.output
        self.add_arm("dual", SEEDS, "dual")
        own = [f"{self.claims}/dual-0", "--work", f"{runs}/rank", "--output", output]
        self.add("rank", "rank", *own, needs=["dual-0"])
        self.add_arm("coin_flip", SEEDS, "coin_flip")
        self.add_arm("nll_alone", SEEDS, "nll_alone")
        own = ["--seeds", *map(str, SEEDS), "--runs", self.claims, "--output", output]
        runs_of_all = [name for arm in ARMS for name in of(arm, SEEDS)]
        self.add("claims", "claims", recipe, *own, needs=runs_of_all)
        own = ["--runs", f"{runs}/later-rounds", "--output", f"{output}/later-rounds.json"]
        needs = ["dual-0", "no_update-0"]
        self.add("later", "later_rounds", recipe, *self.shared, *own, needs=needs)
        own = ["--arm", "no_update", "--seeds", *map(str, MONITORED)]
        own += ["--runs", f"{runs}/monitors", "--output", output]
        needs = [*of("no_update", MONITORED), f"warm-{len(MONITORED)}"]
        self.add("monitors", "monitors", recipe, *self.shared, *own, needs=needs)
        sizes = ["--pairs", "1000", "--sizes", "240", "2400"]
        self.add_by_seed("staleness", "staleness", *sizes, arm="dual")


def jobs_of(recipe: str, runs: str, output: str) -> list[Job]:
    """Return the jobs in the order in which they are begun."""
    plan = Plan(recipe, runs, output)
    plan.add_critics()
    plan.add_loops()
    return plan.jobs


def of(name: str, seeds: Iterable[int]) -> list[str]:
    """Return the names of a job of several seeds."""
    return [f"{name}-{seed}" for seed in seeds]


def needed(jobs: Sequence[Job], names: Sequence[str]) -> list[Job]:
    """Return the named jobs and all that these need, in order.

    No name means all jobs, and one without its seed the jobs of all seeds.
    """
    by_name = {job.name: job for job in jobs}
    known = {*by_name, *(name.rpartition("-")[0] for name in by_name)}
    if unknown := sorted(set(names) - known):
        raise SystemExit(f"{', '.join(unknown)}: no such job. --list shows all of them.")
    waiting = [
        name for name in by_name if not names or name in names or name.rpartition("-")[0] in names
    ]
    wanted: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += by_name[name].needs
    return [job for job in jobs if job.name in wanted]


def run_all(jobs: Sequence[Job], runs: Path, *, at_once: int) -> list[str]:
    """Run the jobs that are not done; return the names of those that failed."""
    done = {job.name for job in jobs if _mark(runs, job).exists()}
    waiting = [job for job in jobs if job.name not in done]
    under_way: dict[Future[bool], Job] = {}
    failed: list[str] = []
    with ThreadPoolExecutor(at_once) as pool:
        while True:
            for job in [job for job in waiting if done.issuperset(job.needs)]:
                if len(under_way) < at_once:
                    waiting.remove(job)
                    under_way[pool.submit(_run, job, runs, at_once)] = job
            if not under_way:
                return failed
            for finished in wait(under_way, return_when=FIRST_COMPLETED).done:
                job = under_way.pop(finished)
                if finished.result():
                    done.add(job.name)
                else:
                    failed.append(job.name)


def _run(job: Job, runs: Path, at_once: int) -> bool:
    """Run one job; return whether it ended well."""
    log, start = runs / "logs" / f"{job.name}.log", time.monotonic()
    atomic.make_folder(log.parent)
    print(f"{time.strftime('%H:%M:%S')} {job.name} begins; {log}", flush=True)
    script, *rest = job.command
    threads = str(max(1, (os.cpu_count() or 1) // at_once))
    with log.open("a") as output:
        process = subprocess.Popen(
            [sys.executable, BENCHMARKS / f"{script}.py", *rest],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "PASSIVE"},
        )
        PROCESSES.append(process)
        code = process.wait()
    minutes = (time.monotonic() - start) / 60
    now = time.strftime("%H:%M:%S")
    print(f"{now} {job.name} ends with {code} after {minutes:.1f} minutes", flush=True)
    if code == 0:
        atomic.write_text(_mark(runs, job), " ".join(job.command) + "\n")
    return code == 0


def _stop(*_: object) -> None:
    """Ask the jobs under way to stop, as this process was asked; none begins any more."""
    for process in PROCESSES:
        process.terminate()
    raise SystemExit(128 + signal.SIGTERM)


def _mark(runs: Path, job: Job) -> Path:
    return runs / "done" / job.name


def main() -> int:
    """Run the jobs, or list them; return 1 where one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("names", nargs="*", help="of jobs, such as claims, dual or dual-0")
    parser.add_argument("--jobs", type=int, default=1, help="how many at once")
    parser.add_argument("--runs", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--list", action="store_true", help="show the jobs, run none")
    arguments = parser.parse_args()
    all_jobs = jobs_of(*map(str, (arguments.recipe, arguments.runs, arguments.output)))
    jobs = needed(all_jobs, arguments.names)
    if arguments.list:
        for job in jobs:
            state = "done" if _mark(arguments.runs, job).exists() else "open"
            print(f"{state}  {job.name:12}  needs {' '.join(job.needs) or 'nothing'}")
        return 0
    signal.signal(signal.SIGTERM, _stop)
    failed = run_all(jobs, arguments.runs, at_once=arguments.jobs)
    if failed:
        print(f"Failed: {', '.join(failed)}. Their output is in {arguments.runs / 'logs'}.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
