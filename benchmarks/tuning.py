"""Whether a tuning reaches what the loop's own alignment reached on the same pairs, in the world.

    python benchmarks/tuning.py runs/quick --output out

RUN is a run on the embedded world. `dualipo tune RUN#0` trains the run's base on the pairs of its
round 0 with the run's own settings of the alignment; its latents come from the stored clips, where
the loop kept those of the sampler, and its real clips are the run's, written to files first. Then
both generators make clips of the run's test prompts from the same seeds, and the oracle scores
them. The result is the mean score of base, loop and tuning, and the differences paired by prompt
with 95 % bootstraps. The tuning reaches the loop's where the interval of its difference to the loop
holds 0. The command goes on where it stopped when it is repeated.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from intervals import difference, with_ends

from dualipo.cli import main as command_line
from dualipo.errors import ConfigError
from dualipo.evaluation import bootstrap
from dualipo.evaluation.report.report_tables import Table
from dualipo.events import ScoresEvent
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Candidate
from dualipo.rounds import commands, loop, world_sources
from dualipo.rounds.clip_units import ClipSet
from dualipo.rounds.real_clips import SHARD_CLIPS
from dualipo.rounds.run import BASE_ROUND
from dualipo.rounds.sampling import fixed_prompts, sample_set
from dualipo.store import atomic
from dualipo.store.clips import encode_clip
from dualipo.store.run_reader import RunReader

Scores = dict[str, list[float]]  # the total of each clip by prompt


def main() -> None:
    """Tune on the run's first round, score both generators, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    tuned = arguments.output / "tuned"
    arguments.output.mkdir(parents=True, exist_ok=True)
    real = write_real_clips(arguments.run, arguments.output / "real")
    code = command_line.main(tune_command(arguments.run, tuned, real))
    assert code == 0, "its message is above"
    run = RunReader(arguments.run)
    scores = {
        "base": recorded_scores(run, BASE_ROUND),
        "loop": recorded_scores(run, 0),
        "tuning": tuned_scores(arguments.run, tuned),
    }
    result = compared(scores)
    atomic.write_json(arguments.output / "tuning.json", result)
    print(table(result))


def tune_command(run_path: Path, output: Path, real: Path) -> list[str]:
    """Return the command that repeats the run's alignment as a tuning."""
    settings = RunReader(run_path).settings
    if settings["prompts.source"] != "world":
        raise ConfigError(f"{run_path}: not a run on the embedded world. Name one.")
    own = {
        key: value
        for key, value in settings.items()
        if key.startswith(("align.", "generator.")) or key == "seed"
    }
    own |= {"align.num_holdout": 0, "align.patience": 0, "align.dataset_name": str(real)}
    overrides = [f"{key}={json.dumps(value)}" for key, value in own.items()]
    return ["tune", f"{run_path}#0", "--output", str(output), *overrides]


def write_real_clips(run_path: Path, folder: Path) -> Path:
    """Write the real clips that the run trained on as files, with their table."""
    config = commands.config_of(run_path)
    num, lines = config.align.num_real_clips, []
    if (folder / "metadata.jsonl").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, num, SHARD_CLIPS):
        places = range(start, min(start + SHARD_CLIPS, num))
        frames_NFHWC, captions = world_sources.real_clips(config, places=places)
        for place, frames_FHWC, caption in zip(places, frames_NFHWC, captions, strict=True):
            name = f"{place:05d}.mp4"
            (folder / name).write_bytes(encode_clip(frames_FHWC, config.generator.fps))
            lines.append(json.dumps({"file_name": name, "caption": caption}))
    atomic.write_text(folder / "metadata.jsonl", "\n".join(lines) + "\n")
    return folder


def recorded_scores(run: RunReader, round: int) -> Scores:
    """Return the oracle's scores that the run recorded of a round's test clips."""
    event = next(event for unit, event in run.events(ScoresEvent) if unit.round == round)
    return bootstrap.by_prompt(event.total, event.prompt_ids)


def tuned_scores(run_path: Path, tuned_path: Path) -> Scores:
    """Sample the run's test prompts by the tuned generator, from the run's seeds; score them."""
    config = commands.config_of(run_path)
    with loop.opened(config, PlainProgress()) as run:
        prompts = fixed_prompts(run, "test")
    with loop.opened(commands.config_of(tuned_path), PlainProgress()) as tuned:
        clips = ClipSet("test", 1, 0, "g000.0", prompts, config.monitor.num_test_clips)
        candidates: Sequence[Candidate] = sample_set(tuned, clips)
        asked = [(candidate.caption, candidate.clip) for candidate in candidates]
        scores = world_sources.oracle_scores(asked, clips=tuned.clip)
    totals = [sum(score[d] for d in DIMENSIONS) / len(DIMENSIONS) for score in scores]
    return bootstrap.by_prompt(totals, [candidate.prompt_id for candidate in candidates])


def compared(scores: Mapping[str, Scores]) -> dict[str, Any]:
    """Return the mean of each generator, and the paired differences with their intervals."""
    means = {
        name: bootstrap.clustered_mean(
            [value for values in own.values() for value in values],
            clusters=[prompt for prompt, values in own.items() for _ in values],
        )
        for name, own in scores.items()
    }
    pairs = (("base", "loop"), ("base", "tuning"), ("loop", "tuning"))
    return {
        "num_prompts": len(scores["base"]),
        "means": {name: asdict(interval) for name, interval in means.items()},
        "differences": {
            f"{second} less {first}": asdict(
                bootstrap.paired_difference(scores[first], scores[second])
            )
            for first, second in pairs
        },
    }


def table(result: Mapping[str, Any]) -> str:
    """Return the result as markdown."""
    rows = [[name, with_ends(interval)] for name, interval in result["means"].items()]
    rows += [[name, difference(interval)] for name, interval in result["differences"].items()]
    return Table([f"{result['num_prompts']} test prompts", "oracle's score"], rows).in_markdown()


if __name__ == "__main__":
    main()
