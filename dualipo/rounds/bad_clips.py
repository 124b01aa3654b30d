"""A run's clips that have gone bad: marked, sampled once more or left out, and counted.

A file that is missing, was changed, or cannot be decoded is met when a stage reads it, whichever
that is (faults 19, 20). `without_bad_clips` marks it by a unit of the ledger, and begins again from
the ledger, as a repeated command would, so everything that is done stays done:

    stage reads a clip -> BadClip -> the mark is committed, the file removed -> the rounds go on

From then on nobody reads the clip. Its candidate is sampled once more with the next draw where no
critic has graded it yet (`sampling.sample_set`); else the candidate is left out, and so is every
label that names the clip. A training that was under way begins anew, since its batches change.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from dualipo.errors import DataError
from dualipo.events import BadClipEvent
from dualipo.preferences.label_set import clips_of
from dualipo.records import Candidate, Pair, Point
from dualipo.rounds.bench import BadClip
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.store import atomic
from dualipo.store.ledger import Unit
from dualipo.store.rundir import CHECKPOINTS, remove_checkpoints

MAX_BAD_SHARE = 0.05  # of the run's clips: more are no accident
MAX_BAD = 10  # so many may be bad in the smallest run

Label = TypeVar("Label", bound=Pair | Point)


def without_bad_clips(run: Run, work: Callable[[Run], None]) -> None:
    """Do the work; when it meets a clip that cannot be read, mark the clip and begin again."""
    while True:
        try:
            return work(run)
        except BadClip as met:
            if met.clip not in run.ledger.clips() or met.clip in run.bad_clips:
                raise  # no file of the run, or marked already: beginning again would not end
            run.progress.say(f"{met} It is left out from now on, or sampled once more.")
            mark(run, [met.clip])


def mark(run: Run, clips: Iterable[str]) -> None:
    """Record that these clips are not to be read again, and remove their files."""
    wanted = sorted({*clips} - run.bad_clips)
    num_bad = len(run.bad_clips) + len(wanted)
    num_all = run.ledger.num_clips() + len(run.bad_clips) if wanted else 0
    if wanted and num_bad > max(MAX_BAD, MAX_BAD_SHARE * num_all):
        raise DataError(
            f"{run.directory.path}: {num_bad} of {num_all} clips are missing or damaged, more than "
            f"{MAX_BAD_SHARE:.0%}. Restore the folder clips/ from a backup, or begin a run with "
            "another output_dir."
        )
    for clip in wanted:
        _begin_trainings_anew(run)
        path = run.clip_store.path(clip)
        event = BadClipEvent(clip=clip, is_missing=not path.is_file())
        unit = Unit(BASE_ROUND, 0, "bad_clip", len(run.bad_clips))
        run.commit_bad_clip(unit, event)
        with atomic.storage_errors(path):
            path.unlink(missing_ok=True)


def intact(run: Run, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates whose clips can be read."""
    return [candidate for candidate in candidates if candidate.clip not in run.bad_clips]


def intact_labels(run: Run, labels: Sequence[Label]) -> list[Label]:
    """Return the labels all of whose clips can be read."""
    return [label for label in labels if run.bad_clips.isdisjoint(clips_of(label))]


def _begin_trainings_anew(run: Run) -> None:
    """Remove the checkpoints of trainings on clips; an alignment trains on latents and goes on."""
    rounds = run.directory.path / "rounds"
    for folder in sorted(rounds.rglob(CHECKPOINTS)):
        if folder.is_dir() and folder.parent.name != "generator":
            remove_checkpoints(folder)
