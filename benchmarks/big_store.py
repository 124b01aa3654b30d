"""Times a run's store that holds a round of the paper's size: 800,000 clips, 4.8 million grades.

    python benchmarks/big_store.py --folder /dev/shm                # a folder in memory, some 5 GB
    python benchmarks/big_store.py --prompts 50 --output here.json  # does it work?

The round is made by the code that a run commits its units with: 8 clips a unit, and the grades of
16. Clips, latents and tables of votes are empty files. Then each step is timed in a forked process,
whose peak memory is stated, beside the same for a process that has only imported the package.
Seconds are those of the processor. `--folder` should lie in memory: on a disk every unit waits for
its flush, which is the disk's time and not the store's. `--keep` leaves the run there.
"""

import argparse
import functools
import hashlib
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from children import in_child, with_peak

from dualipo import config
from dualipo.config import Config
from dualipo.evaluation.report.report_tables import Table
from dualipo.events import SampleUnitEvent
from dualipo.progress import PlainProgress
from dualipo.records import GRADE_SCORES, Candidate, Prompt, Vote
from dualipo.rounds import judging, loop, sampling
from dualipo.rounds.clip_units import ClipSet, latents_path
from dualipo.rounds.run import BASE_GENERATOR, BASE_ROUND, WARM, Run
from dualipo.rounds.vote_reading import shard_path
from dualipo.store import atomic
from dualipo.store.ledger import Unit, Version
from dualipo.workers.job import Cost

RECIPE = Path(__file__).resolve().parent.parent / "recipes" / "wan2.1-1.3b-vila.toml"
RESULT = Path(__file__).resolve().parent / "results" / "big-store.json"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
NUM_PATHS = 2  # grades of one clip in one dimension
PATHS_PER_UNIT = 96
NUM_COMMITS = 50
# `dualipo`, which prints its own peak memory in kB at its end.
PROGRAM = """
from dualipo.cli.main import main
assert main() == 0
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


def settings(folder: Path, num_prompts: int) -> Config:
    """Return the shipped recipe's settings for a run in `folder`."""
    changes = {
        "output_dir": folder,
        "prompts.num_prompts": num_prompts,
        "critic.num_score_paths": NUM_PATHS,
        "critic.judge_batch_size": PATHS_PER_UNIT,
    }
    return config.load(RECIPE, [f"{name}={value}" for name, value in changes.items()])


def fill(folder: Path, num_prompts: int) -> dict[str, int]:
    """Make a run whose first round is sampled and graded; return the numbers of its rows."""
    own = settings(folder, num_prompts)
    with loop.opened(own, PlainProgress()) as run:
        run.ledger.commit_unit(
            Unit(BASE_ROUND, 0, "models"),
            versions=[
                Version("generator", BASE_GENERATOR, None, BASE_ROUND, 0, "", EMPTY_SHA256),
                Version("critic", WARM, None, BASE_ROUND, 0, "", EMPTY_SHA256),
            ],
        )
        prompts = [Prompt(f"{_hash(n)[:16]}", _caption(n)) for n in range(num_prompts)]
        path = run.directory.round_path(0) / "prompts.parquet"
        sampling._write_prompts(path, prompts)
        run.commit(Unit(0, 0, "prompts"), files=(path,))
        candidates = list(_sample(run, prompts))
        num_units = _grade(run, candidates)
    num_votes = len(candidates) * len(own.critic.questions.names) * NUM_PATHS
    return {
        "prompts": num_prompts,
        "candidates": len(candidates),
        "votes": num_votes,
        "units": num_units + num_prompts,
    }


def filled(folder: Path, num_prompts: int) -> dict[str, Any]:
    """Make the run; return the numbers of its rows, and the time that it took."""
    start = time.process_time()
    rows = fill(folder, num_prompts)
    return {"rows": rows, "fill_seconds": time.process_time() - start}


def _sample(run: Run, prompts: list[Prompt]) -> Iterator[Candidate]:
    """Commit the units of the round's clips; yield the candidates."""
    settings_ = run.config.generator
    clips = ClipSet("candidates", 0, 0, BASE_GENERATOR, prompts, settings_.num_candidates, True)
    for index, own in enumerate(sampling.units_of(run, clips)):
        candidates = [
            Candidate(
                clips.candidate_id(prompt, k),
                prompt.prompt_id,
                prompt.caption,
                k,
                0,
                run.seed(prompt.prompt_id, k),
                _hash(prompt.prompt_id, k),
                BASE_GENERATOR,
                0,
            )
            for prompt in own
            for k in range(settings_.num_candidates)
        ]
        latents = latents_path(run, 0, f"{index:04d}")
        for path in (latents, *(run.clip_store.path(each.clip) for each in candidates)):
            _make_empty(path)
        run.commit(
            clips.unit(index),
            hashed={run.directory.relative(latents): EMPTY_SHA256},
            clips=tuple(each.clip for each in candidates),
            candidates=candidates,
            cost=Cost(90.0, 40_000.0, "H100", "node-1"),
            events=[SampleUnitEvent(wanted=len(candidates), made=len(candidates))],
        )
        yield from candidates


