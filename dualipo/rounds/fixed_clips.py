"""Clips of the fixed prompts ("test" and "monitor"): every version makes them of the same noise."""

from dualipo.records import Candidate
from dualipo.rounds.bad_clips import intact
from dualipo.rounds.clip_units import ClipSet
from dualipo.rounds.run import Run
from dualipo.rounds.sampling import fixed_prompts, sample_set

MONITOR_CLIPS = 2  # clips a monitor prompt: one pair to audit, the first against the round before


def sample_fixed(run: Run, name: str, round: int, attempt: int, version: str) -> list[Candidate]:
    """Sample a version's clips of the test or monitor prompts, for an attempt.

    Clips that went bad are left out.
    """
    per_prompt = MONITOR_CLIPS if name == "monitor" else run.config.monitor.num_test_clips
    prompts = fixed_prompts(run, name)
    clips = ClipSet(name, round, attempt, version, prompts, per_prompt, texts_of=name)
    return intact(run, sample_set(run, clips))


def of_version(run: Run, name: str, version: str) -> list[Candidate]:
    """Sample a version's clips of these prompts, for the attempt that made the version."""
    made = run.ledger.version("generator", version)
    return sample_fixed(run, name, made.round, made.attempt, version)
