"""The preflight: all that can be known of a run before its first unit, looked at together.

Each check is a function of the recipe and of what lies ahead, about one kind of input. It yields an
error for every problem, or raises one. `require` raises them all at once, so that a user mends a
recipe in one go. No weights are loaded and nothing is written.

Settings that exclude each other are found when a recipe is read (`config/sense.py`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from dualipo.config import LEARNING, Config, sense
from dualipo.errors import ConfigError, DataError, DualipoError, PreflightError
from dualipo.evaluation import optical_flow
from dualipo.evaluation.share import hub, trackers
from dualipo.evaluation.vbench import environment, totals
from dualipo.preferences import seed_size
from dualipo.prompts import corpus
from dualipo.records import Pair, Point
from dualipo.rounds import ahead, engines, file_sources, model_checks, room, seed_labels
from dualipo.rounds.ahead import Ahead
from dualipo.store import rundir
from dualipo.store.run_reader import RunReader
from dualipo.training import four_bits, optim, torchrun
from dualipo.workers import cluster

Check = Callable[[Config, Ahead], Iterable[DualipoError]]
FIXED_SETS = ("test", "monitor")  # the prompts that may have files of their own


def require(
    config: Config,
    *,
    known: Sequence[DualipoError] = (),
    force_disk: bool = False,
    begun_at: Path | None = None,
    is_redone: bool = False,
) -> None:
    """Raise one error that tells every problem of a recipe; `known` were found while reading it.

    `begun_at` is the folder of the run so far where it is not the recipe's. Where a stage
    `is_redone`, settings that were read may change: that is decided when it was thrown away.
    """
    found = [
        *known,
        *problems(config, force_disk=force_disk, begun_at=begun_at, is_redone=is_redone),
    ]
    if found:
        raise PreflightError(found)


def require_tuning(config: Config, *, known: Sequence[DualipoError] = ()) -> None:
    """Raise one error that tells every problem of a tuning, before its preferences are read."""
    found = [*known, *found_by(CHECKS_OF_TUNINGS, config, ahead.of(config))]
    if found:
        raise PreflightError(found)


def problems(
    config: Config,
    *,
    force_disk: bool = False,
    begun_at: Path | None = None,
    is_redone: bool = False,
) -> list[DualipoError]:
    """Return everything that would stop the run later, in the order in which it would."""
    try:
        state = replace(ahead.of(config, begun_at=begun_at), is_redone=is_redone)
    except DualipoError as broken:
        return [broken]
    return found_by(CHECKS if force_disk else (*CHECKS, room.disk), config, state)


def found_by(checks: Iterable[Check], config: Config, state: Ahead) -> list[DualipoError]:
    """Return the problems that these checks find, in their order."""
    found: list[DualipoError] = []
    for check in checks:
        try:
            for problem in check(config, state):
                found.append(problem)  # those before a refusal are kept
        except DualipoError as refusal:
            found.append(refusal)
    return found


def folder(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that the run's folder is a run's, or can be made, and what may change in it."""
    path = Path(config.output_dir)
    yield from rundir.refusals(path)
    if not state.is_new and not state.is_redone and (path / rundir.MARKER).is_file():
        RunReader(path).require_unread(config)


