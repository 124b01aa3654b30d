"""Train the generator on an attempt's preferences (METHOD.md 4): round's start -> new version.

Latents and text embeddings come from sampling; the real clips' are encoded once a run
(`real_clips`). Both attempts of a round start from the weights that sampled its candidates. These
are the reference, unless `align.reference` asks for the weights that the run began with.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dualipo.errors import DataError
from dualipo.evaluation.signals import trend
from dualipo.events import AlignEvent, CurveEvent
from dualipo.generator import align as alignment
from dualipo.generator import shared_alignment
from dualipo.generator.preference_sets import PointSet, PreferenceSet, RealClips
from dualipo.records import Point
from dualipo.rounds import real_clips, reference_errors
from dualipo.rounds.accuracy import mean
from dualipo.rounds.clock import Clock
from dualipo.rounds.preferring import PreferredPair
from dualipo.rounds.run import BASE_GENERATOR, Run
from dualipo.rounds.sampling import stored_latents
from dualipo.rounds.versions import critic_of, generator_before, generator_made
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import remove_checkpoints
from dualipo.store.stored import Place, StoredList, StoredTable
from dualipo.tracking import read_metrics
from dualipo.training import torchrun

_NUMBERS = ("implicit_accuracy", "winner_gap", "loser_gap", "z_std", "holdout_accuracy")


def align(
    run: Run, round: int, attempt: int, preferred: Sequence[PreferredPair] | Sequence[Point]
) -> str:
    """Publish the attempt's generator; return its version."""
    unit = Unit(round, attempt, "align")
    if run.is_done(unit):
        return generator_made(round, attempt)
    return align_on(
        run,
        unit,
        lambda: _preferences(run, round, preferred),
        parent=generator_before(run, round),
        critic_version=critic_of(run, round, attempt),
    )


def align_on(
    run: Run,
    unit: Unit,
    preferences: Callable[[], PreferenceSet | PointSet],
    *,
    parent: str,
    critic_version: str,
    reference_folder: Path | None = None,
) -> str:
    """Train the version `parent` on preferences and publish it as the unit's; return its id.

    `preferences` are read once the models are forgotten. `critic_version` judged them; "" where
    no critic of the run did. Alignments with one `reference_folder` share the reference's errors.
    """
    round, attempt = unit.round, unit.attempt
    version_id = generator_made(round, attempt)
    folder = run.directory.attempt_path(round, attempt) / "generator"
    run.forget_models()  # a critic of full size leaves no room to train beside it
    real = real_clips.encoded(run) if run.config.align.real_nll_ratio > 0 else None
    clock = Clock(num_devices=run.config.align.num_processes)
    with run.training(unit, num_steps=run.config.align.max_train_steps) as on_step:
        result = _train(
            run,
            parent,
            preferences(),
            real=real,
            folder=folder,
            reference_folder=reference_folder,
            seed=run.seed("align", round),
            on_step=on_step,
        )
    for name in (alignment.REFERENCE, alignment.HELD_REFERENCE):
        (folder / name).unlink(missing_ok=True)
    _commit(
        run,
        unit,
        result,
        version_id=version_id,
        parent=parent,
        critic_version=critic_version,
        clock=clock,
    )
    remove_checkpoints(folder / "checkpoints")
    run.forget_models()
    return version_id


def _commit(
    run: Run,
    unit: Unit,
    result: alignment.AlignResult,
    *,
    version_id: str,
    parent: str,
    critic_version: str,
    clock: Clock,
) -> None:
    """Record the new generator, which serves from now on."""
    numbers: dict[str, Any] = {n: result.metrics[n] for n in _NUMBERS if n in result.metrics}
    event = AlignEvent(
        num_steps=result.num_steps,
        generator_version=version_id,
        critic_version=critic_version,
        best_step=result.best_step,
        **numbers,
    )
    steps: Sequence[Mapping[str, Any]] = result.history
    if len(steps) < result.num_steps:  # an older dualipo saved the checkpoint that it went on from
        steps = logged_steps(run, unit)
    version = Version(
        kind="generator",
        version_id=version_id,
        parent=parent,
        round=unit.round,
        attempt=unit.attempt,
        path=run.directory.relative(result.transformer_folder),
        sha256=result.generator_hash,
    )
    run.commit(
        unit,
        files=tuple(filter(None, (result.transformer_folder, result.adapter_path))),
        clock=clock,
        versions=[version],
        heads={"generator": version_id},
        events=[event, curve_of(steps)],
    )


