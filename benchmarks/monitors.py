"""Measures the monitors: how well each tells, in the embedded world, what the oracle knows.

    python benchmarks/monitors.py recipes/world.toml --seeds 0 1 2 3 4 --output benchmarks/results

For every seed a run is made, or resumed where it stopped, with clip metrics and a held-out judge: a
critic of the same kind, warmed by another seed's labels, that never trains afterwards. Simulated
people compare the last clips of every version with the base's. For each monitor the result says

    rank agreement   Kendall's tau between its order of the versions and the oracle's
    pairs            how many pairs of versions it orders as the oracle, of those whose difference
                     the oracle's own 95 % interval shows
    false alarms     its alarms on versions that the oracle shows to be better than the base

The result is written as data, whichever way it comes out. Nothing here is read by a run.
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from dualipo import config, open_run
from dualipo.config import Config
from dualipo.evaluation import judgements, measured, pixels, recommended, run_history
from dualipo.evaluation.measured import named
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import RoundHistory
from dualipo.events import MeasuredEvent
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Candidate, Prompt
from dualipo.rounds import loop, world_sources
from dualipo.rounds.questions import PairQuestion
from dualipo.store import atomic
from dualipo.store.run_reader import RunReader
from dualipo.store.run_tables import set_of

JUDGE, OTHER_SEED = "held-out", 1000  # the judge's labels are those of seed + 1000
PEOPLE, CRITIC = "simulated people", "the critic that trained"

Scores = dict[str, dict[str, float]]  # monitor -> version -> what it says, larger being better


def run(recipe: Path, folder: Path, seed: int, overrides: Sequence[str]) -> Path:
    """Make or resume a seed's run with all monitors, after the one that warms its judge."""
    before = folder / f"judge-{seed}"
    _finish(recipe, before, seed + OTHER_SEED, [*overrides, "rounds=0"])
    warm = open_run(before).version("critic", "warm")
    shown: dict[str, Any] = {"max_abstain_rate": 1.0, "max_position_share": 1.0, "min_entropy": 0}
    judge = shown | {"name": JUDGE, "pretrained_model_name_or_path": str(before / warm.path)}
    path = folder / f"monitored-{seed}"
    monitors = ["monitor.clip_metrics=blocks", f"monitor.judges={json.dumps([judge])}"]
    _finish(recipe, path, seed, [*overrides, *monitors])
    return path


def _finish(recipe: Path, path: Path, seed: int, overrides: Sequence[str]) -> Config:
    settings = config.load(recipe, [*overrides, f"seed={seed}", f"output_dir={path}"])
    loop.run(settings, progress=PlainProgress())
    return settings


def measure(path: Path, seed: int) -> dict[str, Any]:
    """Return what every monitor says of a run's versions, beside the oracle's totals."""
    reader = RunReader(path)
    history = run_history.read(reader)
    rounds = [history.base, *history.finished_rounds]
    names = [recommended.version_of(round_) for round_ in rounds]
    totals = [score.mean if (score := own.score("total")) else None for own in rounds]
    oracle = {name: x for name, x in zip(names, totals, strict=True) if x is not None}
    scores = _of_events(rounds) | {PEOPLE: _people(reader, names, seed)}
    shown = _shown_pairs(rounds)
    better = {
        recommended.version_of(own)
        for own in rounds[1:]
        if (change := run_history.difference(rounds[0], own))
        and change.excludes_zero
        and change.mean > 0
    }
    alarms = _alarms(rounds)
    return {
        "oracle": oracle,
        "monitors": {
            monitor: _agreement(oracle, said, shown)
            | {"says": said, "false_alarms": sorted(better & alarms.get(monitor, set()))}
            for monitor, said in scores.items()
        },
        "better_versions": sorted(better),
        "alarms": {monitor: sorted(versions) for monitor, versions in alarms.items()},
    }


def _of_events(rounds: Sequence[RoundHistory]) -> Scores:
    """Return what judges, pixels and the training critic say; they all call the base even."""
    scores: Scores = {CRITIC: {recommended.BASE_VERSION: 0.0}}
    so_far = 0.0
    for own in rounds:
        version = recommended.version_of(own)
        if (rate := recommended.win_rate(own)) is not None:
            so_far += rate.mean - 0.5  # each is over the version before
            scores[CRITIC][version] = so_far
        for event in own.measured:
            for monitor, value in _values(event):
                scores.setdefault(monitor, {recommended.BASE_VERSION: 0.5})[version] = value
    return scores


