"""Refresh a stale critic on the round's own clips (METHOD.md 3.2, 5).

confirmed votes + votes on some further pairs -> pool of certain paths -> SRPO, anchored by the
seed -> a new critic, unless its held-out accuracy falls or it fails a self-check that the old one
passed: then it is kept as evidence and the old one serves on (fault 33). An empty pool is an
outcome, never a crash (fault 32).
"""

from collections.abc import Sequence
from dataclasses import replace

from dualipo.critic.asks import Item
from dualipo.critic.learning import srpo
from dualipo.critic.learning.srpo import Pool
from dualipo.critic.models.chat import ChatCritic
from dualipo.event_parts import Refinement
from dualipo.events import Event, HoldoutEvent, MonitorEvent, Outcome, RefreshEvent
from dualipo.records import DIMENSIONS, Candidate, Vote
from dualipo.rounds import checking, judging, measuring, warming
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import Run
from dualipo.store.ledger import Unit


def refresh_critic(run: Run, round: int, attempt: int, candidates: Sequence[Candidate]) -> bool:
    """Whether a refreshed critic serves now, so that the round must be judged again."""
    unit = Unit(round, attempt, "refresh")
    if not run.is_done(unit):
        why = reasons(run, round, attempt)
        if not why or not run.config.refresh.update_critic:
            outcome: Outcome = "off" if why else "not needed"
            critic = judging.critic_of(run, round, attempt)
            event = RefreshEvent(outcome=outcome, why=why, critic_version=critic)
            run.commit(unit, events=[event])
        else:
            refine(run, unit, candidates, why)
    return run.recorded(unit, RefreshEvent).outcome == "refreshed"


def reasons(run: Run, round: int, attempt: int) -> list[str]:
    """Why the critic is stale: what the monitor recorded, or the recipe."""
    monitored = run.recorded(Unit(round, attempt, "monitor"), MonitorEvent)
    forced = round in run.config.refresh.force_rounds
    return monitored.triggers + (["the recipe asks for it"] if forced else [])


def refine(run: Run, unit: Unit, candidates: Sequence[Candidate], why: list[str]) -> None:
    """SRPO on the judged candidates; the new critic serves unless it lost on held-out labels."""
    current = judging.critic_of(run, unit.round, unit.attempt)
    before = measuring.holdout_accuracy(run, current)
    items, votes = _judged(run, unit, candidates, current)
    clock = Clock()
    learner, refreshed = _train(run, unit, items, votes, current)
    refinement = Refinement(
        num_judged=len({(vote.item, vote.dimension) for vote in votes}),
        num_kept=len(refreshed.kept),
        dropped={str(why): num for why, num in refreshed.dropped.items()},
        mean_pce=refreshed.mean_pce,
        holdout_before=before,
        holdout_after=None,
    )
    if refreshed.status != "trained":
        empty = RefreshEvent(
            outcome="empty", why=why, critic_version=current, refinement=refinement
        )
        run.commit(unit, clock=clock, events=[empty])
        run.forget_models()
        return
    version_id = f"c{unit.round:03d}.{unit.attempt}"
    after = measuring.accuracy_on_holdout(run, learner)
    fell = _fell(before, after, most=run.config.refresh.max_holdout_drop)
    asked = run.config.critic.check.num_pairs > 0 and not fell
    checked = checking.check(run, version_id, learner) if asked else None
    known = checking.recorded(run, current)
    newly_failed = checking.newly_failed(known, checked) if checked else []
    serves = not fell and not newly_failed
    events: list[Event] = [
        RefreshEvent(
            outcome="refreshed" if serves else "reverted",
            why=why,
            critic_version=version_id if serves else current,
            refinement=replace(refinement, holdout_after=after, newly_failed=newly_failed),
        ),
        HoldoutEvent(critic_version=version_id, accuracy=after),
    ]
    if checked:
        events.append(checking.as_event(version_id, checked))
        checking.say_failures(run, version_id, checked)
    warming.publish_critic(
        run,
        unit,
        learner,
        version_id=version_id,
        parent=current,
        folder=run.directory.attempt_path(unit.round, unit.attempt) / "critic",
        clock=clock,
        events=events,
        serves=serves,
    )


def _fell(before: float | None, after: float | None, *, most: float) -> bool:
    """Whether the accuracy on held-out labels sank by more; one that answers none lost it all."""
    if before is None:
        return False
    return after is None or before - after > most


def _judged(
    run: Run, unit: Unit, candidates: Sequence[Candidate], critic: str
) -> tuple[list[Item], list[Vote]]:
    """The confirmed contests with the votes they have, and further pairs with new votes."""
    votes = judging.read_votes(run, Unit(unit.round, unit.attempt, "confirm"))
    contests, _ = judging.choose_contests(run, unit.round, unit.attempt, candidates)
    items = judging.contest_items(contests, candidates) if votes else []  # KTO confirms none
    extra = _extra_items(run, unit, candidates, known={item.item_id for item in items})
    stage = Unit(unit.round, unit.attempt, "srpo_votes")
    return items + extra, votes + judging.vote_on(run, stage, extra, critic=critic)


def _extra_items(
    run: Run, unit: Unit, candidates: Sequence[Candidate], known: set[str]
) -> list[Item]:
    """Other pairs of the round's candidates, drawn by the run's seed."""
    num = run.config.refresh.srpo.num_extra_pairs * len(DIMENSIONS)
    if num == 0:
        return []
    clip_to_id = {(c.prompt_id, c.clip): c.candidate_id for c in candidates}
    seed = run.seed("extra pairs", unit.round)
    found: dict[str, Item] = {}
    for prompt, clip_a, clip_b, _ in warming.pair_questions(candidates, num=num, seed=seed):
        a, b = (clip_to_id[prompt.prompt_id, clip] for clip in (clip_a, clip_b))
        if {f"{a}:{b}", f"{b}:{a}"} & known:
            continue
        found[f"{a}:{b}"] = Item(f"{a}:{b}", prompt.caption, (clip_a, clip_b))
    return list(found.values())[: run.config.refresh.srpo.num_extra_pairs]


def _train(
    run: Run, unit: Unit, items: Sequence[Item], votes: Sequence[Vote], current: str
) -> tuple[ChatCritic, srpo.Refreshed]:
    settings = run.config.refresh.srpo
    batch_size = run.config.critic.judge_batch_size
    learner = run.learner(current)
    pool = _pool(run, unit, items, votes, learner)
    anchors = warming.own_traces(run, current, settings)
    folder = run.directory.attempt_path(unit.round, unit.attempt) / "critic"
    with run.training(
        stage="srpo", round=unit.round, attempt=unit.attempt, num_steps=settings.max_train_steps
    ) as on_step:
        refreshed = srpo.refresh(
            learner,
            pool,
            load_sft=lambda: run.load_critic(warming.SFT),
            anchors=anchors,
            clips=run.clip,
            settings=settings,
            batch_size=batch_size,
            checkpoint_folder=folder / "checkpoints",
            seed=run.seed("srpo", unit.round),
            on_step=on_step,
        )
    return learner, refreshed


def _pool(
    run: Run, unit: Unit, items: Sequence[Item], votes: Sequence[Vote], learner: ChatCritic
) -> Pool:
    critic = run.config.critic
    pool = srpo.build_pool(votes, items, keep_vote_share=critic.keep_vote_share)
    return srpo.fill_losers(
        learner,
        pool,
        clips=run.clip,
        settings=critic,
        unanimous=run.config.refresh.srpo.unanimous,
        seed_of=judging.seed_of(run, "hint", unit.round),
    )
