"""The time that step caching saves, and its effect on the critic's ranking of candidates.

    python benchmarks/step_caching.py runs/world --thresholds 0.1 0.2 0.3 0.5 --prompts 32
    python benchmarks/step_caching.py runs/world --steps 50 --prompts 16
    python benchmarks/step_caching.py runs/smoke --critic sft --prompts 3 --output out

The base generator of a run makes round 0's candidates of each prompt exactly, and again from the
same noise at every threshold of `generator.step_cache`. One critic scores all of them, pointwise,
as a run does. Against the exact clips: rank correlation (Spearman's) of a prompt's expected scores,
how often its top and bottom stay the same, and the latents' relative difference; for people, the
oracle's total and its own rank correlation. `exact again` is the exact clips scored with other
draws: a critic that samples disagrees with itself by so much. Seconds are CPU time a clip on a CPU,
wall time on a GPU, text and decoding included, every way in turn beginning with another one.
Intervals are 95 % bootstraps over prompts. Repeating the command goes on where it stopped.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from intervals import with_ends
from rank import interval
from scipy.stats import spearmanr

from dualipo.config import Generator
from dualipo.critic import judge
from dualipo.critic.asks import Item
from dualipo.evaluation.report.charts import percent
from dualipo.evaluation.report.report_tables import Table
from dualipo.generator.sample import Samples, sample
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Prompt
from dualipo.rounds import commands, judging, loop, sampling
from dualipo.rounds.run import Run
from dualipo.seeds import derive
from dualipo.store import atomic
from dualipo.world import oracle

EXACT, AGAIN = "exact", "exact again"
Ranked = tuple[np.ndarray, np.ndarray]  # of one prompt's clips: exact, and another way
Agreement = tuple[float, float, float]  # rank correlation, same top, same bottom


def make(run: Run, prompts: Sequence[Prompt], settings: Generator) -> tuple[Samples, float]:
    """Sample the prompts' candidates in one unit, and measure the seconds a clip."""
    each = settings.num_candidates
    captions = [prompt.caption for prompt in prompts for _ in range(each)]
    seeds = [
        derive(run.config.seed, "step caching", p.prompt_id, k)
        for p in prompts
        for k in range(each)
    ]
    model = run.generator("base")
    clock = time.perf_counter if run.device == "cuda" else time.process_time
    start = clock()
    samples = sample(model, captions=captions, seeds=seeds, settings=settings)
    return samples, (clock() - start) / len(captions)


def measure(
    run: Run, critic: str, prompts: Sequence[Prompt], ways: Mapping[str, Generator], turn: int
) -> list[dict[str, Any]]:
    """Return a row a prompt: every way's seconds, scores and distance from the exact clips."""
    order = [*ways]
    order = order[turn % len(order) :] + order[: turn % len(order)]
    by_way = {way: make(run, prompts, ways[way]) for way in order}
    each = run.config.generator.num_candidates
    rows = []
    for n, prompt in enumerate(prompts):
        own = slice(n * each, (n + 1) * each)
        clips = {way: samples.frames_NFHW3[own].numpy() for way, (samples, _) in by_way.items()}
        exact = by_way[EXACT][0].latents[own]
        rows.append(
            {
                "prompt_id": prompt.prompt_id,
                "seconds": {way: seconds for way, (_, seconds) in by_way.items()},
                "distance": {
                    way: float((samples.latents[own] - exact).norm() / exact.norm())
                    for way, (samples, _) in by_way.items()
                },
                "critic": scores(run, critic, prompt, clips),
                "oracle": {
                    way: [oracle.score(clip, prompt.caption).total for clip in way_clips]
                    for way, way_clips in clips.items()
                },
            }
        )
    return rows


def scores(
    run: Run, critic: str, prompt: Prompt, clips: Mapping[str, Any]
) -> dict[str, list[float | None]]:
    """Return expected scores, averaged over dimensions; None where the critic abstained.

    The exact clips are scored twice, with other draws.
    """
    by_way: dict[str, list[float | None]] = {}
    for way in (*clips, AGAIN):
        shown = clips[EXACT if way == AGAIN else way]
        names = [f"{prompt.prompt_id} {way} {n}" for n in range(len(shown))]
        frames = dict(zip(names, shown, strict=True))
        # Items are named by their place, so that all ways but `exact again` draw alike.
        items = [Item(f"{n}", prompt.caption, (name,)) for n, name in enumerate(names)]
        draws = ("step caching", prompt.prompt_id, int(way == AGAIN))
        votes = judge.score(
            run.critic(critic),
            items,
            clips=frames.__getitem__,
            settings=run.config.critic,
            seed_of=judging.seed_of(run, *draws),
        )
        given = judge.expected_scores(votes)
        parts = [[given.get((item.item_id, d)) for d in DIMENSIONS] for item in items]
        by_way[way] = [_mean(of_item) for of_item in parts]
    return by_way


def _mean(scores: Sequence[float | None]) -> float | None:
    """Return the mean, or None where a score is missing."""
    known = [score for score in scores if score is not None]
    return statistics.fmean(known) if len(known) == len(scores) else None


def comparable(rows: Sequence[Mapping[str, Any]], judged_by: str, way: str) -> list[Ranked]:
    """Return each prompt's scores of the exact clips and of the way's, where a clip has both.

    Prompts with too few scores, or with the same score for every exact clip, are left out: they
    have no ranking to lose.
    """
    ranked = []
    for row in rows:
        both = zip(row[judged_by][EXACT], row[judged_by][way], strict=True)
        kept = [(a, b) for a, b in both if a is not None and b is not None]
        exact, cached = np.array(kept).reshape(-1, 2).T
        if len(kept) > 1 and np.ptp(exact) > 0:
            ranked.append((exact, cached))
    return ranked


