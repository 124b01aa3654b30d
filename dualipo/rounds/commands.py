"""Single commands on a run: `dualipo sample`, `judge`, `prefer`, ..., `critic check`, ...

A stage command reads what the command before it published; where that has not finished, it is
refused with the name of the command that is missing. A stage that is done already does nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dualipo.config import Config, from_leaves
from dualipo.critic.trust.checks import Checked
from dualipo.errors import ConfigError, DataError
from dualipo.evaluation.vbench.result_files import DimensionScore
from dualipo.progress import Progress
from dualipo.records import Candidate
from dualipo.rounds import (
    aligning,
    bad_clips,
    checking,
    closing,
    comparing,
    headroom,
    judging,
    measuring,
    preferring,
    refreshing,
    sampling,
    suite,
    warming,
)
from dualipo.rounds.loop import opened
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.versions import attempt_of, generator_made
from dualipo.stages import Command, command_before, last_of
from dualipo.store import settled
from dualipo.store.ledger import Unit
from dualipo.store.run_reader import RunReader
from dualipo.suite_events import SuiteEvent

Action = Callable[[Run, int, int], None]  # run, round, attempt


def run_stage(run_path: Path, command: Command, round: int | None, progress: Progress) -> int:
    """Run the stages of a command in `round`, by default the one that is under way; return it."""
    with opened(config_of(run_path), progress) as run:
        chosen = _round_under_way(run) if round is None else round
        attempt = attempt_of(run, chosen)
        _require_earlier(run, command, chosen, attempt)
        bad_clips.without_bad_clips(run, lambda run: _ACTIONS[command](run, chosen, attempt))
    return chosen


def check_critic(run_path: Path, critic: str | None, progress: Progress) -> tuple[str, Checked]:
    """Check a version of the run's critic, by default the one that serves now."""
    with _labelled(run_path, progress) as run:
        if not run.config.critic.check.num_pairs:
            raise ConfigError("critic.check.num_pairs is 0: nothing to check with. Set it above 0.")
        version_id = run.ledger.version("critic", critic or _serving(run)).version_id
        return version_id, checking.check(run, version_id, run.critic(version_id))


def measure_headroom(
    run_path: Path, critic: str | None, round: int | None, progress: Progress
) -> tuple[str, list[headroom.Measured], float]:
    """Read labels by a version of the critic; return it, what was read, and the gate's margin."""
    with _labelled(run_path, progress) as run:
        version_id = run.ledger.version("critic", critic or _serving(run)).version_id
        chosen = headroom.last_round(run) if round is None else round
        return version_id, headroom.measure(run, version_id, chosen), run.config.refresh.gate_margin


def compare_critics(
    run_path: Path,
    critics: Sequence[str],
    score_files: Sequence[Path],
    progress: Progress,
    *,
    with_reward_head: bool,
) -> tuple[int, dict[str, comparing.Accuracies]]:
    """Compare critics and baselines on held-out labels; by default the critic that serves now."""
    with _labelled(run_path, progress) as run:
        known = [run.ledger.version("critic", name).version_id for name in critics]
        return comparing.compare(
            run, known or [_serving(run)], score_files, with_reward_head=with_reward_head
        )


def score_version(
    run_path: Path,
    version_id: str,
    progress: Progress,
    *,
    python: Path | None = None,
    dimensions: Sequence[str] | None = None,
) -> SuiteEvent:
    """Score a version of the run's generator by VBench.

    All prompts of `dimensions` are sampled; without them, the subset that the recipe describes.
    """
    with opened(config_of(run_path), progress) as run:
        version = run.ledger.version("generator", version_id)
        if dimensions is None:
            ready = suite.prepared(run, suite.SUBSET, python=python)
        else:
            ready = suite.prepared(run, suite.WHOLE, python=python, dimensions=dimensions)
        return suite.score(run, ready, version)


def import_scores(
    run_path: Path,
    version_id: str,
    scores: Mapping[str, DimensionScore],
    progress: Progress,
    *,
    prompts_hash: str,
) -> None:
    """Record scores that VBench itself wrote about a version's clips."""
    with opened(config_of(run_path), progress) as run:
        version = run.ledger.version("generator", version_id)
        suite.import_scores(run, version, scores, prompts_hash=prompts_hash)


def list_clips(run_path: Path, path: Path, unscored: Path | None, progress: Progress) -> int:
    """Write the run's clips and captions as CSV; return how many."""
    with opened(config_of(run_path), progress) as run:
        return comparing.list_clips(run, path, unscored=unscored)


