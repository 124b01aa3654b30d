"""Reads Label Studio's JSON export: tasks with two clips and a `Pairwise`, as we export them.

    data         prompt, video_a, video_b, and the dimension that the task asks about
    annotations  Pairwise `left` or `right`; a choice "tie"; a text area with the reason

A `Pairwise` that is named after a dimension judges that dimension; otherwise it judges the task's
dimension, or else the one that the user gave. `predictions`, which a model filled in, are never
read: they are no annotations.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from dualipo.preferences.importers.row import (
    AnyDimension,
    Dropped,
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    choice,
    pair,
    text,
    voice,
)
from dualipo.records import DIMENSIONS, Verdict

SIDES: dict[str, Verdict] = {"left": "a", "right": "b"}
NAMES_A = ("video_a", "video1", "video_1", "v1")
NAMES_B = ("video_b", "video2", "video_2", "v2")
_NAMES: dict[str, AnyDimension] = {**{name: name for name in DIMENSIONS}, "overall": "overall"}


def judge(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield a pair for each annotation and dimension."""
    annotations = row["annotations"]
    if not isinstance(row["data"], dict) or not isinstance(annotations, list):
        raise Unfit("`data` or `annotations` is not as Label Studio exports them.")
    if not annotations:
        yield Dropped("not annotated")
    for annotation in annotations:
        if annotation.get("was_cancelled"):
            yield Dropped("the annotation was cancelled")
        else:
            yield from _annotation(row["data"], annotation, settings)


def _annotation(asked: Row, annotation: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise Unfit("An annotation has no list `result`.")
    verdicts = _verdicts(asked, results, settings)
    if not verdicts:
        yield Dropped("an annotation without a verdict")
    author = annotation.get("completed_by")
    speaker = {"annotator": str(author.get("id", "")) if isinstance(author, dict) else author}
    reason = " ".join(_words(results, "textarea", "text"))
    for dimension, verdict in verdicts.items():
        yield pair(
            text(asked, "prompt"),
            Footage((_clip(asked, NAMES_A),)),
            Footage((_clip(asked, NAMES_B),)),
            dimension=dimension,
            verdict=verdict,
            voice=voice(speaker | {"source": asked.get("source")}, settings),
            rationale=reason,
        )


def _verdicts(asked: Row, results: list[Row], settings: Settings) -> dict[AnyDimension, Verdict]:
    """Return an annotation's verdicts by dimension; raise Unfit where two contradict each other."""
    about = choice(asked, "dimension", _NAMES, default=settings.dimension)
    verdicts: dict[AnyDimension, Verdict] = {}
    for result in results:
        dimension = _NAMES.get(str(result.get("from_name")), about)
        if result.get("type") == "pairwise":
            verdict = choice(result.get("value") or {}, "selected", SIDES)
        elif result.get("type") == "choices" and "tie" in _words([result], "choices", "choices"):
            verdict = "tie"
        else:
            continue
        if verdicts.setdefault(dimension, verdict) != verdict:
            raise Unfit(f"The verdict in {dimension} is both {verdicts[dimension]} and {verdict}.")
    return verdicts


def _words(results: list[Row], kind: str, key: str) -> list[str]:
    values = [result.get("value") for result in results if result.get("type") == kind]
    lists = [value.get(key, []) for value in values if isinstance(value, dict)]
    return [str(word) for words in lists for word in ([words] if isinstance(words, str) else words)]


def _clip(asked: Row, names: tuple[str, ...]) -> str:
    """Return the clip's path, also where Label Studio gives its address of a local file."""
    name = next((name for name in names if asked.get(name)), names[0])
    given = text(asked, name)
    parts: Any = urlsplit(given)
    if parts.path == "/data/local-files/" and not parts.scheme and not parts.netloc:
        return text({name: parse_qs(parts.query).get("d", [""])[0]}, name)
    return given
