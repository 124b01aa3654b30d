"""Before the first round: register the base models, label the seed, warm up the critic.

Supervised traces of the seed train the shipped critic to `sft`; DPO on its own traces trains that
to `warm` (METHOD.md 3.3), which judges round 0. A critic that does not learn here is registered
under both names as it is.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dualipo.config import LEARNING, CriticPreference, CriticTraining
from dualipo.critic.learning import constructed, reward_head, warm_start
from dualipo.critic.learning.constructed import CaptionedClip, Constructed
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.learning.reward_head import HeadedCritic
from dualipo.critic.learning.warm_start import Trace
from dualipo.critic.models.chat import ChatCritic
from dualipo.events import Event, WarmStartDpoEvent, WarmStartSftEvent
from dualipo.preferences import label_set, seed_size
from dualipo.records import Pair, Point
from dualipo.rounds import asking, critic_training, rewriting, seed_labels
from dualipo.rounds.clock import Clock
from dualipo.rounds.critic_training import Kind, Lesson
from dualipo.rounds.run import BASE_GENERATOR, BASE_ROUND, SFT, SHIPPED, WARM, Run
from dualipo.rounds.sampling import choose_fixed_prompts
from dualipo.store import atomic
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import remove_checkpoints

_SFT_UNIT = Unit(BASE_ROUND, 0, "warm_start_sft")
_DPO_UNIT = Unit(BASE_ROUND, 0, "warm_start_dpo")


def warm_start_critic(run: Run) -> None:
    """Do all that precedes round 0, apart from measuring it."""
    register_base(run)
    choose_fixed_prompts(run)
    seed_labels.label_seed(run)
    backend = run.config.critic.backend
    if backend in LEARNING:
        fine_tune(run)
        prefer_traces(run)
        return
    if backend == "reward_head":
        fit_reward_head(run)
    else:  # trained elsewhere, or not at all
        adopt(run, _SFT_UNIT, SFT, SHIPPED, WarmStartSftEvent(num_traces=0))
    adopt(run, _DPO_UNIT, WARM, SFT, WarmStartDpoEvent(num_pairs=0))


def register_base(run: Run) -> None:
    """Record the models that the recipe names, by the hash of their weights."""
    unit = Unit(BASE_ROUND, 0, "register")
    if run.is_done(unit):
        return
    generator_hash = run.generator(BASE_GENERATOR).hash()
    versions = [
        Version("generator", BASE_GENERATOR, None, BASE_ROUND, 0, "", generator_hash),
        Version("critic", SHIPPED, None, BASE_ROUND, 0, "", run.critic(SHIPPED).hash()),
    ]
    run.commit(unit, versions=versions, heads={"generator": BASE_GENERATOR, "critic": SHIPPED})


def adopt(run: Run, unit: Unit, version_id: str, parent: str, event: Event) -> None:
    """Register the parent's model under a new version, where a stage trains nothing."""
    if not run.is_done(unit):
        known = run.ledger.version("critic", parent)
        version = replace(known, version_id=version_id, parent=parent)
        run.commit(unit, versions=[version], heads={"critic": version_id}, events=[event])


def fine_tune(run: Run) -> None:
    """Train the shipped critic on supervised traces of the seed: shipped -> `sft`."""
    if run.is_done(_SFT_UNIT):
        return
    pairs, points = seed_labels.training_labels(run)
    seed_size.require_enough(
        pairs,
        points,
        settings=run.config.seed_labels,
        dimensions=run.config.critic.questions.names,
    )
    traces = rewriting.worded(run, warm_start.traces([*pairs, *points]))
    made = _constructed(run, [*pairs, *points])
    traces += warm_start.traces(made.pairs)
    clock = critic_training.clock(run)
    lesson = _lesson(run, _SFT_UNIT, "sft", SHIPPED, traces=traces, damaged=made.damaged)
    learner = _learn(run, _SFT_UNIT, lesson, run.config.warm_start_sft)
    event = WarmStartSftEvent(num_traces=len(traces))
    _publish(run, _SFT_UNIT, learner, SFT, SHIPPED, clock, event)


def _constructed(run: Run, labels: Sequence[Pair | Point]) -> Constructed:
    """Construct pairs from the labelled clips, as many as the recipe adds to the labels."""
    shown = dict.fromkeys(
        CaptionedClip(label.prompt_id, label.prompt, clip)
        for label in labels
        for clip in label_set.clips_of(label)
    )
    num, seed = run.config.seed_labels.num_constructed, run.seed("constructed", BASE_ROUND)
    return constructed.build([*shown], num=num, clips=run.clip, seed=seed)


