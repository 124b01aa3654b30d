r"""Measures the monitors: how well each tells, in the embedded world, what the oracle knows.

    python benchmarks/monitors.py recipes/world.toml --arm no_update --seeds 0 1 2 3 4 \
        --output benchmarks/results

For every seed a run is made, or resumed where it stopped, with clip metrics and a held-out judge: a
critic of the same kind, warmed by the next seed's labels, that never trains afterwards. Simulated
people compare the test clips of every version with the base's. `--arm` says which of the runs of
`claims.py` is meant. With `--claims` its warm starts and its runs of that arm are gone on with, and
need not be made again. For each monitor the result says

    rank agreement   Kendall's tau between its order of the versions and the oracle's
    pairs            how many pairs of versions it orders as the oracle, of those whose difference
                     the oracle's own 95 % interval shows

and for each kind of alarm on how many versions it was raised, and how many of these were false: the
oracle shows the version to be better than the one that the alarm compares it with.

Pixels, people and the world's own suite are computed from the run's clips, whether the recipe has
them or not. So `--measured RUN...` measures finished runs of another benchmark, without a held-out
judge, in place of making some. The result is written as data, whichever way it comes out. Nothing
here is read by a run.
"""

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import claims

from dualipo import config, open_run
from dualipo.config import Config
from dualipo.evaluation import clip_changes, judgements, measured, pixels, recommended, run_history
from dualipo.evaluation.measured import named
from dualipo.evaluation.report.report_tables import Table
from dualipo.evaluation.run_history import RoundHistory
from dualipo.events import MeasuredEvent, MonitorEvent
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS, Candidate, Dimension, Prompt, Verdict
from dualipo.rounds import loop, world_sources, world_suite
from dualipo.rounds.questions import PairQuestion
from dualipo.store import atomic
from dualipo.store.run_reader import RunReader
from dualipo.store.run_tables import set_of

BASE = recommended.BASE_VERSION
JUDGE, NEXT_SEED = "held-out", 1  # the judge's labels are those of the next seed
PEOPLE, CRITIC = "judge:simulated-people", "the critic that trained"

Scores = dict[str, dict[str, float]]  # monitor -> version -> what it says, larger being better


def run(arguments: argparse.Namespace, seed: int) -> Path:
    """Make or resume a seed's run with all monitors, after the one that warms its judge."""
    recipe, folder, claimed = arguments.recipe, arguments.runs, arguments.claims
    before = folder / f"judge-{seed}"
    own = [*arguments.overrides, f"seed={seed + NEXT_SEED}", "rounds=0", f"output_dir={before}"]
    _finish(config.load(recipe, own), claimed, f"before-{seed + NEXT_SEED}")
    warm = open_run(before).version("critic", "warm")
    shown: dict[str, Any] = {"max_abstain_rate": 1.0, "max_position_share": 1.0, "min_entropy": 0}
    judge = shown | {"name": JUDGE, "pretrained_model_name_or_path": str(before / warm.path)}
    path = folder / f"monitored-{seed}"
    own = [*arguments.overrides, *claims.ARMS[arguments.arm]]
    own += [f"seed={seed}", f"output_dir={path}"]
    own += ["monitor.clip_metrics=blocks", f"monitor.judges={json.dumps([judge])}"]
    _finish(config.load(recipe, own), claimed, f"{arguments.arm}-{seed}")
    return path


def _finish(settings: Config, claimed: Path | None, name: str) -> None:
    claims.begin_with(claimed, name, settings)
    loop.run(settings, progress=PlainProgress())


def measure(path: Path, seed: int) -> dict[str, Any]:
    """Return what every monitor says of a run's versions, beside the oracle's totals."""
    reader = RunReader(path)
    history = run_history.read(reader)
    rounds = [history.base, *history.finished_rounds]
    names = [recommended.version_of(round_) for round_ in rounds]
    totals = [score.mean if (score := own.score("total")) else None for own in rounds]
    oracle = {name: x for name, x in zip(names, totals, strict=True) if x is not None}
    events = [event for own in rounds for event in own.measured]
    events += [*_people(reader, names, seed), *_suite(reader, names, seed)]
    if not any(event.source == measured.PIXELS for event in events):
        events += _pixels(reader, names)
    shown = _shown_pairs(rounds)
    return {
        "oracle": oracle,
        "monitors": {
            monitor: _agreement(oracle, said, shown) | {"says": said}
            for monitor, said in (_critic(rounds) | _of_events(events)).items()
        },
        "better_versions": sorted(best for worse, best in shown if worse == BASE),
        "alarms": _alarms(rounds, events, shown),
    }


