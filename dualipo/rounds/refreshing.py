"""Refresh a stale critic on the round's own clips (METHOD.md 3.2, 5).

    pairs of every source (`gathering`): votes, constructed, newer, audit
      -> certain votes and labelled pairs -> SRPO, anchored by the seed -> a new critic

The new critic serves unless the gate finds it worse on labels of the present clips (`gating`), or
it fails a self-check that the old one passed, by more than chance. Then it is kept as evidence, and
the old one serves on (fault 33). An empty pool, and one too small to learn from, are outcomes,
never a crash (fault 32).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dualipo.critic.asks import Item
from dualipo.critic.learning import srpo
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.trust.checks import Checked
from dualipo.critic.trust.forced_choice import Place
from dualipo.critic.vlm import Vlm
from dualipo.event_parts import Gate, Refinement
from dualipo.events import Event, HoldoutEvent, MonitorEvent, Outcome, RefreshEvent
from dualipo.records import Candidate
from dualipo.rounds import accuracy, asking, checking, critic_training, gathering, gating, warming
from dualipo.rounds.asking import Ask
from dualipo.rounds.clock import Clock
from dualipo.rounds.critic_training import Lesson
from dualipo.rounds.gathering import Gathered
from dualipo.rounds.gating import GateLabels, Leans
from dualipo.rounds.run import Run
from dualipo.rounds.versions import critic_made, critic_of
from dualipo.store.ledger import Unit


@dataclass(frozen=True)
class _Before:
    """The old critic's accuracy on held-out labels, and its leans on the gate's labels."""

    accuracy: float | None
    labels: GateLabels
    leans: Leans


@dataclass(frozen=True)
class _Trial:
    """A refreshed critic's results beside the old one's; `checked` is None without self-checks."""

    accuracy: float | None
    gate: Gate | None
    checked: Checked | None
    newly_failed: list[str]
    serves: bool


def refresh_critic(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> bool:
    """Refresh the critic if it is stale; return True when the round must be judged again."""
    unit = Unit(round, attempt, "refresh")
    if not run.is_done(unit):
        why = reasons(run, round, attempt)
        if not why or not run.config.refresh.update_critic:
            outcome: Outcome = "off" if why else "not needed"
            critic = critic_of(run, round, attempt)
            event = RefreshEvent(outcome=outcome, why=why, critic_version=critic)
            run.commit(unit, events=[event])
        else:
            refine(run, unit, candidates, why)
    return run.recorded(unit, RefreshEvent).outcome == "refreshed"


def reasons(run: Run, round: int, attempt: int) -> list[str]:
    """Return why the critic is stale: the monitor's triggers, or that the recipe forces it."""
    monitored = run.recorded(Unit(round, attempt, "monitor"), MonitorEvent)
    is_forced = round in run.config.refresh.force_rounds
    return monitored.triggers + (["the recipe asks for it"] if is_forced else [])


def refine(run: Run, unit: Unit, candidates: Sequence[Candidate], why: list[str]) -> None:
    """Train the critic on the pairs of all sources; let it serve if its trial allows."""
    current = critic_of(run, unit.round, unit.attempt)
    before = _before(run, unit, current)
    gathered = gathering.gather(run, unit, candidates, critic=current)
    clock = critic_training.clock(run)
    folder = run.directory.attempt_path(unit.round, unit.attempt) / "critic"
    learner, refreshed = train(run, unit, gathered, current, folder=folder)
    refinement = Refinement(
        num_judged=gathered.num_judged,
        num_kept=len(refreshed.kept),
        dropped={str(reason): num for reason, num in refreshed.dropped.items()},
        mean_pce=refreshed.mean_pce,
        holdout_before=before.accuracy,
        holdout_after=None,
        sources=gathering.counts(run, gathered, refreshed.kept),
        best_step=refreshed.best_step,
    )
    if refreshed.status != "trained":
        outcome: Outcome = "too few" if refreshed.status == "too few" else "empty"
        event = RefreshEvent(
            outcome=outcome, why=why, critic_version=current, refinement=refinement
        )
        run.commit(unit, clock=clock, events=[event])
        run.forget_models()
        return
    _publish(
        run, unit, learner, before, current=current, why=why, refinement=refinement, clock=clock
    )


