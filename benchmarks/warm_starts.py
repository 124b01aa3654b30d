"""A warm start beside a run's own, with its steps and on other labels; used by benchmarks."""

from collections.abc import Sequence
from pathlib import Path

from dualipo.critic.learning import preference, warm_start
from dualipo.critic.learning.warm_start import Trace
from dualipo.critic.models.chat import ChatCritic
from dualipo.rounds import judging
from dualipo.rounds.run import SHIPPED, Run


def warmed(
    run: Run, traces: Sequence[Trace], asked: Sequence[Trace], *, folder: Path, name: str
) -> ChatCritic:
    """Warm the shipped critic on `traces`, then by DPO on its own answers to what is `asked`.

    Checkpoints are kept in `folder`; `name` stands in the seeds of the answers.
    """
    critic, settings = run.learner(SHIPPED), run.config
    warm_start.supervise(
        critic,
        traces,
        clips=run.clip,
        settings=settings.warm_start_sft,
        checkpoint_folder=folder / "sft",
        seed=run.seed("warm_start_sft"),
    )
    own = warm_start.self_sampled(
        critic,
        asked[: settings.warm_start_dpo.max_questions],
        clips=run.clip,
        num_paths=settings.warm_start_dpo.num_paths,
        settings=settings.critic,
        seed_of=judging.seed_of(run, "own traces", name),
    )
    if own and settings.warm_start_dpo.max_train_steps:
        preference.train(
            critic,
            own,
            clips=run.clip,
            settings=settings.warm_start_dpo,
            reference_batch_size=settings.critic.judge_batch_size,
            checkpoint_folder=folder / "dpo",
            seed=run.seed("warm_start_dpo"),
        )
    critic.freeze()
    return critic
