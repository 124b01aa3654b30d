"""Projects what a recipe will take from what a small run of the same models took, by stage.

| stage | grows with |
|---|---|
| `sample.*` | clips, and the operations of one (frames, pixels, denoising steps, guidance) |
| `score`, `confirm`, `win_rate` | clips or pairs, dimensions, and paths of each question |
| warm start, alignment's steps | steps and items of a step |
| alignment's reference errors | pairs or clips, and slots |
| all others | rounds; what precedes round 0 stays as it is |

A stage that the small run did not have is named and not counted. Leaves out what a larger model or
another device changes, and the wait for a critic's refresh that the small run did not need.
"""

import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dualipo import config as settings_of
from dualipo.amounts import duration
from dualipo.config import Config
from dualipo.errors import ConfigError
from dualipo.evaluation import costs, run_history
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import BASE
from dualipo.rounds import estimating
from dualipo.rounds.bill import HOUR, Devices
from dualipo.rounds.planning import plan
from dualipo.store.run_reader import RunReader

ALIGN, REFERENCE = "align", "align (reference errors)"


@dataclass(frozen=True)
class Projection:
    """Device-seconds by stage: what the small run took, and what the recipe will take."""

    measured: Mapping[str, float]
    projected: Mapping[str, float]
    unmeasured: tuple[str, ...]  # stages that the recipe has and the small run had not

    @property
    def seconds(self) -> float:
        """The device time of the whole recipe."""
        return sum(self.projected.values())


def project(config: Config, run_path: Path) -> Projection:
    """Scale a finished run's clocks to a recipe; another generator or critic is refused."""
    run = RunReader(run_path)
    small = settings_of.from_leaves(run.written_settings, subject=str(run_path))
    num_rounds = _require_comparable(run, small, config)
    small = small.model_copy(update={"rounds": num_rounds})  # it may have ended before its last one
    measured, per_round = _measured(run, small)
    before, after = _sizes(small), _sizes(config)
    rounds = config.rounds / max(1, num_rounds)
    projected = {
        stage: seconds * (_ratio(before, after, stage) or (rounds if stage in per_round else 1.0))
        for stage, seconds in measured.items()
    }
    unmeasured = tuple(stage for stage, size in after.items() if size and stage not in measured)
    return Projection(measured, projected, unmeasured)


def in_words(projection: Projection, devices: Devices) -> str:
    """Write the table of stages, the whole, and its price."""
    rows = [
        [stage, duration(seconds), duration(projection.projected[stage], "estimated")]
        for stage, seconds in projection.measured.items()
    ]
    total = projection.seconds
    rows.append(["all", duration(sum(projection.measured.values())), duration(total, "estimated")])
    told = [Table(["device time", "measured", "projected"], rows).in_text(), ""]
    hours = total / HOUR
    told.append(f"{hours:,.3g} device-hours{_shared(total, devices)}.")
    if devices.price is not None:
        told.append(f"At {devices.price:g} a device-hour: {hours * devices.price:,.2f}.")
    if projection.unmeasured:
        told.append(f"Not counted, as the run had none: {', '.join(projection.unmeasured)}.")
    return "\n".join(told)


def _shared(seconds: float, devices: Devices) -> str:
    if devices.num == 1:
        return ""
    each = duration(seconds / devices.num, "estimated")
    return f", {each} on {devices.num} devices if all of it is shared"


def _require_comparable(run: RunReader, small: Config, config: Config) -> int:
    """Return how many rounds the small run has finished; raise ConfigError if it tells nothing."""
    for part in ("generator", "critic"):
        was, now = (getattr(each, part).pretrained_model_name_or_path for each in (small, config))
        if was != now:
            raise ConfigError(
                f"--measured: {run.path} measured the {part} {was!r}, and the recipe has {now!r}. "
                "Measure a small run of the recipe's own models."
            )
    history = run_history.read(run, with_clocks=False)
    if not history.is_finished:
        raise ConfigError(
            f"--measured: {run.path} is not finished, so its stages are not all measured. Resume "
            f"it with `dualipo resume {run.path}` first."
        )
    num = len(history.finished_rounds)
    if small.rounds and not num:
        raise ConfigError(
            f"--measured: {run.path} ended before it had finished a round, so it measured none. "
            f"`dualipo status {run.path}` says why; measure a run that finishes one."
        )
    return num


def _measured(run: RunReader, small: Config) -> tuple[dict[str, float], set[str]]:
    """Return the device-seconds of finished rounds by stage, and the stages that rounds have."""
    seconds: dict[str, float] = defaultdict(float)
    per_round = set()
    for spent in costs.read(run.path).spent:
        if spent.round < small.rounds:
            seconds[spent.stage] += spent.seconds
            if spent.round != BASE:
                per_round.add(spent.stage)
    if ALIGN in seconds:
        stepping = min(seconds[ALIGN], _seconds_of_steps(run) * small.align.num_processes)
        seconds[REFERENCE] = seconds[ALIGN] - stepping
        seconds[ALIGN] = stepping
    return dict(seconds), per_round


def _seconds_of_steps(run: RunReader) -> float:
    """Return the time of all steps of the alignments, each as long as the typical one.

    The first of a training waits for the reference's errors, and so does one after a restart.
    """
    rows = run.metrics(of_training=True)
    steps = [row["seconds"] for row in rows if row["stage"] == ALIGN and "seconds" in row]
    return len(steps) * statistics.median(steps) if steps else float("inf")


def _ratio(before: Mapping[str, float], after: Mapping[str, float], stage: str) -> float | None:
    """Return how much larger a stage is in the recipe; None where nothing counts it."""
    return after.get(stage, 0.0) / before[stage] if before.get(stage) else None


def _sizes(config: Config) -> dict[str, float]:
    """Return the size of each stage of a whole run, in units that two recipes share."""
    generator, critic, align = config.generator, config.critic, config.align
    guided = 2 if generator.guidance_scale > 1 else 1
    clip = estimating.estimate(config).footprint.flops * generator.num_inference_steps * guided
    asked = len(critic.questions.names)
    sides = 1 if align.loss_type == "kto" else 2
    num_real = align.real_batch_size if align.real_nll_ratio else 0
    num_items = config.prompts.num_prompts * (generator.num_candidates if sides == 1 else 1)
    of_one = {
        "score": asked * critic.num_score_paths,
        "confirm": asked * critic.num_votes,
        "win_rate": asked * critic.num_votes,
        "warm_start_sft": config.warm_start_sft.train_batch_size,
        "warm_start_dpo": config.warm_start_dpo.train_batch_size,
        ALIGN: sides * align.train_batch_size + num_real,
    }
    units = plan(config)
    sizes = {
        stage: num * (clip if stage.startswith("sample.") else of_one[stage])
        for stage, num in units.items()
    }
    return sizes | {REFERENCE: config.rounds * num_items * sides * align.num_slots}