def _before(run: Run, unit: Unit, current: str) -> _Before:
    """Measure the critic that serves, before it is trained on."""
    labels = gating.labels_for(run, unit.round, unit.attempt)
    leans = _leans(run, current, labels)
    return _Before(accuracy.holdout_accuracy(run, current), labels, leans)


def _publish(
    run: Run,
    unit: Unit,
    learner: ChatCritic,
    before: _Before,
    *,
    current: str,
    why: list[str],
    refinement: Refinement,
    clock: Clock,
) -> None:
    """Put the refreshed critic to its trial and publish it, whether it serves or not."""
    version_id = critic_made(unit.round, unit.attempt)
    trial = _try(run, learner, version_id, current, before)
    refinement = replace(
        refinement,
        holdout_after=trial.accuracy,
        newly_failed=trial.newly_failed,
        gate=trial.gate,
    )
    events: list[Event] = [
        RefreshEvent(
            outcome="refreshed" if trial.serves else "reverted",
            why=why,
            critic_version=version_id if trial.serves else current,
            refinement=refinement,
        ),
        HoldoutEvent(critic_version=version_id, accuracy=trial.accuracy),
    ]
    if trial.checked:
        events.append(checking.as_event(version_id, trial.checked))
        checking.say_failures(run, version_id, trial.checked)
    warming.publish_critic(
        run,
        unit,
        learner,
        version_id=version_id,
        parent=current,
        folder=run.directory.attempt_path(unit.round, unit.attempt) / "critic",
        clock=clock,
        events=events,
        serves=trial.serves,
    )


def _try(run: Run, learner: ChatCritic, version_id: str, current: str, before: _Before) -> _Trial:
    """Put a refreshed critic before the gate, then through the self-checks if it passes."""
    after = accuracy.accuracy_on_holdout(run, learner)
    leans = _leans(run, learner, before.labels)
    margin = run.config.refresh.gate_margin
    gate = gating.compare(before.labels, before.leans, leans, margin=margin)
    is_silent = bool(before.leans) and not leans
    passes = not is_silent and _passes(gate, serve_if_equal=run.config.refresh.serve_if_equal)
    is_checked = run.config.critic.check.num_pairs > 0 and passes
    checked = checking.check(run, version_id, learner) if is_checked else None
    known = checking.recorded(run, current)
    newly_failed = checking.newly_failed(known, checked) if checked else []
    return _Trial(after, gate, checked, newly_failed, serves=passes and not newly_failed)


def _leans(run: Run, critic: Vlm | str, chosen: GateLabels) -> Leans:
    """Return a critic's leans on the gate's labels; workers ask a version that is named."""

    def answers(ask: Ask, items: Sequence[Item]) -> dict[Place, Any]:
        return asking.answers(run, ask, critic, items)

    return gating.leans_of(answers, chosen.labels, dimensions=run.config.critic.questions.names)


def _passes(gate: Gate | None, *, serve_if_equal: bool) -> bool:
    """Tell whether the gate lets a critic serve; without labels to compare by it sees nothing."""
    verdict = gate.verdict if gate else "no difference"
    return verdict == "better" or (verdict == "no difference" and serve_if_equal)


def train(
    run: Run, unit: Unit, gathered: Gathered, current: str, *, folder: Path
) -> tuple[ChatCritic, srpo.Refreshed]:
    """Train a copy of the current critic; return it with what the training used.

    Its checkpoints are kept in `folder`, from which a training that was killed goes on.
    """
    settings = run.config.refresh.srpo
    lesson = Lesson(
        kind="srpo",
        version_id=current,
        seed=run.seed("srpo", unit.round),
        folder=folder,
        pool=gathered.pool,
        pairs=gathered.further,
        anchors=warming.own_traces(run, current, settings),
        damaged=gathered.damaged,
        choosing=gating.held_out_half(run, chooses=True),
    )
    with run.training(unit, num_steps=settings.max_train_steps, stage="srpo") as on_step:
        learner, refreshed = critic_training.train(run, lesson, on_step=on_step)
    assert refreshed is not None
    return learner, refreshed
