"""Exports a label set, a run's seed or a round's preferences in another program's format."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dualipo.errors import ConfigError, DataError
from dualipo.preferences import contradictions, label_set
from dualipo.preferences.exporters import annotation, trainers, training, videofolder
from dualipo.preferences.exporters.outlet import Outlet
from dualipo.preferences.label_set import LabelSet
from dualipo.records import Pair, Point
from dualipo.store import atomic, tables
from dualipo.store.clips import ClipStore


@dataclass(frozen=True)
class Format:
    """An output format; with `usable` only labels that no other label contradicts are written.

    With `is_playable` its clips are for people and other programs, so they play everywhere unless
    the user wants them as they are stored.
    """

    write: Callable[[LabelSet, Outlet], None]
    usable: bool = False
    is_playable: bool = True


FORMATS: dict[str, Format] = {
    "native": Format(annotation.native, is_playable=False),
    "trl": Format(training.trl, usable=True),
    "trl-kto": Format(training.trl_kto, usable=True),
    "videoalign": Format(annotation.videoalign),
    "videofolder": Format(videofolder.write, usable=True),
    "label-studio": Format(annotation.label_studio),
    "flow-factory": Format(trainers.flow_factory, usable=True),
    "simpletuner": Format(trainers.simpletuner, usable=True),
}


def export_labels(
    format_name: str,
    labels: LabelSet,
    store: ClipStore,
    *,
    output: Path,
    link: bool = False,
    original: bool = False,
) -> Outlet:
    """Write the folder `output`, all of it or nothing; raise ConfigError where it exists.

    `original` keeps the clips as they are stored; so do `link` and the format `native`.
    """
    if output.exists():
        raise ConfigError(f"{output}: it exists already. Delete it, or give another name.")
    form = FORMATS[format_name]
    excluded: dict[str, int] = {}
    if form.usable:
        usable = contradictions.usable(labels)
        labels, excluded = usable.labels, usable.excluded
    with atomic.publish_folder(output, name="export") as temporary:
        is_playable = form.is_playable and not (link or original)
        outlet = Outlet(temporary, store, link=link, is_playable=is_playable)
        outlet.dropped.update(excluded)
        form.write(labels, outlet)
    return outlet


def read_source(path: Path, *, round: int | None = None) -> tuple[LabelSet, ClipStore]:
    """Read the labels and clips of a label set or book, or of a run: its seed, or one round."""
    if (path / "run.json").is_file():
        labels = _seed(path) if round is None else _preferences(path, round)
        return labels, ClipStore(path / "clips")
    if round is not None:
        raise ConfigError(f"{path}: this is no run, so it has no rounds. Leave out --round.")
    return label_set.read_source(path), label_set.clip_store(path)


def _seed(run: Path) -> LabelSet:
    folder = run / "rounds" / "base"
    pairs = tables.read_records(folder / "seed-pairs.parquet", record_type=Pair)
    points = tables.read_records(folder / "seed-points.parquet", record_type=Point)
    return LabelSet(tuple(pairs), tuple(points))


def _preferences(run: Path, round: int) -> LabelSet:
    """Read the preferences of the round's last attempt, which is the valid one."""
    paths = sorted((run / "rounds" / f"{round:03d}").glob("attempt-*/preferences.parquet"))
    if not paths:
        raise DataError(f"{run}: round {round} has no preferences yet. See `dualipo status {run}`.")
    if tables.kind_of(paths[-1]) == Point.__name__:  # Diffusion-KTO's labelled clips
        return LabelSet(points=tuple(tables.read_records(paths[-1], record_type=Point)))
    return LabelSet(tuple(tables.read_records(paths[-1], record_type=Pair)))
