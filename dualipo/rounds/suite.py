"""VBench on a version of the generator: its clips, one child process a dimension, and the totals.

    "suite"    the recipe's subset, in every round: its total is a signal that triggers read
    "vbench"   all prompts of the dimensions that are asked for, on request

A unit holds one dimension, so a killed run goes on with the next one; the last unit holds the
totals. Clips stand in the clip store, and under VBench's names as links in RUN/vbench, which holds
VBench's own files and each child's log too. A clip that cannot be used has no link: it counts as a
zero. A dimension that cannot be scored leaves the total out, and says why. An environment that does
not work ends a run before its first round; in a later one the version is not measured.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dualipo.errors import ConfigError, DataError, DualipoError, StorageError
from dualipo.evaluation import measured
from dualipo.evaluation.clip_changes import Values
from dualipo.evaluation.vbench import environment, measurements, prompt_file, result_files, totals
from dualipo.evaluation.vbench.environment import ChildFailed, Environment
from dualipo.evaluation.vbench.prompt_file import CLIPS_PER_PROMPT, Plan
from dualipo.evaluation.vbench.result_files import DimensionScore
from dualipo.evaluation.vbench.totals import Totals
from dualipo.event_json import to_json
from dualipo.event_parts import SuiteDimension
from dualipo.records import Candidate, Prompt
from dualipo.rounds.bad_clips import intact
from dualipo.rounds.clip_units import ClipSet, sample_units
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.sampling import units_of
from dualipo.rounds.versions import measured_before
from dualipo.seeds import derive
from dualipo.store import atomic
from dualipo.store.ledger import Unit, Version
from dualipo.suite_events import SuiteDimensionEvent, SuiteEvent

SUBSET, WHOLE = "suite", "vbench"  # the stages; their clips are the sets of these names
IMPORTED = "vbench_import"
CLOSING = -1
FOLDER = "vbench"
SOURCES = {SUBSET: measured.VBENCH, WHOLE: measured.VBENCH_WHOLE}
_SAMPLED_WITH = (
    *("num_frames", "height", "width", "fps", "num_inference_steps", "guidance_scale"),
    *("max_sequence_length", "step_cache", "mixed_precision", "torch_dtype"),
)


@dataclass(frozen=True)
class Suite:
    """A suite that is ready to score: its environment, and the clips that it plans."""

    stage: str
    environment: Environment
    prompts_hash: str
    plan: Plan
    num_clips: Mapping[str, int]  # of every prompt that may be sampled, also by another request
    seconds: float

    def planned(self, dimension: str) -> list[str]:
        """Return the names of the clips that a dimension scores."""
        return self.plan.scored(dimension, CLIPS_PER_PROMPT)


def measure_round(run: Run, round: int, attempt: int, version: str) -> None:
    """Score a version by the recipe's suite, where it has one and this was not done."""
    closing = Unit(round, attempt, SUBSET, CLOSING)
    if run.config.monitor.suite != "vbench" or run.is_done(closing):
        return
    generator = run.ledger.version("generator", version)
    try:
        ready = prepared(run, SUBSET)
    except (ConfigError, DataError, ChildFailed) as down:
        if round == BASE_ROUND:  # it never worked, and nothing is lost
            raise
        _pass_over(run, closing, generator, _why(down))
        return
    score(run, ready, generator)


