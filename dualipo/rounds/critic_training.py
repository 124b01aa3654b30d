"""A critic's training, in the run's own process or shared by several (`critic.num_processes`).

    run.learner -> learn                              one process
    Job -> torchrun -> critic_rank -> learn           several: the first writes the weights,
                    -> load_critic, load_trained      and the run's process reads them

A `Lesson` says what is to be learned in plain values, so that another process can be told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from dualipo.config import Config
from dualipo.critic.learning import preference, srpo, warm_start
from dualipo.critic.learning.damages import Damaged, with_damaged
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.learning.srpo import Pool, Refreshed
from dualipo.critic.learning.warm_start import Trace
from dualipo.critic.models.chat import ChatCritic
from dualipo.rounds.bench import Bench
from dualipo.rounds.checkpoint_choice import HeldOutWatch
from dualipo.rounds.clock import Clock
from dualipo.rounds.gating import Label
from dualipo.rounds.run import SFT, Run
from dualipo.store import tensors
from dualipo.training import torchrun

OnStep = Callable[[int, Mapping[str, float]], None]
Kind = Literal["sft", "dpo", "srpo"]
WEIGHTS = "learned.safetensors"


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What a version of the critic learns, and where its checkpoints are.

    "sft" learns `traces`, "dpo" learns `pairs`, and "srpo" learns the certain part of `pool` and
    `pairs`, beside `anchors`; the labels `choosing` then choose a checkpoint. Clips are named by
    their hashes, and those of `damaged` by the names that they have there.
    """

    kind: Kind
    version_id: str
    seed: int
    folder: Path
    traces: Sequence[Trace] = ()
    pairs: Sequence[PathPair] = ()
    anchors: Sequence[PathPair] = ()
    pool: Pool = field(default_factory=lambda: Pool((), {}))
    damaged: Mapping[str, Damaged] = field(default_factory=dict)
    choosing: Sequence[Label] = ()


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the ranks are told: the lesson, and where models, clips and the weights are."""

    run_path: Path
    config: Config
    base_folder: Path
    version_folders: Mapping[str, Path | None]
    lesson: Lesson
    peer_timeout: float = 600.0  # seconds for which a rank waits for another one

    @property
    def weights_path(self) -> Path:
        """Where the first rank leaves what was learned."""
        return self.lesson.folder / WEIGHTS


JOBS = TypeAdapter(Job)
OUTCOMES: TypeAdapter[Refreshed | None] = TypeAdapter(Refreshed | None)


def clock(run: Run) -> Clock:
    """Start a clock for a training of the critic."""
    return Clock(num_devices=run.config.critic.num_processes)


def train(run: Run, lesson: Lesson, *, on_step: OnStep) -> tuple[ChatCritic, Refreshed | None]:
    """Train a copy of the lesson's version; return it, and what SRPO made of its pool."""
    if run.config.critic.num_processes == 1:
        learner = run.learner(lesson.version_id)
        return learner, learn(run, learner, lesson, load=run.load_compared, on_step=on_step)
    run.forget_models()
    run.make_room()
    lesson.folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        run_path=run.path.absolute(),
        config=run.config,
        base_folder=run.base_folder("critic").absolute(),
        version_folders={
            version_id: own.absolute()
            if (own := run.version_folder("critic", version_id))
            else None
            for version_id in {lesson.version_id, *([SFT] if lesson.kind == "srpo" else [])}
        },
        lesson=lesson,
    )
    told = torchrun.run(
        "dualipo.rounds.critic_rank",
        JOBS.dump_python(job, mode="json"),
        team=torchrun.team_of("critic", run.config.critic, run.path),
        folder=lesson.folder,
        on_step=on_step,
    )
    learner = run.load_critic(lesson.version_id)
    if job.weights_path.exists():
        learner.load_trained(tensors.load(job.weights_path))
        job.weights_path.unlink()
    return learner, OUTCOMES.validate_python(told["refreshed"])


def learn(
    bench: Bench,
    learner: ChatCritic,
    lesson: Lesson,
    *,
    load: Callable[[str], ChatCritic],
    on_step: OnStep,
) -> Refreshed | None:
    """Train `learner` in place; `load` opens another version beside it, to compare with.

    Where several ranks train together (training/ranks.py), all of them call this.
    """
    config = bench.config
    batch_size = config.critic.judge_batch_size
    shared: dict[str, Any] = {
        "clips": with_damaged(bench.clip, lesson.damaged),
        "captionless": config.critic.questions.captionless(),
        "checkpoint_folder": lesson.folder / "checkpoints",
        "seed": lesson.seed,
        "on_step": on_step,
    }
    if lesson.kind == "sft":
        warm_start.supervise(learner, lesson.traces, settings=config.warm_start_sft, **shared)
    elif lesson.kind == "dpo":
        settings = config.warm_start_dpo
        preference.train(
            learner, lesson.pairs, settings=settings, reference_batch_size=batch_size, **shared
        )
    else:
        return srpo.refresh(
            learner,
            lesson.pool,
            load_sft=lambda: load(SFT),
            anchors=lesson.anchors,
            further=lesson.pairs,
            min_pairs=config.refresh.min_pairs,
            settings=config.refresh.srpo,
            batch_size=batch_size,
            watch=_watch(bench, learner, lesson),
            **shared,
        )
    return None


def _watch(bench: Bench, learner: ChatCritic, lesson: Lesson) -> HeldOutWatch | None:
    """Return what chooses the checkpoint, if there are labels for it."""
    if not lesson.choosing or not bench.config.refresh.srpo.num_choices:
        return None
    return HeldOutWatch(learner, lesson.choosing, bench.clip, bench.config)
