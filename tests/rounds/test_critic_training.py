"""A critic that two processes of torchrun train is the one that the run's own process trains."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dualipo.critic import reasoning
from dualipo.critic.learning import warm_start
from dualipo.critic.learning.damages import Damaged
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.learning.srpo import Judged, Pool
from dualipo.progress import PlainProgress
from dualipo.rounds import critic_training, gating, seed_labels
from dualipo.rounds.critic_training import JOBS, Job, Lesson
from dualipo.rounds.loop import opened
from dualipo.rounds.run import WARM, Run
from tests.rounds.harness import Harness


def lesson(run: Run, folder: Path) -> Lesson:
    """Describe a refresh on the seed's own labels, and on a pair with a damaged clip."""
    pairs, _ = seed_labels.training_labels(run)
    traces = warm_start.traces(pairs)
    loser = reasoning.render_pair("", None, "", None, "a")
    judged = [Judged(trace.ask, "b", (trace.response,), loser) for trace in traces]
    own = traces[0].ask
    damaged = {"worse": Damaged(own.clip_hashes[0], "blurred", 1.0, 3)}
    asked = replace(own, clip_hashes=(own.clip_hashes[0], "worse"))
    return Lesson(
        kind="srpo",
        version_id=WARM,
        seed=7,
        folder=folder,
        pool=Pool(tuple(judged), {"tie": 1}),
        anchors=[PathPair(each.ask, each.winners[0], (4, 5, 2)) for each in judged],
        pairs=[PathPair(asked, judged[0].winners[0], judged[0].loser)],
        damaged=damaged,
        choosing=gating.held_out_half(run, chooses=True),
    )


@pytest.mark.slow
def test_two_processes_refresh_a_critic_as_the_run_itself_does(
    harness: Harness, tmp_path: Path
) -> None:
    settings = harness.recipe(harness.path)
    srpo = settings.refresh.srpo.model_copy(update={"learning_rate": 1e-3})
    steps: dict[int, list[float]] = {1: [], 2: []}
    learned: dict[int, Mapping[str, torch.Tensor]] = {}
    outcomes = []
    with opened(settings, PlainProgress()) as run:
        for num, losses in steps.items():
            critic = settings.critic.model_copy(update={"num_processes": num, "rank": 4})
            refresh = settings.refresh.model_copy(update={"srpo": srpo})
            run.config = settings.model_copy(update={"critic": critic, "refresh": refresh})
            learner, refreshed = critic_training.train(
                run,
                lesson(run, tmp_path / str(num)),
                on_step=lambda _, metrics, losses=losses: losses.append(metrics["loss"]),
            )
            learned[num] = learner.trained_weights()
            outcomes.append(refreshed)
        assert not (tmp_path / "2" / critic_training.WEIGHTS).exists()
        before = run.load_critic(WARM).module.state_dict()
    alone, shared = outcomes
    assert alone is not None and shared is not None and len(shared.kept) == len(alone.kept) > 3
    assert (shared.kept[0].ask, shared.best_step) == (alone.kept[0].ask, alone.best_step)
    for metric in ("loss", "grad_norm", "margin", "winner_nll", "held_out_loss"):
        assert shared.metrics[metric] == pytest.approx(alone.metrics[metric], rel=1e-3, abs=1e-4)
    assert len(steps[1]) == 2 and steps[2] == pytest.approx(steps[1], rel=1e-4)
    torch.testing.assert_close(learned[2], learned[1], rtol=0, atol=1e-5)
    assert max((weight - before[name]).abs().max() for name, weight in learned[2].items()) > 5e-5


def test_a_job_is_the_same_after_it_was_written_as_json(harness: Harness, tmp_path: Path) -> None:
    settings = harness.recipe(harness.path)
    with opened(settings, PlainProgress()) as run:
        job = Job(
            run_path=harness.path,
            config=settings,
            base_folder=tmp_path,
            version_folders={WARM: None},
            lesson=lesson(run, tmp_path),
        )
    again = JOBS.validate_json(JOBS.dump_json(job))
    assert (again.config, again.version_folders) == (job.config, job.version_folders)
    assert list(again.lesson.anchors) == list(job.lesson.anchors)  # token ids are a tuple again
    assert (again.lesson.pool, again.lesson.damaged) == (job.lesson.pool, job.lesson.damaged)
    assert list(again.lesson.choosing) == list(job.lesson.choosing)