def prepared(
    run: Run,
    stage: str,
    *,
    python: Path | None = None,
    dimensions: Sequence[str] = totals.DIMENSIONS,
) -> Suite:
    """Check the environment of a suite, by default the run's, and plan its clips.

    The subset's dimensions are the recipe's. Prompts that changed since an earlier score are
    refused, as scores would not compare.
    """
    settings = run.config.monitor
    if python is None and not settings.suite_python:
        raise ConfigError(
            "monitor.suite_python is not set. Give the Python of the environment in which vbench "
            "is installed with --python."
        )
    python = python or Path(str(settings.suite_python)).expanduser()
    checked = environment.check(python, run.directory.path / FOLDER)
    prompts = prompt_file.read(checked.prompts_path)
    for _, earlier in run.ledger.events(SuiteEvent):
        if earlier.prompts_hash not in ("", prompts.sha256):
            raise ConfigError(
                f"{checked.prompts_path}: it is not the prompt file by which {earlier.version} was "
                "scored in this run, so scores would not compare. Use the same release of vbench."
            )
    if stage == SUBSET:
        plan = prompt_file.subset(
            prompts.rows, settings.suite_dimensions, num_prompts=settings.suite_prompts
        )
    else:
        plan = prompt_file.plan(prompts.rows, dimensions)
    every = plan if stage == SUBSET else prompt_file.plan(prompts.rows, totals.DIMENSIONS)
    return Suite(stage, checked, prompts.sha256, plan, every.num_clips, settings.suite_timeout)


def score(run: Run, suite: Suite, version: Version) -> SuiteEvent:
    """Sample a version's clips, score every dimension, and commit the totals.

    Where all that is asked for was scored before, return that.
    """
    for before in _earlier(run, suite, version)[-1:]:
        known = {s.dimension for s in before.dimensions if s.raw is not None}
        if known >= {*suite.plan.dimensions}:
            return before
    clock = Clock()
    folder = run.directory.path / FOLDER / version.version_id / suite.stage
    _lay_out(run, suite, version, folder)
    run.forget_models()  # the suite's own take the device
    run.progress.stage(
        suite.stage, round=version.round, attempt=version.attempt, total=len(suite.plan.dimensions)
    )
    scored = [_dimension(run, suite, version, folder, name) for name in suite.plan.dimensions]
    event = _event(run, suite, version, [each.score for each in scored])
    values: Values = {}
    if suite.stage == SUBSET:
        is_complete = event.total is not None
        values = measurements.values(scored, planned=suite.planned, is_complete=is_complete)
    others = measured_before(run, measured.VBENCH, version.round, version.version_id)
    own = [each for _, each in run.ledger.events(SuiteEvent) if each.source == event.source]
    first = next((each for each in own if each.scored_with), None)
    summary = measurements.as_measured(event, values, others, first=first)
    run.commit(_closing(run, suite, version), clock=clock, events=[event, summary])
    atomic.write_json(folder / "score.json", to_json(event))
    for line in summary.alarms:
        run.progress.say(line)
    return event


def _pass_over(run: Run, closing: Unit, version: Version, why: str) -> None:
    """Record that a version could not be scored; `dualipo vbench run --subset` does it later."""
    wanted = run.config.monitor.suite_dimensions
    gaps = [_gap(dimension, num_planned=0, why=why) for dimension in wanted]
    event = SuiteEvent(
        source=SOURCES[SUBSET],
        version=version.version_id,
        total=None,
        quality=None,
        semantic=None,
        dimensions=gaps,
        prompts_hash="",
        num_prompts=0,
        sampled_with={},
        scored_with={},
    )
    run.commit(closing, events=[event, measurements.as_measured(event, {}, [])])
    run.progress.say(f"VBench of {version.version_id} is not measured: {why}")


def _gap(dimension: str, *, num_planned: int, why: str) -> SuiteDimension:
    return SuiteDimension(
        dimension=dimension, raw=None, num_scored=0, num_planned=num_planned, failed=[], why=why
    )


def _why(failure: DualipoError) -> str:
    """Return a failure on one line: what failed, and the last words of its log."""
    first, *rest = str(failure).splitlines()
    return " ".join([first, *rest[-1:]])


def _closing(run: Run, suite: Suite, version: Version) -> Unit:
    """Return the unit that holds the totals; a later request, which fills gaps, adds another."""
    num = len(_earlier(run, suite, version))
    is_first_subset = suite.stage == SUBSET and num == 0
    index = CLOSING if is_first_subset else len(totals.DIMENSIONS) + num
    return Unit(version.round, version.attempt, suite.stage, index)


