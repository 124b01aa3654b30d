"""One rank of a critic's training: `python -m dualipo.rounds.critic_rank JOB` under torchrun.

`training/rank_process.py` has what the ranks of all trainings do; `critic_training` is the
driver's side.
"""

import sys
from pathlib import Path
from typing import Any

from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.score_file import Scale
from dualipo.rounds import critic_training
from dualipo.rounds.bench import Bench
from dualipo.rounds.critic_training import JOBS, OUTCOMES, Job
from dualipo.store import tensors
from dualipo.store.ledger import ModelKind
from dualipo.training import rank_process, ranks
from dualipo.training.rank_process import OnStep


class RankBench(Bench):
    """A rank's bench: it reads the run's clips, and shares the critics that it loads."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.run_path, job.config)
        self.device = "cpu"  # until its blocks are shared, a critic may not fit on a device
        self._job = job

    def base_folder(self, kind: ModelKind) -> Path:
        """Return the folder of the critic that the recipe names, as the driver told."""
        return self._job.base_folder

    def version_folder(self, kind: ModelKind, version_id: str) -> Path | None:
        """Return a version's own folder, as the driver told."""
        return self._job.version_folders[version_id]

    def score_scale(self) -> Scale | None:
        """Return None: a table of scores does not learn."""
        return None

    def make_room(self) -> None:
        """Do nothing: the driver has freed its own models."""

    def shared_critic(self, version_id: str) -> ChatCritic:
        """Load a version's critic and share it with the other ranks."""
        return _shared(ranks.in_turn(lambda: self.load_critic(version_id)))

    def shared_learner(self, version_id: str) -> ChatCritic:
        """Load a version to be trained, and share it with the other ranks."""
        return _shared(ranks.in_turn(lambda: self.load_learner(version_id)))


def train(values: dict[str, Any], on_step: OnStep) -> dict[str, Any]:
    """Train this rank's share of the job; the first rank writes the weights."""
    job = JOBS.validate_python(values)
    bench = RankBench(job)
    learner = bench.shared_learner(job.lesson.version_id)
    refreshed = critic_training.learn(
        bench, learner, job.lesson, load=bench.shared_critic, on_step=on_step
    )
    if refreshed is None or refreshed.status == "trained":
        weights = learner.trained_weights()
        if ranks.rank() == 0:
            tensors.save(job.weights_path, weights, metadata={})
    return {"refreshed": OUTCOMES.dump_python(refreshed, mode="json")}


def _shared(critic: ChatCritic) -> ChatCritic:
    critic.shard()
    return critic


if __name__ == "__main__":
    sys.exit(rank_process.main(Path(sys.argv[1]), train))
