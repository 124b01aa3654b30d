"""One stage of a run, alone: what `dualipo sample`, `judge`, `prefer`, ... do.

A stage reads what the stages before it published. It is refused, with the command that is missing,
where they have not finished; a stage that is done already does nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dualipo.config import Config, from_leaves
from dualipo.critic.trust.checks import Checked
from dualipo.errors import ConfigError, DataError
from dualipo.events import RefreshEvent
from dualipo.progress import Progress
from dualipo.records import Candidate
from dualipo.rounds import (
    aligning,
    checking,
    comparing,
    judging,
    measuring,
    preferring,
    refreshing,
    sampling,
    warming,
)
from dualipo.rounds.loop import opened, write_report
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.rounds.versions import generator_made
from dualipo.store import atomic
from dualipo.store.ledger import Unit

Stage = Callable[[Run, int, int], None]


def run_stage(run_path: Path, stage: str, round: int | None, progress: Progress) -> None:
    """Run `stage` in `round`, by default the one that is under way."""
    with opened(config_of(run_path), progress) as run:
        here = _round_under_way(run) if round is None else round
        needs, act = STAGES[stage]
        attempt = _attempt(run, here)
        _require(run, stage, needs, here, attempt)
        act(run, here, attempt)


def check_critic(run_path: Path, critic: str | None, progress: Progress) -> tuple[str, Checked]:
    """Check a version of the run's critic, by default the one that serves now."""
    with _labelled(run_path, progress) as run:
        if not run.config.critic.check.num_pairs:
            raise ConfigError("critic.check.num_pairs is 0: nothing to check with. Set it above 0.")
        version_id = run.ledger.version("critic", critic or _serving(run)).version_id
        return version_id, checking.check(run, version_id, run.critic(version_id))


def compare_critics(
    run_path: Path,
    critics: Sequence[str],
    score_files: Sequence[Path],
    progress: Progress,
    *,
    with_reward_head: bool,
) -> tuple[int, dict[str, comparing.Accuracies]]:
    """Critics and baselines on the held-out labels; by default the critic that serves now."""
    with _labelled(run_path, progress) as run:
        known = [run.ledger.version("critic", name).version_id for name in critics]
        return comparing.compare(
            run, known or [_serving(run)], score_files, with_reward_head=with_reward_head
        )


def list_clips(run_path: Path, path: Path, unscored: Path | None, progress: Progress) -> int:
    """Write the run's clips and captions as CSV, and say how many."""
    with opened(config_of(run_path), progress) as run:
        return comparing.list_clips(run, path, unscored=unscored)


@contextmanager
def _labelled(run_path: Path, progress: Progress) -> Iterator[Run]:
    """A run whose seed has its labels."""
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
    """The settings of a run that is there."""
    flat = atomic.read_json(run_path / "config.json")
    config = from_leaves(flat, subject=str(run_path / "config.json"))
    return config.model_copy(update={"output_dir": str(run_path)})


def _sample(run: Run, round: int, attempt: int) -> None:
    warming.warm_start_critic(run)
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
    candidates = _candidates(run, round)
    aligning.align(run, round, attempt, preferring.prefer(run, round, attempt, candidates))


def _evaluate(run: Run, round: int, attempt: int) -> None:
    measuring.monitor(run, round, attempt, generator_made(round, attempt))
    if attempt == 1:
        _close(run, round, attempt)
    write_report(run)


def _refresh(run: Run, round: int, attempt: int) -> None:
    """At most once a round; without a new critic the round is over."""
    refreshed = attempt == 1 or refreshing.refresh_critic(
        run, round, attempt, _candidates(run, round)
    )
    if not refreshed:
        _close(run, round, attempt)
        write_report(run)


def _close(run: Run, round: int, attempt: int) -> None:
    """What the loop does after a round's last attempt only."""
    measuring.report_scores(run, round, attempt, generator_made(round, attempt))
    sampling.drop_latents(run, round)


# Stage -> the command whose units it needs, and what it does.
STAGES: dict[str, tuple[tuple[str, ...], Stage]] = {
    "sample": ((), _sample),
    "judge": (("sample",), _judge),
    "prefer": (("sample", "judge"), _prefer),
    "align": (("prefer",), _align),
    "evaluate": (("align",), _evaluate),
    "refresh": (("evaluate",), _refresh),
}


def _candidates(run: Run, round: int) -> list[Candidate]:
    return sampling.sample_candidates(run, round, sampling.choose_prompts(run, round))


def _require(run: Run, stage: str, needs: tuple[str, ...], round: int, attempt: int) -> None:
    closing = {
        "sample": Unit(round, 0, f"sample.{sampling.ROUND}", -1),
        "judge": Unit(round, attempt, "judged"),
        "prefer": Unit(round, attempt, "prefer"),
        "align": Unit(round, attempt, "align"),
        "evaluate": Unit(round, attempt, "monitor"),
    }
    missing = [need for need in needs if not run.is_done(closing[need])]
    if stage == "sample" and round > 0 and not _is_over(run, round - 1):
        missing, round = ["refresh"], round - 1
    if missing:
        raise DataError(
            f"{run.directory.path}: round {round} has not finished `{missing[0]}`, which {stage} "
            f"reads. Run `dualipo {missing[0]} {run.directory.path} --round {round}` first."
        )


def _round_under_way(run: Run) -> int:
    """The last round with anything in the ledger, or the one after if it is finished."""
    units = run.ledger.units()
    last = max((unit.round for unit in units), default=BASE_ROUND)
    if last == BASE_ROUND:
        return 0
    return last + 1 if _is_over(run, last) and last + 1 < run.config.rounds else last


def _is_over(run: Run, round: int) -> bool:
    return run.is_done(Unit(round, _attempt(run, round), "scores"))


def _attempt(run: Run, round: int) -> int:
    """1 once the round's critic was refreshed, else 0."""
    refreshes = run.ledger.events(RefreshEvent)
    return int(any(u.round == round and one.outcome == "refreshed" for u, one in refreshes))
