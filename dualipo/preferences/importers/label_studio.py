"""Label Studio's JSON export: tasks with two clips and a `Pairwise`, as our own export makes them.

    data         prompt, video_a, video_b, and the dimension that the task asks about
    annotations  Pairwise `left` or `right`; a choice "tie"; a text area with the reason

A `Pairwise` named after a dimension is about it; otherwise the task's, else the user's word counts.
What a model pre-filled (`predictions`) is never read: it is no annotation.
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
    """A pair each annotation and dimension."""
    annotations = row["annotations"]
    if not isinstance(row["data"], dict) or not isinstance(annotations, list):
        raise Unfit("`data` or `annotations` is not as Label Studio exports them")
    if not annotations:
        yield Dropped("not annotated")
    for annotation in annotations:
        if annotation.get("was_cancelled"):
            yield Dropped("the annotation was cancelled")
        else:
            yield from _annotation(row["data"], annotation, settings)


def _annotation(asked: Row, annotation: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    results = annotation.get("result")
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise Unfit("an annotation without a list `result`")
    verdicts = _verdicts(asked, results, settings)
    if not verdicts:
        yield Dropped("an annotation without a verdict")
    who = annotation.get("completed_by")
    speaker = {"annotator": str(who.get("id", "")) if isinstance(who, dict) else who}
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
    """What an annotation says, by dimension; a tie beside a side is unfit."""
    about = choice(asked, "dimension", _NAMES, default=settings.dimension)
    found: dict[AnyDimension, Verdict] = {}
    for one in results:
        dimension = _NAMES.get(str(one.get("from_name")), about)
        if one.get("type") == "pairwise":
            verdict = choice(one.get("value") or {}, "selected", SIDES)
        elif one.get("type") == "choices" and "tie" in _words([one], "choices", "choices"):
            verdict = "tie"
        else:
            continue
        if found.setdefault(dimension, verdict) != verdict:
            raise Unfit(f"both {found[dimension]} and {verdict} in {dimension}")
    return found


def _words(results: list[Row], kind: str, key: str) -> list[str]:
    values = [one.get("value") for one in results if one.get("type") == kind]
    lists = [value.get(key, []) for value in values if isinstance(value, dict)]
    return [str(word) for words in lists for word in ([words] if isinstance(words, str) else words)]


def _clip(asked: Row, names: tuple[str, ...]) -> str:
    """The clip's path; Label Studio's address of a local file is one."""
    name = next((name for name in names if asked.get(name)), names[0])
    given = text(asked, name)
    parts: Any = urlsplit(given)
    if parts.path == "/data/local-files/" and not parts.scheme and not parts.netloc:
        return text({name: parse_qs(parts.query).get("d", [""])[0]}, name)
    return given