def tuning_folder(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that the folder is a tuning's, or can be made; its settings are compared later."""
    path = Path(config.output_dir)
    yield from rundir.refusals(path)
    if not state.is_new and not (path / rundir.TUNING).is_file():
        yield ConfigError(f"{path}: this is a run and no tuning. Name another --output.")


def suite(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check the suite's dimensions and its Python; what it can score is known when it is asked."""
    if config.monitor.suite != "vbench":
        return
    wanted = config.monitor.suite_dimensions
    if unknown := [name for name in wanted if name not in totals.DIMENSIONS]:
        yield ConfigError(
            f"monitor.suite_dimensions names {', '.join(unknown)}, which VBench does not have. "
            f"Choose from {', '.join(totals.DIMENSIONS)}."
        )
    if repeated := sorted({name for name in wanted if wanted.count(name) > 1}):
        yield ConfigError(f"monitor.suite_dimensions names {repeated[0]} twice. Name it once.")
    if config.monitor.suite_python:
        environment.require_program(Path(config.monitor.suite_python).expanduser())


def captions(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that a file's usable captions last for all that the run draws."""
    if config.prompts.source == "world" or config.prompts.path is None:
        return
    listed = file_sources.captions(config)
    exclude = [*state.used_captions, *_captions_of_labels(config, state)]
    exclude += _captions_of_fixed_sets(config, state)
    folded = corpus.fold(listed, exclude=exclude, right_to_left=config.prompts.right_to_left)
    wanted = wanted_captions(config, state)
    num_wanted = sum(wanted.values())
    if len(folded.prompts) < num_wanted:
        parts = ", ".join(f"{num} for {what}" for what, num in wanted.items())
        yield DataError(
            f"{config.prompts.path}: {len(folded.prompts)} distinct captions can be used"
            f"{left_out(folded, num_listed=len(listed.captions))}, but {num_wanted} are needed "
            f"({parts}). Add captions, or lower these numbers."
        )


def left_out(folded: corpus.Folded, *, num_listed: int) -> str:
    """Return how many listed captions cannot be drawn, and why; nothing where all can."""
    reasons = Counter(refusal.reason for refusal in folded.refused)
    reasons["repeated"] = sum(prompt.multiplicity - 1 for prompt in folded.prompts)
    num_known = num_listed - len(folded.prompts) - sum(reasons.values())
    reasons["used before, or captions of labels"] = num_known
    parts = [f"{num} {reason}" for reason, num in reasons.most_common(5) if num]
    return f" of {num_listed} ({', '.join(parts)})" if parts else ""


def wanted_captions(config: Config, state: Ahead) -> dict[str, int]:
    """Return how many captions are still to be drawn, by the setting that says so."""
    prompts, wanted = config.prompts, {}
    if state.draws_fixed_prompts:
        for name in FIXED_SETS:
            if file_sources.fixed_path(config, name) is None:
                wanted[f"prompts.num_{name}_prompts"] = getattr(prompts, f"num_{name}_prompts")
        if config.seed_labels.path is None:
            wanted["seed_labels.num_prompts"] = config.seed_labels.num_prompts
    if num_rounds := state.num_rounds_to_draw:
        key = f"{num_rounds} rounds of prompts.num_prompts = {prompts.num_prompts}"
        wanted[key] = num_rounds * prompts.num_prompts
    return {key: num for key, num in wanted.items() if num}


def _captions_of_fixed_sets(config: Config, state: Ahead) -> list[str]:
    """Return the captions that fixed sets take from files of their own; refuse a short file."""
    taken = _captions_of_labels(config, state) if state.draws_fixed_prompts else []
    captions: list[str] = []
    for name in FIXED_SETS if state.draws_fixed_prompts else ():
        if file_sources.fixed_path(config, name) is not None:
            folded = file_sources.fixed_prompts(config, name, exclude=[*taken, *captions])
            captions += [prompt.caption for prompt in folded.prompts]
    return captions


def _captions_of_labels(config: Config, state: Ahead) -> list[str]:
    """Return the captions of the seed's label set; none where it is no longer, or cannot be, read.

    A label set that cannot be read is told by `labels`.
    """
    if not state.draws_fixed_prompts:
        return []
    try:
        seed = file_sources.imported_seed(config)
    except DualipoError:
        return []
    return [] if seed is None else sorted({label.prompt for label in seed.labels.every})


def labels(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that the label set is there, large enough on both sides, and partly held out."""
    if not state.takes_seed or (seed := file_sources.imported_seed(config)) is None:
        return
    usable = seed.labels.every
    if state.seed_prompts is not None:
        usable = [label for label in usable if label.prompt_id in state.seed_prompts]
    training, held_out = (
        seed_labels.keep_part(config, usable, held_out=part) for part in (False, True)
    )
    yield from _too_small(config, training)
    name = config.seed_labels.path
    if training and not held_out:
        num_captions = len({label.prompt_id for label in usable})
        yield DataError(
            f"{name}: none of its {num_captions} captions is held out at "
            f"seed_labels.holdout_share = {config.seed_labels.holdout_share}, so nothing would "
            "measure the critic. Raise that share, or add labels of other captions."
        )
    elif len(held_out) < config.seed_labels.min_holdout:
        yield DataError(
            f"{name}: {len(held_out)} labels are held out at seed_labels.holdout_share = "
            f"{config.seed_labels.holdout_share}, and seed_labels.min_holdout asks for "
            f"{config.seed_labels.min_holdout}. They would tell the critic's accuracy to within "
            f"{_margin(len(held_out)):.0%} only. Label more clips, or change one of the two."
        )
    if _needs_grades(config) and training and not _points(training):
        yield DataError(
            sense.without_grades(f"{name}: it grades no single clip", "Import grades as well")
        )


def _margin(num_labels: int) -> float:
    """Return half of the 95 % interval of an accuracy near one half."""
    return 0.98 / num_labels**0.5 if num_labels else 1.0


def _too_small(config: Config, training: Sequence[Pair | Point]) -> Iterator[DualipoError]:
    pairs = [label for label in training if isinstance(label, Pair)]
    points = [] if config.critic.backend == "reward_head" else _points(training)
    try:
        seed_size.require_enough(
            pairs,
            points,
            settings=config.seed_labels,
            dimensions=config.critic.questions.names,
        )
    except DataError as too_few:
        yield too_few


def _points(labels: Iterable[Pair | Point]) -> list[Point]:
    return [label for label in labels if isinstance(label, Point)]


def _needs_grades(config: Config) -> bool:
    return config.critic.backend in LEARNING and sense.learns_from_grades(config)


def real_clips(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that enough real clips are there and can be read."""
    align = config.align
    is_used = config.rounds and align.real_nll_ratio and state.encodes_real_clips
    if is_used and align.dataset_name is not None:
        file_sources.footage(config).examine()
    yield from ()


def packages(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that the tracker, the optimizers and the Hub's token are there."""
    asked: list[Callable[[], object]] = [
        partial(optim.require_installed, used, group=group)
        for group, used in optim.trainings(config).items()
    ]
    if config.critic.load_in_4bit:
        asked.append(four_bits.require_installed)
    if config.report_to != "none":
        asked.append(partial(trackers.require, config.report_to))
    if config.push_to_hub:
        asked.append(hub.token)
    if config.workers.engine == "ray":
        asked += [engines.require_ray, partial(cluster.require_answer, config.workers.address)]
    if (method := config.monitor.clip_metrics) != "off":
        asked.append(partial(optical_flow.require, method))
    texts = []
    for ask in asked:
        try:
            ask()
        except ConfigError as missing:
            texts.append(str(missing))
    yield from (ConfigError(text) for text in dict.fromkeys(texts))


def devices(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that every process of a training has a device of its own."""
    if torch.cuda.is_available():
        for group, asked in (("align", config.align), ("critic", config.critic)):
            torchrun.require_devices(torchrun.team_of(group, asked, Path(config.output_dir)))
    yield from ()


CHECKS: tuple[Check, ...] = (
    folder,
    packages,
    devices,
    captions,
    labels,
    real_clips,
    suite,
    model_checks.generator,
    model_checks.critic,
    model_checks.judges,
    model_checks.servers,
    room.memory,
)
# Of a tuning, which takes neither captions nor labels of a recipe, and has no critic.
CHECKS_OF_TUNINGS: tuple[Check, ...] = (
    tuning_folder,
    packages,
    devices,
    real_clips,
    model_checks.generator,
    room.memory,
)
