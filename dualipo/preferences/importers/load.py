"""Imports the rows of data sets into a label set, all of them or none (fault 39).

    each row -> its labels -> their clips are copied into a staging folder
    after the last row: the clips move into the set, then the table appears, then the manifest

An import that is killed before the end leaves only files that the next one removes. A label's id is
a hash of its content, so importing a file again adds nothing.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from dualipo.errors import ConfigError, DataError
from dualipo.preferences import contradictions, label_set
from dualipo.preferences.importers import overview, winner_loser
from dualipo.preferences.importers.collect import Collected, listed
from dualipo.preferences.importers.formats import FORMATS
from dualipo.preferences.importers.intake import Intake
from dualipo.preferences.importers.report import Report
from dualipo.preferences.importers.row import (
    Format,
    Row,
    Settings,
)
from dualipo.preferences.label_set import LabelSet
from dualipo.records import DIMENSIONS
from dualipo.store import atomic
from dualipo.store.lock import Lock

STAGING = f"{atomic.TEMPORARY_PREFIX}import"


@dataclass(frozen=True)
class Options:
    """A user's options.

    `lenient` imports the rows that fit even where others do not, `strict` refuses columns that the
    format does not know, and `images` takes data sets of images as clips of one frame.
    """

    settings: Settings = field(default_factory=Settings)
    lenient: bool = False
    strict: bool = False
    images: bool = False
    dry_run: bool = False
    link: bool = False
    strip_prefix: str = ""


def import_labels(
    format_name: str,
    files: Sequence[Path],
    *,
    root: Path,
    output: Path,
    options: Options | None = None,
    on_row: Callable[[], None] = lambda: None,
) -> Report:
    """Import `files` into the label set `output`, with clips from under `root`.

    A row that does not fit raises a DataError that lists it, and nothing is changed; so does an
    import that takes no label at all. A dry run changes nothing in any case, and its report says
    in `objection` what the import would be refused for.
    """
    form, options = FORMATS[format_name], options or Options()
    settings = _settled(format_name, form, options)
    files = _checked(form, files, root, settings)
    _refuse_foreign(output)
    with _opened(output, dry_run=options.dry_run) as (before, history, staging):
        store = label_set.clip_store(output)
        intake = Intake(
            root, store, staging=staging, link=options.link, strip_prefix=options.strip_prefix
        )
        report = Report(format_name, options.dry_run)
        collected = Collected(form, settings, intake, report, before, strict=options.strict)
        collected.read(files, on_row)
        after = collected.labels()
        _account(report, after, settings, num_clips=collected.num_new_clips(before))
        report.overview = overview.lines(collected.in_files(), intake.headers, intake.corrections)
        report.num_same_clips = intake.num_same
        report.objection = _objection(report, lenient=options.lenient)
        if options.dry_run:
            return report
        if report.objection:
            raise DataError(f"{report.text()}\n{report.objection}")
        if not (output / label_set.MANIFEST).is_file():
            # From now on the folder is known as a label set, so the next import may clean it.
            label_set.write(output, before, history=())
        intake.publish(after.clips)
        entry = _entry(format_name, files, settings, report)
        label_set.write(output, after, history=_with(entry, history))
        return report


def _checked(form: Format, files: Sequence[Path], root: Path, settings: Settings) -> list[Path]:
    """Return the files that the named files and folders stand for, after a look at the first."""
    if not root.is_dir():
        raise DataError(
            f"{root}: this folder does not exist. Name the folder where the clips' paths start."
        )
    paths = [
        path
        for file in files
        for path in (form.tables(file) if form.tables and file.is_dir() else [file])
    ]
    if form.check:
        form.check(paths[0], settings)
    return paths


def _settled(name: str, form: Format, options: Options) -> Settings:
    """Settle who made the labels; a program's labels are never marked human."""
    settings = options.settings
    if form.source is None and settings.source is None and not form.says_source:
        raise ConfigError(
            f"{name}: its files do not say who judged. Give --source human, simulated or critic."
        )
    if form.source not in (None, "human") and settings.source == "human":
        raise ConfigError(f"{name}: a program made these labels. Leave out --source human.")
    if not form.one_judgement and settings.dimension != "overall":
        raise ConfigError(f"{name}: its rows name their dimensions. Leave out --dimension.")
    if form.images and settings.dimension == "motion":
        raise ConfigError(f"{name}: images do not move. Give --dimension another value.")
    if form.images and not options.images:
        raise ConfigError(
            f"{name}: it holds images. Give --images to take each as a clip of one frame."
        )
    if settings.words and not form.takes_words:
        raise ConfigError(f"--words: {name} knows what its words mean. Leave it out.")
    known = form.maps or form.used
    if unknown := settings.columns.keys() - {*known}:
        raise ConfigError(
            f"--map: {name} knows no {listed(sorted(unknown))}. It knows {listed(sorted(known))}."
        )
    source = settings.source or form.source
    return replace(settings, source=source, annotator=settings.annotator or name)


