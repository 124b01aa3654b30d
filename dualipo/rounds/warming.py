"""Before the first round: the base models are registered, the seed is labelled, the critic warmed.

seed clips (base generator) -> annotators' pairs and points -> supervised traces -> DPO on the
critic's own traces (METHOD.md 3.3). A label set that the recipe names stands for the first two.
A part of the seed, split by prompt, is held out: triggers and the revert rule read it. A second,
larger set of pairs ordered by the oracle measures the critic for people only (`accuracy`).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from dualipo.config import LEARNING, CriticPreference
from dualipo.critic.learning import preference, reward_head, warm_start
from dualipo.critic.learning.preference import PathPair
from dualipo.critic.learning.reward_head import HeadedCritic
from dualipo.critic.learning.warm_start import Trace
from dualipo.critic.models.chat import ChatCritic
from dualipo.events import Event, SeedEvent, WarmStartDpoEvent, WarmStartSftEvent
from dualipo.preferences import label_set
from dualipo.preferences.contradictions import Usable
from dualipo.preferences.label_set import LabelSet
from dualipo.records import DIMENSIONS, Candidate, Dimension, Pair, Point, Prompt
from dualipo.rounds import judging, rewriting, sources
from dualipo.rounds.clip_units import ClipSet
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.sampling import choose_fixed_prompts, fixed_prompts, sample_set
from dualipo.store import atomic, tables
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import remove_checkpoints

SHIPPED, SFT, WARM = "shipped", "sft", "warm"

Label = TypeVar("Label", bound=Pair | Point)


def register_base(run: Run) -> None:
    """Record the models that the recipe names, by the hash of their weights."""
    unit = Unit(BASE_ROUND, 0, "register")
    if run.is_done(unit):
        return
    versions = [
        Version("generator", "base", None, BASE_ROUND, 0, "", run.generator("base").hash()),
        Version("critic", SHIPPED, None, BASE_ROUND, 0, "", run.critic(SHIPPED).hash()),
    ]
    run.commit(unit, versions=versions, heads={"generator": "base", "critic": SHIPPED})


def warm_start_critic(run: Run) -> None:
    """Everything before round 0."""
    register_base(run)
    choose_fixed_prompts(run)
    label_seed(run)
    backend = run.config.critic.backend
    if backend in LEARNING:
        fine_tune(run)
        prefer_traces(run)
        return
    if backend == "reward_head":
        fit_reward_head(run)
    else:  # trained elsewhere, or not at all
        adopt(run, "warm_start_sft", SFT, SHIPPED, WarmStartSftEvent(num_traces=0))
    adopt(run, "warm_start_dpo", WARM, SFT, WarmStartDpoEvent(num_pairs=0))


def adopt(run: Run, stage: str, version_id: str, parent: str, event: Event) -> None:
    """A stage that has nothing to teach: the new version is its parent as it is."""
    unit = Unit(BASE_ROUND, 0, stage)
    if not run.is_done(unit):
        known = run.ledger.version("critic", parent)
        version = replace(known, version_id=version_id, parent=parent)
        run.commit(unit, versions=[version], heads={"critic": version_id}, events=[event])


def seed_candidates(run: Run) -> list[Candidate]:
    """Clips of the base generator that the annotators see."""
    clips = ClipSet(
        name="seed",
        round=BASE_ROUND,
        attempt=0,
        version="base",
        prompts=fixed_prompts(run, "seed"),
        clips_per_prompt=run.config.seed_labels.clips_per_prompt,
    )
    return sample_set(run, clips)


def label_seed(run: Run) -> None:
    """Ask the annotators for the seed's pairs and points, and publish them.

    Where the recipe names a label set, people were asked already: that is published.
    """
    unit = Unit(BASE_ROUND, 0, "label")
    if run.is_done(unit):
        return
    if (imported := sources.imported_seed(run.config)) is not None:
        publish_imported_seed(run, unit, imported)
        return
    candidates = seed_candidates(run)
    clock = Clock()
    settings, seed = run.config.seed_labels, run.seed("annotators")
    asked_pairs = pair_questions(candidates, num=settings.num_pairs, seed=run.seed("seed pairs"))
    asked_points = _point_questions(candidates, num=settings.num_points, seed=run.seed("points"))
    pairs = sources.label_pairs(asked_pairs, clips=run.clip, seed=seed)
    points = sources.label_points(asked_points, clips=run.clip, seed=seed)
    pairs_path, points_path = _label_paths(run)
    tables.write_records(pairs_path, pairs, record_type=Pair)
    tables.write_records(points_path, points, record_type=Point)
    run.commit(unit, files=(pairs_path, points_path), clock=clock)


def publish_imported_seed(run: Run, unit: Unit, seed: Usable) -> None:
    """Take a label set's usable labels and their clips into the run, once there are enough.

    People may be labelling still: a prompt that came after the seed's prompts were set apart from
    those of the tests is left for another run.
    """
    clock = Clock()
    labels = _set_apart(run, seed.labels)
    pairs, points = (
        _part(run, labels.pairs, held_out=False),
        _part(run, labels.points, held_out=False),
    )
    warm_start.require_enough(pairs, points, settings=run.config.seed_labels)
    store = label_set.clip_store(Path(str(run.config.seed_labels.path)))
    for clip in labels.clips:
        run.clip_store.add(store.path(clip), sha256=clip)
    pairs_path, points_path = _label_paths(run)
    tables.write_records(pairs_path, labels.pairs, record_type=Pair)
    tables.write_records(points_path, labels.points, record_type=Point)
    event = SeedEvent(
        num_pairs=len(labels.pairs),
        num_points=len(labels.points),
        sources=dict(Counter(label.source for label in labels.every)),
        excluded=seed.excluded,
        agreement=seed.agreement,
    )
    run.commit(
        unit,
        files=(pairs_path, points_path),
        clips=tuple(labels.clips),
        clock=clock,
        events=[event],
    )


def _set_apart(run: Run, labels: LabelSet) -> LabelSet:
    known = {prompt.prompt_id for prompt in fixed_prompts(run, "seed")}
    return LabelSet(
        tuple(pair for pair in labels.pairs if pair.prompt_id in known),
        tuple(point for point in labels.points if point.prompt_id in known),
    )


def pair_questions(
    candidates: Sequence[Candidate], *, num: int, seed: int
) -> list[tuple[Prompt, str, str, Dimension]]:
    """`num` different (prompt, clip A, clip B, dimension), spread evenly over the dimensions."""
    by_prompt: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_prompt.setdefault(candidate.prompt_id, []).append(candidate)
    found = [
        (Prompt(a.prompt_id, a.caption), a.clip, b.clip)
        for group in by_prompt.values()
        for n, a in enumerate(group)
        for b in group[n + 1 :]
        if a.clip != b.clip
    ]
    places = [(pair, dimension) for dimension in DIMENSIONS for pair in found]
    chosen = _spread(len(found), num=num, seed=seed)
    return [(*places[place][0], places[place][1]) for place in chosen]


def _point_questions(
    candidates: Sequence[Candidate], *, num: int, seed: int
) -> list[tuple[Prompt, str, Dimension]]:
    clips = {c.clip: Prompt(c.prompt_id, c.caption) for c in candidates}
    found = [(prompt, clip) for clip, prompt in clips.items()]
    places = [(point, dimension) for dimension in DIMENSIONS for point in found]
    return [(*places[n][0], places[n][1]) for n in _spread(len(found), num=num, seed=seed)]


def _spread(num_items: int, *, num: int, seed: int) -> list[int]:
    """`num` places of a [dimension, item] table, equally many a dimension, dimensions in turn."""
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(num_items, generator=generator).tolist() for _ in DIMENSIONS]
    places = [d * num_items + orders[d][n] for n in range(num_items) for d in range(len(orders))]
    return places[:num]


def seed_labels(run: Run, *, held_out: bool) -> tuple[list[Pair], list[Point]]:
    """The seed's training part, or what is held out: whole prompts, chosen by their id."""
    pairs, points = read_seed(run)
    return _part(run, pairs, held_out=held_out), _part(run, points, held_out=held_out)


