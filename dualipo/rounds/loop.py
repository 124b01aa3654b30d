"""Dual-IPO, as METHOD.md section 1 writes it down. Read this file first.

Each line is a stage: a function from artifacts to artifacts that can be killed at any instant and
run again. What a stage finished stands in the ledger, so a repeated run goes on where it stopped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dualipo import interrupt
from dualipo.attempt_log import LoggedProgress
from dualipo.config import Config
from dualipo.evaluation.share import trackers
from dualipo.event_names import in_words
from dualipo.progress import Progress
from dualipo.prompts.corpus import ExhaustedCaptions
from dualipo.rounds import (
    aligning,
    bad_clips,
    checking,
    closing,
    gating,
    judging,
    measuring,
    preferring,
    refreshing,
    sampling,
    warming,
)
from dualipo.rounds.planning import remaining
from dualipo.rounds.run import Run
from dualipo.stages import Again
from dualipo.store.rundir import RunDir
from dualipo.training import optim


def rounds(run: Run) -> None:
    """Improve the two models in turns."""
    warming.warm_start_critic(run)
    checking.require_trusted(run, 0)
    measuring.measure_base(run)
    for round_ in range(run.config.rounds):
        try:
            prompts = sampling.choose_prompts(run, round_)
        except ExhaustedCaptions as too_few:
            return closing.end_without_captions(run, round_, too_few)
        checking.require_trusted(run, round_)
        candidates = sampling.sample_candidates(run, round_, prompts)
        for attempt in (0, 1):  # the second only after the critic was refreshed
            checking.check_critic(run, round_, attempt)
            judging.score(run, round_, attempt, candidates)
            judging.confirm(run, round_, attempt, candidates)
            preferences = preferring.prefer(run, round_, attempt, candidates)
            if not preferences:
                return closing.end_without_preference(run, round_, attempt)
            version = aligning.align(run, round_, attempt, preferences)
            measuring.monitor(run, round_, attempt, version)
            if attempt == 1 or not refreshing.refresh_critic(run, round_, attempt, candidates):
                break
        if closing.close_round(run, round_, attempt, version):
            break


def run(config: Config, *, progress: Progress, again: Again | None = None) -> Path:
    """Begin or resume the run that `config.output_dir` names; return its folder.

    `again` throws a stage of the round under way away first.
    """
    with opened(config, progress, again=again) as opened_run:
        units = opened_run.ledger.stage_units()
        if stages := {(unit.round, unit.attempt, unit.stage) for unit in units}:
            progress.say(f"goes on: what {len(stages)} stages have made is kept")
        progress.plan(remaining(opened_run))
        if too_few := gating.power(config):
            progress.say(too_few)
        bad_clips.without_bad_clips(opened_run, rounds)
        closing.write_report(opened_run)
        return opened_run.directory.path


@contextmanager
def opened(config: Config, progress: Progress, *, again: Again | None = None) -> Iterator[Run]:
    """Open a run: hold its folder, sweep what no ledger row vouches for, close it at the end."""
    interrupt.install()
    for group, trained in optim.trainings(config).items():
        optim.require_installed(trained, group=group)
    directory = RunDir.open(Path(config.output_dir), config, again=again)
    progress = logged = LoggedProgress(progress, directory.log_path)
    opened_run = Run(directory, config, progress)
    try:
        if directory.ledger.is_restored:
            progress.say("the ledger is a backup: what was made since then is made once more")
        if directory.discarded:
            progress.say(directory.discarded)
        for name in directory.sweep():
            progress.say(f"swept {name}: no ledger row vouches for it")
        bad_clips.mark(opened_run, directory.missing_clips())
        with trackers.send_in_background(
            directory.path, to=config.report_to, folder=config.logging_dir, say=progress.say
        ):
            yield opened_run
    except Exception as error:  # whatever ends the process stands in its log, and goes on
        logged.fail(error)
        raise
    finally:
        if opened_run.ledger.unknown:
            progress.say(in_words(opened_run.ledger.unknown))
        progress.close()
        opened_run.close()
