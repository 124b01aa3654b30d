"""Errors that a user can act on.

A message names the subject, the fact and the remedy in whole sentences: `clips/a.mp4: 11 frames,
but the critic needs 16. Set critic.short_video = "repeat" to repeat frames.` The command line
prints it without a traceback and exits with `exit_code`. A programmer's broken invariant is an
`assert`, never one of these.
"""

from collections.abc import Sequence


class DualipoError(Exception):
    """The base of all errors that are meant for a user."""

    exit_code = 2


class PreflightError(DualipoError):
    """All that stands in the way of a run, told before its first unit."""

    def __init__(self, problems: Sequence[DualipoError]) -> None:
        texts = list(dict.fromkeys(map(str, problems)))
        head = f"{len(texts)} problems, and nothing was begun:\n- " if len(texts) > 1 else ""
        super().__init__(head + "\n- ".join(texts))
        self.problems = texts


class ConfigError(DualipoError):
    """A recipe or override that cannot be followed."""


class DataError(DualipoError):
    """A table, label file or prompt list that does not hold what it should."""


class MediaError(DualipoError):
    """A clip that cannot be read, or is not what its header says."""


class ModelError(DualipoError):
    """A model folder that is missing, unsupported or would run foreign code."""


class CheckpointError(DualipoError):
    """A folder of checkpoints none of which can be trusted."""


class HubError(DualipoError):
    """The Hugging Face Hub refuses a request, or cannot be reached."""


class StorageError(DualipoError):
    """A disk that is full, read-only or failing."""

    exit_code = 3


class RunLocked(DualipoError):
    """A run directory that another process holds."""

    exit_code = 4


class StageError(DualipoError):
    """A stage that stopped because its own result cannot be trusted (faults 25, 27, 31)."""

    exit_code = 5


class WaitsForPeople(DualipoError):
    """A run that stopped because people have to answer first; the same command goes on."""

    exit_code = 6