def read_seed(run: Run) -> tuple[list[Pair], list[Point]]:
    """All labels of the seed, in file order."""
    pairs_path, points_path = _label_paths(run)
    return (
        tables.read_records(pairs_path, record_type=Pair),
        tables.read_records(points_path, record_type=Point),
    )


def _part(run: Run, labels: Sequence[Label], *, held_out: bool) -> list[Label]:
    share = run.config.seed_labels.holdout_share

    def is_out(prompt_id: str) -> bool:
        return run.seed("holdout", prompt_id) % 1000 < 1000 * share

    return [label for label in labels if is_out(label.prompt_id) == held_out]


def fine_tune(run: Run) -> None:
    """Supervised traces of the seed: shipped critic -> `sft`."""
    unit = Unit(BASE_ROUND, 0, "warm_start_sft")
    if run.is_done(unit):
        return
    pairs, points = seed_labels(run, held_out=False)
    warm_start.require_enough(pairs, points, settings=run.config.seed_labels)
    traces = rewriting.worded(run, warm_start.traces([*pairs, *points]))
    learner = run.learner(SHIPPED)
    settings = run.config.warm_start_sft
    clock = Clock()
    with run.training(
        stage=unit.stage, round=BASE_ROUND, attempt=0, num_steps=settings.max_train_steps
    ) as on_step:
        warm_start.supervise(
            learner,
            traces,
            clips=run.clip,
            settings=settings,
            checkpoint_folder=_folder(run, unit.stage) / "checkpoints",
            seed=run.seed(unit.stage),
            on_step=on_step,
        )
    _publish(run, unit, learner, SFT, SHIPPED, clock, WarmStartSftEvent(num_traces=len(traces)))