def _critic(rounds: Sequence[RoundHistory]) -> Scores:
    """Return the sum of the training critic's win rates, each over the version before."""
    says, so_far = {BASE: 0.0}, 0.0
    for own in rounds:
        if (rate := recommended.win_rate(own)) is not None:
            so_far += rate.mean - 0.5
            says[recommended.version_of(own)] = so_far
    return {CRITIC: says}


def _of_events(events: Sequence[MeasuredEvent]) -> Scores:
    """Return what judges, pixels and the suite say of each version; judges call the base even."""
    scores: Scores = {}
    for event in events:
        for monitor, value in _values(event):
            even = {BASE: 0.5} if event.source.startswith(measured.JUDGE) else {}
            scores.setdefault(monitor, even)[event.version] = value
    return scores


def _values(event: MeasuredEvent) -> list[tuple[str, float]]:
    if event.source.startswith(measured.JUDGE):
        rate = named(event.measurements, judgements.WIN_RATE, against=BASE)
        return [(event.source, rate.value)] if rate and rate.value is not None else []
    signs = dict.fromkeys((measured.TOTAL, *pixels.METRICS), 1.0)
    signs |= {pixels.FLICKER: -1.0, pixels.UNSMOOTHNESS: -1.0}
    known = [(name, named(event.measurements, name)) for name in signs]
    return [
        (f"{event.source}: {name}", signs[name] * m.value)
        for name, m in known
        if m and m.value is not None
    ]


def _pixels(reader: RunReader, versions: Sequence[str]) -> list[MeasuredEvent]:
    """Return the clip metrics of every version's monitor clips, as a run records them."""
    clips, store = _clips(reader, "monitor"), reader.clip_store
    events: list[MeasuredEvent] = []
    for version in versions:
        own: dict[str, list[Candidate]] = {}
        for candidate in clips[version].values():
            own.setdefault(candidate.prompt_id, []).append(candidate)
        values = {
            prompt: pixels.of_prompt(
                [reader.read_clip(c.clip) for c in candidates],
                fps=[store.show(c.clip).fps for c in candidates],
                method="blocks",
            )
            for prompt, candidates in own.items()
        }
        others = [*events[:1], *events[1:][-1:]]  # the base, and the version before
        event = clip_changes.of_version(version, pixels.grouped(values), others=others)
        events.append(event)
    return events


def _people(reader: RunReader, versions: Sequence[str], seed: int) -> list[MeasuredEvent]:
    """Return what simulated people say of every version against the base, as a judge says it."""
    clips = _clips(reader, "test")
    base, events = clips[BASE], []
    for version in versions[1:]:
        asked = [
            PairQuestion(Prompt(c.prompt_id, c.caption), c.clip, base[place].clip, dimension)
            for place, c in clips[version].items()
            for dimension in DIMENSIONS
            if place in base
        ]
        labels = world_sources.label_pairs(asked, clips=reader.read_clip, seed=seed)
        verdicts: dict[str, dict[Dimension, list[Verdict]]] = {}
        for question, label in zip(asked, labels, strict=True):
            own = verdicts.setdefault(label.prompt_id, {})
            own.setdefault(question.dimension, []).append(label.verdict)
        events.append(judgements.of_verdicts("simulated-people", version, BASE, verdicts))
    return events


def _suite(reader: RunReader, versions: Sequence[str], seed: int) -> list[MeasuredEvent]:
    """Return what the world's own suite says of every version's monitor clips, the base's first."""
    clips, store = _clips(reader, "monitor"), reader.clip_store
    events: list[MeasuredEvent] = []
    for version in versions:
        values = world_suite.score(
            [*clips[version].values()],
            frames=reader.read_clip,
            fps=lambda clip: store.show(clip).fps,
            seed=seed,
        )
        events.append(world_suite.as_event(version, values, others=events[:1]))
    return events


def _clips(reader: RunReader, name: str) -> dict[str, dict[tuple[str, int], Candidate]]:
    """Return the clips of a set by version, prompt and number."""
    clips: dict[str, dict[tuple[str, int], Candidate]] = {}
    for candidate in reader.candidates():
        if set_of(candidate) == name:
            place = candidate.prompt_id, candidate.index
            clips.setdefault(candidate.generator_version, {})[place] = candidate
    return clips


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