def _refuse_foreign(output: Path) -> None:
    own = ("LOCK", atomic.TEMPORARY_PREFIX, label_set.TABLE)
    if not output.exists() or (output / label_set.MANIFEST).is_file():
        return
    if not output.is_dir() or any(not inner.name.startswith(own) for inner in output.iterdir()):
        raise ConfigError(
            f"{output}: this folder is in use, but is no label set. Name another folder."
        )


@contextmanager
def _opened(output: Path, *, dry_run: bool) -> Iterator[tuple[LabelSet, list[Any], Path | None]]:
    """Lock the set; yield its labels, its history, and a staging folder for new clips."""
    if dry_run:
        yield (*_read(output), None)
        return
    atomic.make_folder(output)
    lock = Lock.acquire(output / "LOCK")
    staging = output / STAGING
    try:
        before, history = _read(output)
        sweep(output, before)
        with atomic.storage_errors(staging):
            staging.mkdir()
        yield before, history, staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        lock.release()
        with suppress(OSError):
            output.rmdir()  # succeeds only where the folder is empty


def _read(output: Path) -> tuple[LabelSet, list[Any]]:
    if not (output / label_set.MANIFEST).is_file():
        return LabelSet(), []
    return label_set.read(output), list(label_set.read_manifest(output)["imports"])


def sweep(output: Path, before: LabelSet) -> None:
    """Remove what a killed import left: temporary files, and clips that no label names."""
    named = {label_set.clip_store(output).path(clip) for clip in before.clips}
    with atomic.storage_errors(output):
        for path in output.glob(f"{atomic.TEMPORARY_PREFIX}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (output / label_set.CLIPS).glob("??/*.mp4"):
            if path not in named:
                path.unlink()


def _account(report: Report, after: LabelSet, settings: Settings, *, num_clips: int) -> None:
    usable = contradictions.usable(after)
    report.num_clips = num_clips
    report.excluded, report.agreement = usable.excluded, usable.agreement
    report.num_repeated = usable.num_repeated
    report.warm_start = overview.warm_start(usable.labels, settings.dimensions)


def _objection(report: Report, *, lenient: bool) -> str:
    """Say why an import is refused; return "" where it is not."""
    if report.refused.num and not lenient:
        return (
            f"Nothing was imported: {report.refused.num} rows do not fit. Correct them, or import "
            "the others with --lenient."
        )
    if not report.num_pairs + report.num_points + report.num_known:
        fact = "the files hold no row" if not report.num_rows else "no row holds a label to take"
        return f"Nothing was imported: {fact}. Check the files and the format."
    return ""


def _entry(name: str, files: Sequence[Path], settings: Settings, report: Report) -> Row:
    """Write an import for the set's history, as JSON holds it; dimensions only where not usual."""
    given = {
        name: value for name, value in asdict(settings).items() if value not in ({}, DIMENSIONS)
    }
    given |= {name: [*value] for name, value in given.items() if isinstance(value, tuple)}
    return {
        "format": name,
        "files": {file.name: identity(file) for file in files},
        **given,
        "num_rows": report.num_rows,
        "dropped": dict(report.dropped.reasons),
        "refused": report.refused.num,
        "not_kept": dict(report.not_kept),
    }


def identity(path: Path) -> str:
    """Return the hash of a file, or of a folder's names and sizes: what an import has read."""
    return winner_loser.identity(path) if path.is_dir() else atomic.sha256_file(path)


def _with(entry: Row, history: list[Any]) -> list[Any]:
    return history if entry in history else [*history, entry]