def curve_of(steps: Sequence[Mapping[str, Any]]) -> CurveEvent:
    """Return the part of the curve that triggers read (METHOD.md 5)."""
    return CurveEvent(
        implicit_accuracy=mean([step["implicit_accuracy"] for step in steps[-10:]]),
        # A KTO step without a desirable clip has no winner.
        winner_gap_trend=trend([step["winner_gap"] for step in steps if "winner_gap" in step]),
    )


def logged_steps(run: Run, unit: Unit) -> list[dict[str, Any]]:
    """Return the alignment's steps as `metrics.jsonl` has them."""
    place = {"round": unit.round, "attempt": unit.attempt, "stage": unit.stage}
    rows = read_metrics(run.directory.metrics_path)
    return [row for row in rows if place.items() <= row.items()]


def _train(
    run: Run,
    parent: str,
    preferences: PreferenceSet | PointSet,
    *,
    real: RealClips | None,
    folder: Path,
    reference_folder: Path | None,
    seed: int,
    on_step: Callable[[int, Mapping[str, float]], None],
) -> alignment.AlignResult:
    """Train in this process, or in as many processes as the recipe asks for."""
    settings = run.config.align
    from_base = settings.reference == "base" and parent != BASE_GENERATOR
    if settings.num_processes > 1:
        run.forget_models()
        job = shared_alignment.describe(
            preferences,
            folders=run.generator_folders(parent),
            from_base=from_base,
            settings=run.config,
            folder=folder,
            seed=seed,
            real=real,
            reference_folder=reference_folder,
        )
        team = torchrun.team_of("align", settings, run.path)
        return shared_alignment.run(job, team=team, on_step=on_step)
    shared: dict[str, Any] = {"preferences": preferences, "settings": settings, "seed": seed}
    shared |= {"folder": folder, "reference_folder": reference_folder}
    if reference_folder is None:
        asked = (run, BASE_GENERATOR if from_base else parent, preferences)
        shared["measured"] = reference_errors.measured(*asked, folder=folder, seed=seed)
    reference_hash = None
    if from_base:
        base = run.generator(BASE_GENERATOR, fresh=True)
        reference_hash = alignment.measure_reference(base, **shared)
    return alignment.align(
        run.generator(parent, fresh=True),
        real=real,
        reference_hash=reference_hash,
        on_step=on_step,
        **shared,
    )


def _preferences(
    run: Run, round: int, preferred: Sequence[PreferredPair] | Sequence[Point]
) -> PreferenceSet | PointSet:
    """Return what the alignment trains on; its latents are read when they are needed."""
    points = [item for item in preferred if isinstance(item, Point)]
    if run.config.align.loss_type == "kto":
        latents, texts = _latents(run, round, [point.point_id for point in points])
        return PointSet(
            ids=[point.point_id for point in points],
            caption_keys=[point.prompt_id for point in points],
            clips=StoredList(latents),
            desirable=[point.grade == "good" for point in points],
            texts=texts,
            certainties=[point.certainty for point in points],
        )
    pairs = [item for item in preferred if isinstance(item, PreferredPair)]
    winners = [item.winner.candidate_id for item in pairs]
    losers = [item.loser.candidate_id for item in pairs]
    latents, texts = _latents(run, round, [*winners, *losers])
    return PreferenceSet(
        ids=[item.pair.pair_id for item in pairs],
        caption_keys=[item.pair.prompt_id for item in pairs],
        winners=StoredList(latents[: len(pairs)]),
        losers=StoredList(latents[len(pairs) :]),
        texts=texts,
        certainties=[item.pair.certainty for item in pairs],
    )


def _latents(run: Run, round: int, candidate_ids: Sequence[str]) -> tuple[list[Place], StoredTable]:
    """Return where the candidates' latents are, in their order, and the round's texts."""
    latents, texts = stored_latents(run, round, candidates=set(candidate_ids))
    for candidate_id in candidate_ids:
        if candidate_id not in latents:
            raise DataError(
                f"round {round}: a preference names {candidate_id}, of which no latent was kept. "
                "Delete preferences.parquet's unit, or sample the round anew."
            )
    return [latents[candidate_id] for candidate_id in candidate_ids], StoredTable(texts)