def _alarms(
    rounds: Sequence[RoundHistory],
    events: Sequence[MeasuredEvent],
    shown: set[tuple[str, str]],
) -> dict[str, dict[str, list[str]]]:
    """Return for every kind of alarm the versions that raised it, and on which it was false."""
    names = [recommended.version_of(own) for own in rounds]
    kinds = (*clip_changes.KINDS, world_suite.FELL)
    alarms: dict[str, dict[str, set[str]]] = {kind: _nowhere() for kind in kinds}
    for event in events:
        is_of_judge = event.source.startswith(measured.JUDGE)
        of_judge = f"{event.source} prefers the base"
        if is_of_judge:
            alarms.setdefault(of_judge, _nowhere())
        for alarm in event.alarms:
            kind = of_judge if is_of_judge else alarm.partition(":")[0]
            other = next((name for name in names if f"against {name} " in alarm), BASE)
            note(alarms.setdefault(kind, _nowhere()), event.version, other, shown)
    for before, own in itertools.pairwise(rounds):
        monitored = own.event(MonitorEvent)
        stops = alarms.setdefault("the stopping rule", _nowhere())
        if monitored and monitored.stop:
            own_name, other = map(recommended.version_of, (own, before))
            note(stops, own_name, other, shown)
    return {kind: {key: sorted(own) for key, own in of.items()} for kind, of in alarms.items()}


def _nowhere() -> dict[str, set[str]]:
    return {"raised": set(), "false": set()}


def note(alarm: dict[str, set[str]], version: str, other: str, shown: set[tuple[str, str]]) -> None:
    """Note an alarm on a version that was compared with another one."""
    alarm["raised"].add(version)
    if (other, version) in shown:
        alarm["false"].add(version)


def table(result: Mapping[str, Any]) -> str:
    """Return the monitors and the alarms of all seeds as two tables in markdown."""
    seeds = result["seeds"]
    return "\n\n".join(each.in_markdown() for each in (_monitors(seeds), _false(seeds)))


def _monitors(results: Mapping[str, Any]) -> Table:
    monitors = dict.fromkeys(name for seed in results.values() for name in seed["monitors"])
    rows = []
    for monitor in monitors:
        own = [
            seed["monitors"][monitor] for seed in results.values() if monitor in seed["monitors"]
        ]
        taus = [each["tau"] for each in own if each["tau"] is not None]
        right, pairs = (sum(each[key] for each in own) for key in ("pairs_right", "pairs"))
        tau, ends = "not measured", ""
        if taus:
            tau, ends = f"{fmean(taus):+.2f}", f"{min(taus):+.2f} to {max(taus):+.2f}"
        rows.append([monitor, tau, ends, f"{right} of {pairs}"])
    return Table(["monitor", "Kendall's tau", "of the seeds", "pairs right"], rows)


def _false(results: Mapping[str, Any]) -> Table:
    kinds = dict.fromkeys(kind for seed in results.values() for kind in seed["alarms"])
    versions = sum(len(seed["oracle"]) - 1 for seed in results.values())
    better = sum(len(seed["better_versions"]) for seed in results.values())
    rows = []
    for kind in kinds:
        own = [seed["alarms"].get(kind, {"raised": [], "false": []}) for seed in results.values()]
        raised, false = (sum(len(each[key]) for each in own) for key in ("raised", "false"))
        rows.append([kind, f"{raised} of {versions} versions", f"{false} of {better}"])
    return Table(["alarm", "raised on", "false, on versions better than the base"], rows)


def main() -> None:
    """Run the seeds that are not finished, and write what is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("overrides", nargs="*", help="key=value, for all runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/monitors"))
    parser.add_argument("--arm", choices=claims.ARMS, default="dual", help="of claims.py")
    parser.add_argument("--claims", type=Path, help="where benchmarks/claims.py keeps its runs")
    parser.add_argument(
        "--measured", type=Path, nargs="+", default=[], help="finished runs, instead of new ones"
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder of the result")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name, seed, path in _runs(arguments):
        results[name] = measure(path, seed)
        kind = "-measured" if arguments.measured else ""
        output = arguments.output / f"monitors-{arguments.recipe.stem}{kind}.json"
        result = {"recipe": arguments.recipe.name, "arm": arguments.arm, "seeds": results}
        atomic.write_json(output, result)
        print(table(result), flush=True)


def _runs(arguments: argparse.Namespace) -> Iterator[tuple[str, int, Path]]:
    """Yield the finished runs that are named, or make one a seed."""
    for path in arguments.measured:
        yield str(path), int(RunReader(path).settings["seed"]), path
    for seed in arguments.seeds if not arguments.measured else ():
        yield str(seed), seed, run(arguments, seed)


if __name__ == "__main__":
    main()