def _earlier(run: Run, suite: Suite, version: Version) -> list[SuiteEvent]:
    """Return the version's earlier scores by this suite, the newest last."""
    wanted = (SOURCES[suite.stage], version.version_id)
    events = [event for _, event in run.ledger.events(SuiteEvent)]
    return [event for event in events if (event.source, event.version) == wanted]


def import_scores(
    run: Run, version: Version, scores: Mapping[str, DimensionScore], *, prompts_hash: str
) -> SuiteEvent:
    """Record scores that VBench itself wrote about a version's clips, sampled elsewhere.

    Nobody knows how those clips were made, so neither settings nor packages are recorded.
    """
    ordered = [scores[name] for name in totals.DIMENSIONS if name in scores]
    raw = {score.dimension: score.raw for score in ordered}
    reached = Totals(None, None, None) if totals.missing(raw) else totals.totals(raw)
    event = SuiteEvent(
        source=measured.VBENCH_IMPORTED,
        version=version.version_id,
        total=reached.total,
        quality=reached.quality,
        semantic=reached.semantic,
        dimensions=[_as_part(score) for score in ordered],
        prompts_hash=prompts_hash,
        num_prompts=len(
            {prompt_file.prompt_of(name) for score in ordered for name in score.by_clip}
        ),
        sampled_with={},
        scored_with={},
    )
    imported = [
        known
        for unit, known in run.ledger.events(SuiteEvent)
        if (unit.stage, known.version) == (IMPORTED, version.version_id)
    ]
    if imported[-1:] == [event]:
        return event
    num = sum(unit.stage == IMPORTED for unit, _ in run.ledger.events(SuiteEvent))
    unit = Unit(version.round, version.attempt, IMPORTED, num)
    run.commit(unit, events=[event, measurements.as_measured(event, {}, [])])
    return event


def _as_part(score: DimensionScore) -> SuiteDimension:
    num_planned = score.num_scored if score.num_planned is None else score.num_planned
    return SuiteDimension(
        dimension=score.dimension,
        raw=score.raw,
        num_scored=score.num_scored,
        num_planned=num_planned,
        failed=list(score.failed),
        left_out=list(score.left_out) or None,
    )


def _lay_out(run: Run, suite: Suite, version: Version, folder: Path) -> None:
    """Sample the clips, and link them under VBench's names beside its prompts."""
    clips = folder / "clips"
    sampled = _sampled(run, suite, version)
    if clips.exists():
        atomic.remove_folder(clips)
    atomic.make_folder(clips)
    atomic.write_json(folder / "prompts.json", list(suite.plan.rows))
    for candidate in sampled:
        target = clips / prompt_file.clip_name(candidate.caption, candidate.index)
        if target.exists():
            raise StorageError(
                f"{target}: the file system does not tell small letters from capitals, by which "
                "two prompts of VBench differ. Choose another output_dir."
            )
        _link(run.clip_store.path(candidate.clip), target)


def _sampled(run: Run, suite: Suite, version: Version) -> list[Candidate]:
    """Sample the planned clips that are not there yet, and return all that can be used.

    A prompt's unit is the same whichever dimensions are asked for, so requests share clips.
    """
    wanted = suite.plan.num_clips
    by_num: dict[int, list[Prompt]] = {}
    for text, num in suite.num_clips.items():
        by_num.setdefault(num, []).append(Prompt(f"{derive('vbench', text):016x}", text))
    made_by = (version.round, version.attempt, version.version_id)
    for num, prompts in by_num.items():
        name = suite.stage if num <= CLIPS_PER_PROMPT else f"{suite.stage}_still"
        clips = ClipSet(name, *made_by, prompts, num)
        units = [
            (index, chunk)
            for index, chunk in enumerate(units_of(run, clips))
            if any(prompt.caption in wanted for prompt in chunk)
        ]
        total = sum(len(chunk) for _, chunk in units) * num
        place = {"round": version.round, "attempt": version.attempt, "total": total}
        run.progress.stage(clips.unit(0).stage, **place)
        sample_units(run, clips, units, texts={})
    own = [c for c in run.ledger.candidates(version.round) if c.generator_version == made_by[-1]]
    sets = (f"{suite.stage}-", f"{suite.stage}_still-")
    named = [c for c in own if c.candidate_id.startswith(sets) and c.caption in wanted]
    return intact(run, named)


