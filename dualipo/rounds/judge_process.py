"""A judge that never trains, at work: a model of a folder has a process of its own.

    driver                                        the judge's process
    clips and questions of a unit  --Ballot-->    its model votes, and publishes a file
    commits the file by its hash   <--sha256--

So a judge that crashes, hangs past `workers.unit_timeout` or runs out of memory ends its process
and not the run. A served judge and a table of scores have no model here; they are asked by the run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dualipo.config import Config, HeldOutJudge
from dualipo.critic import judge as judging_rules
from dualipo.critic.asks import Item
from dualipo.critic.models import backends
from dualipo.critic.models.backends import Judge
from dualipo.critic.models.rewards import RewardCritic
from dualipo.critic.models.score_file import ScoreFile
from dualipo.critic.models.served import ServedCritic
from dualipo.records import Vote
from dualipo.rounds import engines
from dualipo.rounds.bench import BenchSpec, open_bench
from dualipo.rounds.judging import VoteSeeds
from dualipo.rounds.run import Run, model_folder, threads_of_a_worker
from dualipo.store import atomic, tables
from dualipo.workers.dispatch import CrewEngine
from dualipo.workers.inline import InlineEngine
from dualipo.workers.job import Engine, Job
from dualipo.workers.processes import ProcessCrew
from dualipo.workers.roster import Roster


@dataclass(frozen=True)
class JudgeSpec:
    """All that a process needs to open a judge of a folder."""

    path: Path
    config: Config
    judge: HeldOutJudge
    folder: Path
    num_threads: int


@dataclass(frozen=True)
class OpenJudge:
    """A judge that can be asked, with what shows it clips."""

    judge: Judge
    settings: HeldOutJudge
    clips: Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Ballot:
    """A unit of questions, where its votes are published, and the seeds of its draws."""

    items: tuple[Item, ...]
    path: Path
    seed_of: VoteSeeds


def open_judge(spec: JudgeSpec) -> OpenJudge:
    """Load a judge in its process, whose arithmetic is then the driver's."""
    bench = open_bench(BenchSpec(spec.path, spec.config, spec.num_threads))
    loaded = backends.load(spec.folder, settings=spec.judge, device=bench.device)
    loaded.freeze()
    loaded.fps_of = bench.clip_fps
    return OpenJudge(loaded, spec.judge, bench.clip)


def cast(opened: OpenJudge, ballot: Ballot) -> str:
    """Ask a judge in both orders, publish its votes, and return their file's sha256."""
    votes = judging_rules.confirm(
        opened.judge,
        ballot.items,
        clips=opened.clips,
        settings=opened.settings,
        seed_of=ballot.seed_of,
    )
    return tables.write_records(ballot.path, votes, record_type=Vote)


def started(run: Run, judge: HeldOutJudge, items: Sequence[Item]) -> tuple[Engine, Job]:
    """Return who asks a judge about these items, and the job that is handed to it."""
    name = judge.pretrained_model_name_or_path
    if judge.backend == "server":
        return _here(run, judge, ServedCritic(name, settings=judge, fps_of=run.clip_fps))
    if judge.backend == "scores":
        scores = ScoreFile(Path(name).expanduser(), may_be_missing=True)
        scores.require((clip, item.caption) for item in items for clip in item.clip_hashes)
        return _here(run, judge, RewardCritic(scores))
    folder = folder_of(judge).absolute()
    spec = JudgeSpec(run.path.absolute(), run.config, judge, folder, threads_of_a_worker())
    run.forget_models()  # it may not fit beside them, nor beside those of workers
    run.make_room()
    log_folder = run.path / "logs" / f"judge-{judge.name}"
    atomic.make_folder(log_folder)
    engine = CrewEngine(
        partial(_crew, run.path.absolute(), log_folder),
        unit_timeout=run.config.workers.unit_timeout,
        max_failures=1,  # it is asked again when the command is repeated
        roster=Roster(log_folder),
    )
    return engine, Job(open_judge, spec, cast)


def folder_of(judge: HeldOutJudge) -> Path:
    """Return the folder of a judge's model."""
    setting = f"pretrained_model_name_or_path of {judge.name} in monitor.judges"
    return model_folder(judge.pretrained_model_name_or_path, "critic", setting=setting)


def _here(run: Run, judge: HeldOutJudge, loaded: Judge) -> tuple[Engine, Job]:
    opened = OpenJudge(loaded, judge, run.clip)
    return InlineEngine(opened), Job(open_judge, None, cast)


def _crew(run_path: Path, log_folder: Path) -> ProcessCrew:
    return ProcessCrew(
        engines.environments(1), token=engines.token(run_path), log_folder=log_folder
    )