def prefer_traces(run: Run) -> None:
    """Train the critic by DPO on its own traces of the seed: `sft` -> `warm`."""
    if run.is_done(_DPO_UNIT):
        return
    settings = run.config.warm_start_dpo
    clock = critic_training.clock(run)
    path_pairs = own_traces(run, SFT, settings)
    if path_pairs and settings.max_train_steps:
        lesson = _lesson(run, _DPO_UNIT, "dpo", SFT, pairs=path_pairs)
        learner = _learn(run, _DPO_UNIT, lesson, settings)
    else:
        learner = run.load_critic(SFT)
    event = WarmStartDpoEvent(num_pairs=len(path_pairs))
    _publish(run, _DPO_UNIT, learner, WARM, SFT, clock, event)


def _lesson(run: Run, unit: Unit, kind: Kind, version_id: str, **taught: Any) -> Lesson:
    """Return what a version of the critic learns in a stage of the warm start."""
    return Lesson(
        kind=kind,
        version_id=version_id,
        seed=run.seed(unit.stage),
        folder=_folder(run, unit),
        **taught,
    )


def _learn(run: Run, unit: Unit, lesson: Lesson, settings: CriticTraining) -> ChatCritic:
    with run.training(unit, num_steps=settings.max_train_steps) as on_step:
        learner, _ = critic_training.train(run, lesson, on_step=on_step)
    return learner


def fit_reward_head(run: Run) -> None:
    """Train the baseline, a reward head, on the seed's pairs: untrained -> `sft`."""
    if run.is_done(_SFT_UNIT):
        return
    pairs, _ = seed_labels.training_labels(run)
    seed_size.require_enough(pairs, [], settings=run.config.seed_labels)
    critic, settings = run.load_reward_head(SHIPPED), run.config.critic.reward_head
    clock = Clock()
    with run.training(_SFT_UNIT, num_steps=settings.max_train_steps) as on_step:
        reward_head.train(
            critic,
            pairs,
            clips=run.clip,
            settings=settings,
            checkpoint_folder=_folder(run, _SFT_UNIT) / "checkpoints",
            seed=run.seed(_SFT_UNIT.stage),
            on_step=on_step,
        )
    event = WarmStartSftEvent(num_traces=len(pairs))
    _publish(run, _SFT_UNIT, critic, SFT, SHIPPED, clock, event)


def own_questions(run: Run) -> list[Trace]:
    """Return the questions of the seed's training part with a better clip, the dimensions in turn.

    They are about pairs; about single clips only in dimensions that no pair is about, as rounds
    confirm pairs. A tie is left out: a critic that is rewarded for ties soon answers little else.
    """
    pairs, points = seed_labels.all_labels(run)
    paired = {pair.dimension for pair in pairs}
    unpaired = [point for point in points if point.dimension not in paired]
    decided = [pair for pair in pairs if pair.verdict in ("a", "b")]
    # The turns are taken before prompts are held out: a seed that is in turn keeps its order.
    labels: list[Pair | Point] = warm_start.in_turn([*decided, *unpaired])
    return warm_start.traces(seed_labels.keep_part(run.config, labels, held_out=False))


def own_traces(run: Run, critic: str, settings: CriticPreference) -> list[PathPair]:
    """Return pairs of the critic's own paths on the seed: one right, one wrong, per question."""
    questions = own_questions(run)[: settings.max_questions]
    return asking.own_traces(run, critic, questions, num_paths=settings.num_paths)


def publish_critic(
    run: Run,
    unit: Unit,
    critic: ChatCritic | HeadedCritic,
    *,
    version_id: str,
    parent: str,
    folder: Path,
    clock: Clock,
    events: Sequence[Event],
    serves: bool = True,
) -> None:
    """Save a critic as a version and, if it `serves`, swap it in: one transaction (fault 7)."""
    num_bytes = sum(tensor.nbytes for tensor in critic.module.state_dict().values())
    with atomic.publish_folder(folder / "model", name="critic", num_bytes=num_bytes) as temporary:
        critic.save(temporary)
    version = Version(
        kind="critic",
        version_id=version_id,
        parent=parent,
        round=unit.round,
        attempt=unit.attempt,
        path=run.directory.relative(folder / "model"),
        sha256=critic.hash(),
    )
    run.commit(
        unit,
        files=(folder / "model",),
        clock=clock,
        versions=[version],
        heads={"critic": version_id} if serves else None,
        events=events,
    )
    remove_checkpoints(folder / "checkpoints")
    run.forget_models()


def _publish(
    run: Run,
    unit: Unit,
    critic: ChatCritic | HeadedCritic,
    version_id: str,
    parent: str,
    clock: Clock,
    event: Event,
) -> None:
    publish_critic(
        run,
        unit,
        critic,
        version_id=version_id,
        parent=parent,
        folder=_folder(run, unit),
        clock=clock,
        events=[event],
    )


def _folder(run: Run, unit: Unit) -> Path:
    return run.directory.attempt_path(unit.round, unit.attempt) / unit.stage