@contextmanager
def _labelled(run_path: Path, progress: Progress) -> Iterator[Run]:
    """Open a run whose seed has its labels; refuse one without."""
    with opened(config_of(run_path), progress) as run:
        if not run.is_done(Unit(BASE_ROUND, 0, "label")):
            raise DataError(
                f"{run_path}: no labels yet to check a critic with. Run `dualipo sample "
                f"{run_path}` first."
            )
        yield run


def _serving(run: Run) -> str:
    head = run.ledger.head("critic")
    assert head is not None, "registered before the seed is labelled"
    return head.version_id


def config_of(run_path: Path) -> Config:
    """Return the settings of a run that is there."""
    config = from_leaves(RunReader(run_path).written_settings, subject=str(run_path))
    return config.model_copy(update={"output_dir": str(run_path)})


def _sample(run: Run, round: int, attempt: int) -> None:
    warming.warm_start_critic(run)
    checking.require_trusted(run, round)
    measuring.measure_base(run)
    sampling.sample_candidates(run, round, sampling.choose_prompts(run, round))


def _judge(run: Run, round: int, attempt: int) -> None:
    candidates = _candidates(run, round)
    checking.check_critic(run, round, attempt)
    judging.score(run, round, attempt, candidates)
    judging.confirm(run, round, attempt, candidates)


def _prefer(run: Run, round: int, attempt: int) -> None:
    preferring.prefer(run, round, attempt, _candidates(run, round))


def _align(run: Run, round: int, attempt: int) -> None:
    preferences = preferring.prefer(run, round, attempt, _candidates(run, round))
    if preferences:
        aligning.align(run, round, attempt, preferences)
    else:
        closing.end_without_preference(run, round, attempt)


def _evaluate(run: Run, round: int, attempt: int) -> None:
    version = generator_made(round, attempt)
    measuring.monitor(run, round, attempt, version)
    if attempt == 1:
        closing.close_round(run, round, attempt, version)
    else:
        closing.write_report(run)


def _refresh(run: Run, round: int, attempt: int) -> None:
    """Refresh the critic, at most once a round; without a new critic, close the round."""
    is_refreshed = attempt == 0 and refreshing.refresh_critic(
        run, round, attempt, _candidates(run, round)
    )
    if not is_refreshed:
        closing.close_round(run, round, attempt, generator_made(round, attempt))


_ACTIONS: dict[Command, Action] = {
    "sample": _sample,
    "judge": _judge,
    "prefer": _prefer,
    "align": _align,
    "evaluate": _evaluate,
    "refresh": _refresh,
}


def _candidates(run: Run, round: int) -> list[Candidate]:
    return sampling.sample_candidates(run, round, sampling.choose_prompts(run, round))


def _require_earlier(run: Run, command: Command, round: int, attempt: int) -> None:
    """Refuse a command whose predecessor has not finished, or a round after the run's end."""
    needed = command_before(command)
    if needed is None and round > 0:
        before = attempt_of(run, round - 1)
        if not run.is_done(Unit(round - 1, before, "scores")):
            raise _missing(run, command, "refresh", round - 1)
        if closing.ends_early(run, round - 1, before):
            raise DataError(
                f"{run.directory.path}: the run ended early with round {round - 1}: "
                f"{closing.end_reasons(run, round - 1, before)[0]}. To go on, "
                f"`dualipo resume {run.directory.path} refresh.stop_early=false`."
            )
    elif needed is not None:
        last = last_of(needed)
        of_attempt = attempt if last.turn == "attempt" else 0
        unit = Unit(round, of_attempt, last.stage_id, last.closing_index)
        if not run.is_done(unit):
            raise _missing(run, command, needed, round)


def _missing(run: Run, command: Command, needed: Command, round: int) -> DataError:
    path = run.directory.path
    return DataError(
        f"{path}: round {round} has not finished `{needed}`, which {command} reads. "
        f"Run `dualipo {needed} {path} --round {round}` first."
    )


def _round_under_way(run: Run) -> int:
    """Return the last round that was begun, or the next one if that is over and there is one."""
    last = run.ledger.newest_round(apart_from=settled.CHANGE)
    if last is None or last == BASE_ROUND:
        return 0
    attempt = attempt_of(run, last)
    is_over = run.is_done(Unit(last, attempt, "scores"))
    if not is_over or last + 1 >= run.config.rounds or closing.ends_early(run, last, attempt):
        return last
    return last + 1