def _link(source: Path, target: Path) -> None:
    with atomic.storage_errors(target):
        try:
            atomic.link(source, target)
        except StorageError:  # a file system without links
            shutil.copyfile(source, target)


def _dimension(
    run: Run, suite: Suite, version: Version, folder: Path, dimension: str
) -> SuiteDimensionEvent:
    """Return a dimension's score, and commit it; one that failed is tried again next time."""
    place = totals.DIMENSIONS.index(dimension)
    unit = Unit(version.round, version.attempt, suite.stage, place)
    if run.is_done(unit):
        return run.recorded(unit, SuiteDimensionEvent)
    planned = suite.planned(dimension)
    try:
        path = environment.score(
            suite.environment,
            dimension,
            videos=folder / "clips",
            prompts=folder / "prompts.json",
            output=folder / "results",
            seconds=suite.seconds,
        )
        [read] = result_files.read(path, {dimension: planned})
    except DualipoError as failure:
        why = re.sub(rf"^(vbench )?{dimension}: ", "", _why(failure))
        gap = _gap(dimension, num_planned=len(planned), why=why)
        return SuiteDimensionEvent(score=gap, by_clip={})
    finally:
        run.progress.advance(1)
    event = SuiteDimensionEvent(score=_as_part(read), by_clip=dict(read.by_clip))
    run.commit(unit, events=[event])
    return event


def _event(
    run: Run, suite: Suite, version: Version, scores: Sequence[SuiteDimension]
) -> SuiteEvent:
    names = suite.plan.dimensions
    if suite.stage == WHOLE:  # earlier requests count too; only all sixteen make VBench's total
        scores, names = [*scores, *_scored_before(run, suite, version)], totals.DIMENSIONS
    raw = {score.dimension: score.raw for score in scores if score.raw is not None}
    reached = Totals(None, None, None) if totals.missing(raw, names) else totals.totals(raw, names)
    return SuiteEvent(
        source=SOURCES[suite.stage],
        version=version.version_id,
        total=reached.total,
        quality=reached.quality,
        semantic=reached.semantic,
        dimensions=list(scores),
        prompts_hash=suite.prompts_hash,
        num_prompts=len(suite.plan.num_clips),
        sampled_with=sampled_with(run),
        scored_with={**suite.environment.versions, "device": suite.environment.device},
    )


def _scored_before(run: Run, suite: Suite, version: Version) -> list[SuiteDimension]:
    """Return the scores of dimensions that earlier requests asked for and this one does not."""
    stage = Unit(version.round, version.attempt, suite.stage)
    return [
        event.score
        for event in run.events_of(stage, SuiteDimensionEvent)
        if event.score.dimension not in suite.plan.dimensions
    ]


def sampled_with(run: Run) -> dict[str, Any]:
    """Return what decides a version's clips of a prompt, beside its weights."""
    settings = run.config.generator
    return {
        **{name: getattr(settings, name) for name in _SAMPLED_WITH},
        "flow_shift": _flow_shift(run),
        "seed": run.config.seed,  # each clip's own is derived from it, the prompt and its number
        "rewriter": None,  # prompts are given to the generator as VBench writes them
    }


def _flow_shift(run: Run) -> float | None:
    """Return the shift of a flow model's scheduler, as its folder has it; None for other models."""
    folder, _ = run.generator_folders("base")
    path = folder / "scheduler" / "scheduler_config.json"
    settings: Mapping[str, Any] = atomic.read_json(path) if path.is_file() else {}
    shift = settings.get("flow_shift", settings.get("shift"))
    return float(shift) if isinstance(shift, int | float) else None