def prefer_traces(run: Run) -> None:
    """DPO on the critic's own traces of the seed: `sft` -> `warm`."""
    unit = Unit(BASE_ROUND, 0, "warm_start_dpo")
    if run.is_done(unit):
        return
    settings = run.config.warm_start_dpo
    learner = run.learner(SFT)
    clock = Clock()
    path_pairs = own_traces(run, SFT, settings)
    if path_pairs and settings.max_train_steps:
        with run.training(
            stage=unit.stage, round=BASE_ROUND, attempt=0, num_steps=settings.max_train_steps
        ) as on_step:
            preference.train(
                learner,
                path_pairs,
                clips=run.clip,
                settings=settings,
                reference_batch_size=run.config.critic.judge_batch_size,
                checkpoint_folder=_folder(run, unit.stage) / "checkpoints",
                seed=run.seed(unit.stage),
                on_step=on_step,
            )
    _publish(run, unit, learner, WARM, SFT, clock, WarmStartDpoEvent(num_pairs=len(path_pairs)))


def fit_reward_head(run: Run) -> None:
    """The baseline on the seed's pairs: an untrained head -> `sft`."""
    unit = Unit(BASE_ROUND, 0, "warm_start_sft")
    if run.is_done(unit):
        return
    pairs, _ = seed_labels(run, held_out=False)
    warm_start.require_enough(pairs, [], settings=run.config.seed_labels)
    critic, settings = run.load_reward_head(SHIPPED), run.config.critic.reward_head
    clock = Clock()
    with run.training(
        stage=unit.stage, round=BASE_ROUND, attempt=0, num_steps=settings.max_train_steps
    ) as on_step:
        reward_head.train(
            critic,
            pairs,
            clips=run.clip,
            settings=settings,
            checkpoint_folder=_folder(run, unit.stage) / "checkpoints",
            seed=run.seed(unit.stage),
            on_step=on_step,
        )
    _publish(run, unit, critic, SFT, SHIPPED, clock, WarmStartSftEvent(num_traces=len(pairs)))


def own_questions(run: Run) -> list[Trace]:
    """What the critic may be asked of the seed's training part, the dimensions in turn.

    Pairs; points only of dimensions that no pair is about, as what is confirmed are pairs.
    """
    pairs, points = read_seed(run)
    paired = {pair.dimension for pair in pairs}
    unpaired = [point for point in points if point.dimension not in paired]
    # In turn first: leaving out prompts must not move the order of a seed that is so already.
    labels: list[Pair | Point] = [*pairs, *unpaired]
    return warm_start.traces(_part(run, warm_start.in_turn(labels), held_out=False))


def own_traces(run: Run, critic: str, settings: CriticPreference) -> list[PathPair]:
    """The critic's own paths on some of the seed's training part, right against wrong."""
    return warm_start.self_sampled(
        run.critic(critic),
        own_questions(run)[: settings.max_questions],
        clips=run.clip,
        num_paths=settings.num_paths,
        settings=run.config.critic,
        seed_of=judging.seed_of(run, "own traces", critic),
    )


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
    with atomic.publish_folder(folder / "model", name="critic") as temporary:
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
        folder=_folder(run, unit.stage),
        clock=clock,
        events=[event],
    )


def _folder(run: Run, stage: str) -> Path:
    return run.directory.attempt_path(BASE_ROUND, 0) / stage


def _label_paths(run: Run) -> tuple[Path, Path]:
    folder = run.directory.round_path(BASE_ROUND)
    return folder / "seed-pairs.parquet", folder / "seed-points.parquet"