def _values(event: MeasuredEvent) -> list[tuple[str, float]]:
    if event.source.startswith(measured.JUDGE):
        rate = named(event.measurements, judgements.WIN_RATE, against=recommended.BASE_VERSION)
        return [(event.source, rate.value)] if rate and rate.value is not None else []
    signs = dict.fromkeys(pixels.METRICS, 1.0) | {pixels.FLICKER: -1.0, pixels.UNSMOOTHNESS: -1.0}
    known = [(name, named(event.measurements, name)) for name in pixels.METRICS]
    return [
        (f"{event.source}: {name}", signs[name] * m.value)
        for name, m in known
        if m and m.value is not None
    ]


def _people(reader: RunReader, versions: Sequence[str], seed: int) -> dict[str, float]:
    """Return the share of questions that simulated people decide for a version over the base."""
    clips: dict[str, dict[tuple[str, int], Candidate]] = {}
    for candidate in reader.candidates():
        if set_of(candidate) == "test":
            place = candidate.prompt_id, candidate.index
            clips.setdefault(candidate.generator_version, {})[place] = candidate
    base = clips[recommended.BASE_VERSION]
    shares = {recommended.BASE_VERSION: 0.5}
    for version in versions[1:]:
        asked = [
            PairQuestion(Prompt(c.prompt_id, c.caption), c.clip, base[place].clip, dimension)
            for place, c in clips[version].items()
            for dimension in DIMENSIONS
            if place in base
        ]
        labels = world_sources.label_pairs(asked, clips=reader.read_clip, seed=seed)
        points = {"a": 1.0, "b": 0.0, "tie": 0.5}
        given = [points[label.verdict] for label in labels if label.verdict in points]
        shares[version] = fmean(given) if given else 0.5
    return shares


def _shown_pairs(rounds: Sequence[RoundHistory]) -> set[tuple[str, str]]:
    """Return the pairs of versions whose difference the oracle's interval shows, worse first."""
    shown = set()
    for first, second in itertools.combinations(rounds, 2):
        change = run_history.difference(first, second)
        if change is not None and change.excludes_zero:
            names = [recommended.version_of(own) for own in (first, second)]
            shown.add((names[0], names[1]) if change.mean > 0 else (names[1], names[0]))
    return shown


def _agreement(
    oracle: Mapping[str, float], said: Mapping[str, float], shown: set[tuple[str, str]]
) -> dict[str, Any]:
    versions = [version for version in oracle if version in said]
    signs = [
        _sign(oracle[b] - oracle[a]) * _sign(said[b] - said[a])
        for a, b in itertools.combinations(versions, 2)
    ]
    known = [(worse, best) for worse, best in shown if worse in said and best in said]
    return {
        "tau": fmean(signs) if signs else None,
        "num_versions": len(versions),
        "pairs_right": sum(said[best] > said[worse] for worse, best in known),
        "pairs": len(known),
    }


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _alarms(rounds: Sequence[RoundHistory]) -> dict[str, set[str]]:
    """Return the versions that each monitor raised an alarm about; pixels by their metric."""
    alarms: dict[str, set[str]] = {}
    for event in (event for own in rounds for event in own.measured):
        for alarm in event.alarms:
            metrics = [name for name in pixels.METRICS if f": {name} " in alarm]
            monitor = f"{event.source}: {metrics[0]}" if metrics else event.source
            alarms.setdefault(monitor, set()).add(event.version)
    return alarms


def table(results: Mapping[str, Any]) -> str:
    """Return all seeds' monitors in markdown."""
    monitors = list(dict.fromkeys(name for seed in results.values() for name in seed["monitors"]))
    rows = []
    for monitor in monitors:
        own = [
            seed["monitors"][monitor] for seed in results.values() if monitor in seed["monitors"]
        ]
        taus = [each["tau"] for each in own if each["tau"] is not None]
        right, pairs = (sum(each[key] for each in own) for key in ("pairs_right", "pairs"))
        false = sum(len(each["false_alarms"]) for each in own)
        better = sum(len(seed["better_versions"]) for seed in results.values())
        tau = f"{fmean(taus):+.2f}" if taus else "not measured"
        rows.append([monitor, tau, f"{right} of {pairs}", f"{false} of {better}"])
    head = ["monitor", "Kendall's tau", "pairs right", "false alarms on better versions"]
    return Table(head, rows).in_markdown()


def main() -> None:
    """Run the seeds that are not finished, and write what is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, for all runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/monitors"))
    parser.add_argument("--output", type=Path, required=True, help="the folder of the result")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for seed in arguments.seeds:
        path = run(arguments.recipe, arguments.runs, seed, arguments.overrides)
        results[str(seed)] = measure(path, seed)
        output = arguments.output / f"monitors-{arguments.recipe.stem}.json"
        atomic.write_json(output, {"recipe": arguments.recipe.name, "seeds": results})
        print(table(results), flush=True)


if __name__ == "__main__":
    main()
