"""Errors that a user can act on.

A message names the subject, the fact and the remedy: `clip.mp4: 11 frames, the critic needs 16.
Set critic.short_video = "repeat" to accept it.` The command line prints it without a traceback
and exits with `exit_code`. A programmer's broken invariant is an `assert`, never one of these.
"""


class DualipoError(Exception):
    """Base of all errors meant for a user."""

    exit_code = 2


class ConfigError(DualipoError):
    """A recipe or override that cannot be followed."""


class DataError(DualipoError):
    """A table, label file or prompt list that does not hold what it should."""


class MediaError(DualipoError):
    """A clip that cannot be read, or is not what its header says."""


class ModelError(DualipoError):
    """A model folder that is missing, unsupported or would run foreign code."""


class CheckpointError(DualipoError):
    """No checkpoint can be trusted."""


class HubError(DualipoError):
    """The Hub refused, or cannot be reached."""


class StorageError(DualipoError):
    """The disk refused: full, read-only or failing."""

    exit_code = 3


class RunLocked(DualipoError):
    """Another process holds the run directory."""

    exit_code = 4


class StageError(DualipoError):
    """A stage stopped because its own result cannot be trusted (fault 25, 27, 31)."""

    exit_code = 5
