"""Train the generator on an attempt's preferences (METHOD.md 4): round's start -> new version.

Latents and text embeddings come from sampling; the real clips' are encoded once a run
(`real_clips`). Both attempts of a round start from the weights that sampled its candidates, which
are the reference, unless `align.reference` asks for those that the run began with.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from dualipo.errors import DataError
from dualipo.events import AlignEvent
from dualipo.generator import align as alignment
from dualipo.generator import shared_alignment
from dualipo.generator.preference_sets import PointSet, PreferenceSet, RealClips
from dualipo.records import Pair, Point
from dualipo.rounds import judging, real_clips
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import Run
from dualipo.rounds.sampling import generator_before, stored_latents
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import remove_checkpoints
from dualipo.store.stored import Place, StoredList, StoredTable


def align(run: Run, round: int, attempt: int, kept: Sequence[Pair] | Sequence[Point]) -> str:
    """Publish the attempt's generator; return its version."""
    unit = Unit(round, attempt, "align")
    version_id = version_of(round, attempt)
    if run.is_done(unit):
        return version_id
    parent = generator_before(run, round)
    folder = run.directory.attempt_path(round, attempt) / "generator"
    run.forget_models()  # a critic of full size leaves no room to train beside it
    real = real_clips.encoded(run) if run.config.align.real_nll_ratio > 0 else None
    clock = Clock()
    with run.training(
        stage="align", round=round, attempt=attempt, num_steps=run.config.align.max_train_steps
    ) as on_step:
        preferences = _preferences(run, round, kept)
        result = _train(
            run,
            parent,
            preferences,
            real=real,
            folder=folder,
            seed=run.seed("align", round),
            on_step=on_step,
        )
    (folder / "reference.safetensors").unlink(missing_ok=True)
    shown = ("implicit_accuracy", "winner_gap", "loser_gap", "z_std")
    event = AlignEvent(
        num_steps=result.num_steps,
        generator_version=version_id,
        critic_version=judging.critic_of(run, round, attempt),
        **{name: result.metrics[name] for name in shown if name in result.metrics},
    )
    path = run.directory.relative(result.transformer_folder)
    version = Version("generator", version_id, parent, round, attempt, path, result.generator_hash)
    run.commit(
        unit,
        files=tuple(filter(None, (result.transformer_folder, result.adapter_path))),
        clock=clock,
        versions=[version],
        heads={"generator": version_id},
        events=[event],
    )
    remove_checkpoints(folder / "checkpoints")
    run.forget_models()
    return version_id


def _train(
    run: Run,
    parent: str,
    preferences: PreferenceSet | PointSet,
    *,
    real: RealClips | None,
    folder: Path,
    seed: int,
    on_step: Callable[[int, Any], None],
) -> alignment.AlignResult:
    """In this process, or in as many as the recipe asks for."""
    settings = run.config.align
    from_base = settings.reference == "base" != parent
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
        )
        return shared_alignment.run(job, on_step=on_step)
    told: dict[str, Any] = {
        "preferences": preferences,
        "settings": settings,
        "folder": folder,
        "seed": seed,
    }
    reference_hash = None
    if from_base:
        reference_hash = alignment.measure_reference(run.generator("base", fresh=True), **told)
    return alignment.align(
        run.generator(parent, fresh=True),
        real=real,
        reference_hash=reference_hash,
        on_step=on_step,
        **told,
    )


def version_of(round: int, attempt: int) -> str:
    """The id of the generator that an attempt makes."""
    return f"g{round:03d}.{attempt}"


def _preferences(
    run: Run, round: int, kept: Sequence[Pair] | Sequence[Point]
) -> PreferenceSet | PointSet:
    """What the alignment trains on; the latents that sampling kept are read as they are needed."""
    points = [one for one in kept if isinstance(one, Point)]
    pairs = [one for one in kept if isinstance(one, Pair)]
    sides = [pair.pair_id.split(":") for pair in pairs]
    named = {*chain(*sides), *(point.point_id for point in points)}
    latents, text_places = stored_latents(run, round, candidates=named)
    texts = StoredTable(text_places)

    def latent(candidate: str) -> Place:
        if candidate not in latents:
            raise DataError(
                f"round {round}: a preference names {candidate}, of which no latent was kept. "
                "Delete preferences.parquet's unit, or sample the round anew."
            )
        return latents[candidate]

    keys = [one.prompt_id for one in kept]
    if run.config.align.loss_type == "kto":
        return PointSet(
            ids=[point.point_id for point in points],
            caption_keys=keys,
            clips=StoredList([latent(point.point_id) for point in points]),
            desirable=[point.grade == "good" for point in points],
            texts=texts,
            certainties=[point.certainty for point in points],
        )
    return PreferenceSet(
        ids=[pair.pair_id for pair in pairs],
        caption_keys=keys,
        winners=StoredList([latent(winner) for winner, _ in sides]),
        losers=StoredList([latent(loser) for _, loser in sides]),
        texts=texts,
        certainties=[pair.certainty for pair in pairs],
    )