def agreement(exact: np.ndarray, cached: np.ndarray) -> Agreement:
    """Measure how alike two rankings are; clips with equal scores are ranked by chance."""
    if np.ptp(cached) == 0:
        return 0.0, 1 / len(exact), 1 / len(exact)
    top, bottom = (float(end(exact) == end(cached)) for end in (np.argmax, np.argmin))
    return float(spearmanr(exact, cached).statistic), top, bottom


def of_way(rows: Sequence[Mapping[str, Any]], way: str) -> dict[str, Any]:
    """Summarise a way: its effect on the ranking, and its seconds."""
    agreements = [agreement(*pair) for pair in comparable(rows, "critic", way)]
    table: dict[str, Any] = {
        "num_prompts_ranked": len(agreements),
        "rank_correlation": interval([correlation for correlation, _, _ in agreements]),
        "same_top": interval([top for _, top, _ in agreements]),
        "same_bottom": interval([bottom for _, _, bottom in agreements]),
    }
    if way == AGAIN:
        return table
    return table | {
        "oracle_rank_correlation": interval(
            [agreement(*pair)[0] for pair in comparable(rows, "oracle", way)]
        ),
        "oracle_total": interval([statistics.fmean(row["oracle"][way]) for row in rows]),
        "latents_distance": statistics.fmean(row["distance"][way] for row in rows),
        "seconds_a_clip": statistics.fmean(row["seconds"][way] for row in rows),
        "times_as_fast": statistics.fmean(
            row["seconds"][EXACT] / row["seconds"][way] for row in rows
        ),
    }


def table(results: Mapping[str, Any]) -> str:
    """Format a threshold a line, in markdown: its saving, and its effect on the ranking."""
    heads = ["step cache", "times as fast", "critic's rank correlation", "same top", "same bottom"]
    heads += ["oracle's rank correlation", "oracle's total"]
    rows = []
    ways = [name for name, values in results.items() if isinstance(values, Mapping)]
    for way in sorted(ways, key=lambda way: (way != EXACT, way)):
        values = results[way]
        ends = [with_ends(values[end], percent) for end in ("same_top", "same_bottom")]
        rank = [with_ends(values["rank_correlation"]), *ends]
        fast = f"{values['times_as_fast']:.2f}" if "times_as_fast" in values else ""
        by_oracle = [
            with_ends(values[name]) if name in values else ""
            for name in ("oracle_rank_correlation", "oracle_total")
        ]
        rows.append([way, fast, *rank, *by_oracle])
    return Table(heads, rows).in_markdown()


def measured_rows(
    run: Run, arguments: argparse.Namespace, ways: Mapping[str, Generator], work: Path
) -> list[dict[str, Any]]:
    """Measure the units that `work` does not have yet, and return the rows of all."""
    rows: list[dict[str, Any]] = []
    prompts = sampling.fixed_prompts(run, "test")[: arguments.prompts]
    settings = ways[EXACT]
    per_unit = max(1, settings.sample_batch_size // settings.num_candidates)
    make(run, prompts[:1], settings)  # loads the model, outside the clock
    for turn, start in enumerate(range(0, len(prompts), per_unit)):
        path = work / f"unit-{turn:03d}-of-{len(prompts)}.json"
        if not path.exists():
            unit = prompts[start : start + per_unit]
            atomic.write_json(path, measure(run, arguments.critic, unit, ways, turn))
            print(f"{start + len(unit)} of {len(prompts)} prompts", flush=True)
        rows += cast(list[dict[str, Any]], atomic.read_json(path))
    return rows


def parsed() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--critic", default="warm")
    parser.add_argument("--thresholds", type=float, nargs="+", default=[0.1, 0.2, 0.3, 0.5])
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--steps", type=int, help="default: the run's")
    parser.add_argument("--work", type=Path, default=Path("runs/step-caching"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results"))
    return parser.parse_args()


def main() -> None:
    """Measure the units that are missing, and write the summary."""
    arguments = parsed()
    thresholds = {EXACT: 0.0} | {f"{threshold:g}": threshold for threshold in arguments.thresholds}
    name = f"{arguments.run.name}-{arguments.critic}"
    name += f"-{arguments.steps}-steps" if arguments.steps else ""
    work = arguments.work / "-".join([name, *thresholds])
    atomic.make_folder(work)
    with loop.opened(commands.config_of(arguments.run), PlainProgress()) as run:
        settings = run.config.generator
        if arguments.steps:
            settings = settings.model_copy(update={"num_inference_steps": arguments.steps})
        ways = {
            way: settings.model_copy(update={"step_cache": threshold})
            for way, threshold in thresholds.items()
        }
        rows = measured_rows(run, arguments, ways, work)
        results = {
            "machine": torch.cuda.get_device_name() if run.device == "cuda" else platform.machine(),
            "generator": settings.pretrained_model_name_or_path,
            "critic": arguments.critic,
            "num_prompts": len(rows),
            "num_candidates": settings.num_candidates,
            "num_inference_steps": settings.num_inference_steps,
            **{way: of_way(rows, way) for way in (*ways, AGAIN)},
        }
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / f"step-caching-{name}.json", results)
    print(json.dumps(results, indent=2))
    print(table(results))


if __name__ == "__main__":
    main()
