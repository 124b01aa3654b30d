"""Reads Label Studio's JSON and JSON_MIN exports: tasks with two clips and a `Pairwise`.

    data         prompt, video_a, video_b, and the dimension that the task asks about
    annotations  Pairwise `left` or `right`; a choice "tie"; a text area with the reason

A `Pairwise` that is named after a dimension judges that dimension; otherwise it judges the task's
dimension, or else the one that the user gave. `--map caption=...,a=...,b=...` names other fields of
`data`. `predictions`, which a model filled in, are never read: they are no annotations.

JSON_MIN has a flat row for each annotation, which `rows` turns into a task: Label Studio's
converter writes a Pairwise as `[{"selected": "left"}]`, one choice or one text as itself, and the
annotator in `annotator`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dualipo.preferences.importers.row import (
    Dropped,
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    Unused,
    choice,
    dimension_of,
    pair,
    shown,
    text,
    voice,
)
from dualipo.records import LabelledDimension, Verdict
from dualipo.store import row_files

SIDES: dict[str, Verdict] = {"left": "a", "right": "b"}
# The fields of `data` by what they hold; the first that is there counts.
FIELDS = {
    "caption": ("prompt", "caption", "text"),
    "a": ("video_a", "video1", "video_1", "v1"),
    "b": ("video_b", "video2", "video_2", "v2"),
    "dimension": ("dimension",),
}
# What the converter adds to a row of JSON_MIN, and a task of JSON has, too.
EXPORT_FIELDS = ("id", "annotation_id", "created_at", "updated_at", "lead_time")


def rows(path: Path) -> row_files.Lines:
    """Yield the tasks; a row of JSON_MIN becomes a task with one annotation."""
    for line, row in row_files.rows(path):
        yield line, row if isinstance(row, Unfit) or "annotations" in row else _task(row)


def _task(row: Row) -> Row:
    results, fields, task = [], {}, {}
    for name, value in row.items():
        regions = [value] if isinstance(value, dict) else value
        if isinstance(regions, list) and regions and isinstance(regions[0], dict):
            results += [
                {"from_name": name, "type": kind, "value": each}
                for each in regions
                for kind, key in (("pairwise", "selected"), ("choices", "choices"))
                if isinstance(each, dict) and key in each
            ]
        elif value == "tie":
            results.append({"from_name": name, "type": "choices", "value": {"choices": ["tie"]}})
        elif name == "reason" and value:
            results.append({"from_name": name, "type": "textarea", "value": {"text": value}})
        elif name in EXPORT_FIELDS:
            task[name] = value
        elif name != "annotator":
            fields[name] = value
    annotation = {"completed_by": row.get("annotator"), "result": results}
    return task | {"data": fields, "annotations": [annotation]}


def judge(row: Row, settings: Settings) -> Iterator[Judged | Dropped | Unused]:
    """Yield a pair for each annotation and dimension, and the fields of `data` that say nothing."""
    annotations = row["annotations"]
    if not isinstance(row["data"], dict) or not isinstance(annotations, list):
        raise Unfit("`data` or `annotations` is not as Label Studio exports them.")
    asked, unused = _asked(row["data"], settings)
    yield from (Unused(f"data.{name}") for name in unused)
    if not annotations:
        yield Dropped("not annotated")
    for annotation in annotations:
        if not isinstance(annotation, dict):
            raise Unfit(f"An annotation is {shown(annotation)}, not an object of named values.")
        if annotation.get("was_cancelled"):
            yield Dropped("the annotation was cancelled")
        else:
            yield from _annotation(asked, annotation, settings)


def _asked(fields: Row, settings: Settings) -> tuple[Row, list[str]]:
    """Return what a task asks about, by the names of FIELDS, and the names of unused fields."""
    names = {
        name: (settings.columns[name],) if name in settings.columns else known
        for name, known in FIELDS.items()
    }
    field_of = {
        name: next((each for each in known if fields.get(each)), known[0])
        for name, known in names.items()
    }
    asked = {name: fields.get(field) for name, field in field_of.items()}
    unused = [name for name in fields if name not in {*field_of.values(), "source"}]
    return asked | {"source": fields.get("source")}, unused


def _annotation(asked: Row, annotation: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise Unfit("An annotation has no list `result`.")
    verdicts = _verdicts(asked, results, settings)
    if not verdicts:
        yield Dropped("an annotation without a verdict")
    speaker = {"annotator": _author(annotation, results), "source": asked["source"]}
    reason = " ".join(_words(results, "textarea", "text"))
    for dimension, verdict in verdicts.items():
        yield pair(
            text(asked, "caption"),
            Footage((_clip(asked, "a"),)),
            Footage((_clip(asked, "b"),)),
            dimension=dimension,
            verdict=verdict,
            voice=voice(speaker, settings),
            rationale=reason,
        )


def _author(annotation: Row, results: list[Row]) -> Any:
    """Return who annotated: the name that our export keeps in `meta`, or Label Studio's user."""
    kept = [result["meta"] for result in results if isinstance(result.get("meta"), dict)]
    for meta in kept:
        if meta.get("annotator"):
            return meta["annotator"]
    author = annotation.get("completed_by")
    return str(author.get("id", "")) if isinstance(author, dict) else author


def _verdicts(
    asked: Row, results: list[Row], settings: Settings
) -> dict[LabelledDimension, Verdict]:
    """Return an annotation's verdicts by dimension; raise Unfit where two contradict each other."""
    about = dimension_of(asked, settings)
    verdicts: dict[LabelledDimension, Verdict] = {}
    for result in results:
        dimension = settings.dimension_words.get(str(result.get("from_name")), about)
        if result.get("type") == "pairwise":
            value = result.get("value")
            verdict = choice(value if isinstance(value, dict) else {}, "selected", SIDES)
        elif result.get("type") == "choices" and "tie" in _words([result], "choices", "choices"):
            verdict = "tie"
        else:
            continue
        if verdicts.setdefault(dimension, verdict) != verdict:
            raise Unfit(f"The verdict in {dimension} is both {verdicts[dimension]} and {verdict}.")
    return verdicts


def _words(results: list[Row], kind: str, key: str) -> list[str]:
    values = [result.get("value") for result in results if result.get("type") == kind]
    lists = [value.get(key) for value in values if isinstance(value, dict)]
    lists = [[words] if isinstance(words, str) else words for words in lists]
    return [str(word) for words in lists if isinstance(words, list) for word in words]


def _clip(asked: Row, name: str) -> str:
    """Return the clip's path, also where Label Studio gives its address of a local file."""
    given = text(asked, name)
    try:
        parts: Any = urlsplit(given)
    except ValueError as broken:
        raise Unfit(f"`{name}` is {shown(given)}, no address ({broken}).") from None
    if parts.path == "/data/local-files/" and not parts.scheme and not parts.netloc:
        return text({name: parse_qs(parts.query).get("d", [""])[0]}, name)
    return given