def _grade(run: Run, candidates: list[Candidate]) -> int:
    """Commit the units of the round's grades; return how many units they are."""
    names = run.config.critic.questions.names
    per_unit = max(1, run.config.critic.judge_batch_size // (NUM_PATHS * len(names)))
    chance = random.Random(0)
    starts = range(0, len(candidates), per_unit)
    for index, start in enumerate(starts):
        _commit_grades(
            run, Unit(0, 0, "score", index), candidates[start : start + per_unit], chance
        )
    return len(starts)


def _commit_grades(
    run: Run, unit: Unit, candidates: list[Candidate], chance: random.Random
) -> None:
    path = shard_path(run, unit)
    _make_empty(path)
    run.commit(
        unit,
        hashed={run.directory.relative(path): EMPTY_SHA256},
        votes=[
            ("point", WARM, _vote(each.candidate_id, name, draw, chance))
            for each in candidates
            for name in run.config.critic.questions.names
            for draw in range(NUM_PATHS)
        ],
        cost=Cost(3.0, 40_000.0, "H100", "node-1"),
    )


def _vote(item: str, dimension: str, draw: int, chance: random.Random) -> Vote:
    outcome, score = chance.choice([*GRADE_SCORES.items()])
    return Vote(item, dimension, "ab", draw, outcome, -20 * chance.random(), "", score * 0.9)


@functools.cache
def _make_folder(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True)


def _make_empty(path: Path) -> None:
    _make_folder(path.parent)
    open(path, "wb").close()


def _caption(number: int) -> str:
    return (
        f"{number}: "
        + "a person in a red coat walks along a beach at dawn, seen from a drone, " * 2
    )


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


# What is timed, each in a process of its own


def imported(folder: Path, num_prompts: int) -> float:
    """Do nothing: a process that has imported the package."""
    return 0.0


def status(folder: Path, num_prompts: int) -> tuple[float, float]:
    """Run `dualipo status`, with its imports; return its time and its peak memory."""
    command = [sys.executable, "-c", PROGRAM, "status", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime, int(done.stdout.split()[-1]) / 1024


def opening(folder: Path, num_prompts: int) -> float:
    """Open the run as a repeated command does: files without a row are looked for."""
    start = time.process_time()
    with loop.opened(settings(folder, num_prompts), PlainProgress()):
        return time.process_time() - start


def resume_sampling(folder: Path, num_prompts: int) -> float:
    """Find that every unit of clips is done, and close the set or read it."""
    return _resumed(folder, num_prompts, lambda run: _candidates(run))


def resume_grading(folder: Path, num_prompts: int) -> float:
    """Find that every clip is graded, and that the critic may be believed."""
    return _resumed(folder, num_prompts, lambda run: judging.score(run, 0, 0, _candidates(run)))


def contests(folder: Path, num_prompts: int) -> float:
    """Read all grades back, and choose each prompt's best and worst clip."""

    def choose(run: Run) -> None:
        judging.contests_of(run, 0, 0, _candidates(run))

    return _resumed(folder, num_prompts, choose)


def commit(folder: Path, num_prompts: int) -> float:
    """Commit a unit of grades; the median of several."""
    with loop.opened(settings(folder, num_prompts), PlainProgress()) as run:
        candidates = run.ledger.candidates(0)[: 2 * NUM_COMMITS]
        first = len(run.ledger.done_indices(Unit(0, 1, "score")))
        spent = [
            _timed(
                functools.partial(
                    _commit_grades,
                    run,
                    Unit(0, 1, "score", first + n),
                    candidates[2 * n : 2 * n + 2],
                    random.Random(first + n),
                )
            )
            for n in range(NUM_COMMITS)
        ]
        return statistics.median(spent)


def _resumed(folder: Path, num_prompts: int, stage: Callable[[Run], Any]) -> float:
    with loop.opened(settings(folder, num_prompts), PlainProgress()) as run:
        return _timed(lambda: stage(run))


def _candidates(run: Run) -> list[Candidate]:
    return sampling.sample_candidates(run, 0, sampling.choose_prompts(run, 0))


def _timed(step: Callable[[], Any]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


STATUS = "`dualipo status`"
STEPS: dict[str, Callable[[Path, int], Any]] = {
    "imports alone": imported,
    STATUS: status,
    "opening the run": opening,
    "resuming the sampling": resume_sampling,
    "resuming the grading": resume_grading,
    "choosing the contests": contests,
    "one unit's commit": commit,
}


def measure(folder: Path, num_prompts: int) -> dict[str, dict[str, float]]:
    """Return the seconds and the peak memory of every step."""
    measured = {}
    for name, step in STEPS.items():
        seconds, peak_mb = in_child(with_peak, step, folder, num_prompts, start="fork")
        if name == STATUS:
            seconds, peak_mb = seconds
        measured[name] = {"seconds": seconds, "peak_mb": peak_mb}
        print(name, measured[name], flush=True)
    return measured


def table(result: Mapping[str, Any]) -> str:
    """Format the steps' seconds and memory, in markdown."""
    steps = result["steps"]
    alone = steps["imports alone"]["peak_mb"]
    rows = [
        [
            name,
            f"{step['seconds']:.3g} s",
            f"{step['peak_mb']:,.0f} MB in all"
            if name == STATUS
            else f"{step['peak_mb'] - alone:,.0f} MB",
        ]
        for name in STEPS
        if (step := steps[name]) and name != "imports alone"
    ]
    if num_rows := result.get("rows"):
        size = ", ".join(f"{num:,} {name}" for name, num in num_rows.items())
        rows.append([f"of {size}", "", ""])
    return Table(["step", "time", "peak memory above the imports'"], rows).in_markdown()


def main() -> None:
    """Make the run, time the steps, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--keep", action="store_true", help="leave the run in the folder")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    folder = arguments.folder / "big-store"
    result: dict[str, Any] = {}
    if not folder.exists():
        result = in_child(filled, folder, arguments.prompts, start="fork")
    print(result, flush=True)
    result["steps"] = measure(folder, arguments.prompts)
    atomic.write_json(arguments.output, result)
    if not arguments.keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
