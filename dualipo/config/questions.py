"""The questions that a critic is asked, as data: a set is one TOML file (METHOD.md section 2).

`critic.questions` names a set that ships ("world", "video") or a file, which holds the same keys. A
set says what each dimension means, how pairs and single clips are asked about, what the grades
mean and which score each has, and in what form the answer is wanted. What an answer has to look
like for the readers (`critic/reasoning.py`) is no part of it.

A run keeps its set in full among its settings, so that a file which changes is a changed setting.
"""

import functools
import hashlib
import json
import re
import unicodedata
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dualipo import text_files
from dualipo.errors import ConfigError
from dualipo.records import DIMENSION_NAME, GRADES, OVERALL, Dimension, Grade

Kind = Literal["pair", "point"]
SHIPPED = ("world", "video")
_RESERVED = (OVERALL, "total")
# Words by which answers state a label. A dimension of such a name could not be told from them.
_OF_ANSWERS = {
    *("a", "b", "tie", "draw", *GRADES, "video", "clip", "not", "no"),
    *(
        "verdict",
        "answer",
        "grade",
        "rating",
        "winner",
        "decision",
        "final",
        "conclusion",
        "result",
    ),
}
_PLACES = ("name", "definition", "grades")  # what a question's text may hold in braces
_BRACES = re.compile(r"\{(\w*)\}")
_ANY_BRACES = re.compile(r"\{([^{}]*)\}")
_WORD = re.compile(r"[^\W_]+")
# An answer that only repeats what it was told is dropped. So no text may say a whole answer.
_TAGGED = "<{tag}>{label}</{tag}>"
_SAID = (_TAGGED, "final answer: {label}", "final {tag}: {label}", "the {tag} is {label}")
_LABELS: dict[Kind, tuple[str, tuple[str, ...]]] = {
    "pair": ("verdict", ("A", "B", "tie")),
    "point": ("grade", GRADES),
}
# So many words in a row of an example are an echo of it, and its evidence must have as many.
MIN_EXAMPLE_WORDS: dict[Kind, int] = {"pair": 7, "point": 5}
MAX_TEXT = 4000  # characters: a question is read before every answer


def _is_odd(character: str) -> bool:
    """Tell whether a character is one that no text holds, such as a NUL byte."""
    return unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\r\t"


class _Part(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        str_strip_whitespace=True,
    )

    @field_validator("*")
    @classmethod
    def _is_short(cls, value: Any) -> Any:
        if isinstance(value, str) and len(value) > MAX_TEXT:
            raise ValueError(f"it has {len(value):,} characters, and {MAX_TEXT:,} are the most")
        if isinstance(value, str) and (odd := [c for c in value if _is_odd(c)]):
            raise ValueError(f"it holds U+{ord(odd[0]):04X}, which is no letter or sign. Remove it")
        return value


class GradeScale(_Part):
    """A grade: what it means, and the score between 0 and 1 that it stands for."""

    meaning: str = ""
    score: float = Field(ge=0, le=1, strict=True)


class Grades(_Part):
    """The three grades of a single clip."""

    good: GradeScale
    normal: GradeScale
    bad: GradeScale

    @model_validator(mode="after")
    def _fall(self) -> "Grades":
        if not self.good.score > self.normal.score > self.bad.score:
            raise ValueError("the scores must fall from good over normal to bad")
        return self

    def scores(self) -> dict[Grade, float]:
        """Return the score of each grade."""
        return {grade: getattr(self, grade).score for grade in GRADES}

    def in_words(self) -> str:
        """Say what the grades mean, for a question; nothing where the set gives no meanings."""
        meanings = {grade: getattr(self, grade).meaning for grade in GRADES}
        return "; ".join(f"{grade}: {meaning}" for grade, meaning in meanings.items() if meaning)


class DimensionText(_Part):
    """A dimension: its name, what it means, and what differs from the set for it alone."""

    name: str
    definition: str = Field(min_length=1)
    needs_caption: bool = Field(True, strict=True)
    weight: float = Field(1.0, gt=0, le=1000, strict=True)
    pair: str | None = None
    single: str | None = None
    grades: Grades | None = None

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not DIMENSION_NAME.fullmatch(value) or value in _RESERVED:
            raise ValueError(
                f"{value!r} is no name of a dimension: a small letter makes one and up to 31 small "
                f"letters, digits and _ after it, and {' and '.join(_RESERVED)} are taken"
            )
        if value in _OF_ANSWERS:
            raise ValueError(
                f"{value!r} is a word by which an answer states its label, so an answer about it "
                "could be misread. Say in the name what is judged"
            )
        return value


class Questions(_Part):
    """A set of questions; `tells` names what a prompt says of the frames that it shows."""

    name: str = Field(pattern=r"^\w[\w. -]{0,60}$")
    tells: tuple[Literal["frames", "fps", "times"], ...] = ()
    pair: str = Field(min_length=1)
    single: str = Field(min_length=1)
    format_pair: str = Field(min_length=1)
    format_single: str = Field(min_length=1)
    example_pair: str = ""
    example_single: str = ""
    grades: Grades
    dimensions: tuple[DimensionText, ...]

    @model_validator(mode="after")
    def _can_be_asked(self) -> "Questions":
        if not self.names:
            raise ValueError("dimensions: there is none. Write at least one [[dimensions]] table")
        if repeated := [name for name in self.names if self.names.count(name) > 1]:
            raise ValueError(f"the dimension {repeated[0]} stands there twice")
        own = [text for each in self.dimensions for text in (each.pair, each.single)]
        for text in (self.pair, self.single, *filter(None, own)):
            _require_places(text)
        for text in (self.pair, self.single, *filter(None, own), *map(self.definition, self.names)):
            _require_no_answer("a question or a definition", text, (_TAGGED,))
        return self

    @model_validator(mode="after")
    def _shows_no_answer(self) -> "Questions":
        kinds: tuple[Kind, ...] = ("pair", "point")
        for kind, suffix in zip(kinds, ("pair", "single"), strict=True):
            _require_no_answer(f"format_{suffix}", self.form(kind), _SAID)
            evidence = self.example(kind).strip().rpartition("\n")[0]
            num, least = len(_WORD.findall(evidence)), MIN_EXAMPLE_WORDS[kind]
            if self.example(kind) and num < least:
                raise ValueError(
                    f"example_{suffix} has {num} words before its last line, so every answer with "
                    f"its label would look like a repetition of it. Write {least} words of "
                    "evidence or more before the label"
                )
        return self

    @functools.cached_property
    def sha256(self) -> str:
        """The hash of everything that the set says."""
        plain = json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def mark(self) -> str:
        """What a critic's hash takes in beside its weights; nothing for the embedded world's."""
        return "" if self == WORLD else f"questions {self.sha256}"

    def leaf(self) -> Any:
        """Return the set as config.json keeps it: in full, unless it is the default."""
        return self.name if self == WORLD else self.model_dump(mode="json", exclude_none=True)

    @property
    def names(self) -> tuple[Dimension, ...]:
        """The names of the dimensions, in the order in which they are asked about."""
        return tuple(each.name for each in self.dimensions)

    @property
    def weights(self) -> dict[Dimension, float]:
        """How much each dimension counts in a ranking; empty where all count the same."""
        weights = {each.name: each.weight for each in self.dimensions}
        return weights if len({*weights.values()}) > 1 else {}

    def captionless(self) -> tuple[Dimension, ...]:
        """Return the dimensions that a caption should not matter to."""
        return tuple(each.name for each in self.dimensions if not each.needs_caption)

    def question(self, kind: Kind, dimension: str) -> str:
        """Return the question about one dimension of a pair of clips, or of a single clip."""
        own = self._of(dimension)
        text = (own.pair or self.pair) if kind == "pair" else (own.single or self.single)
        grades = (own.grades or self.grades).in_words()
        filled = {"name": own.name, "definition": own.definition, "grades": grades}
        return _BRACES.sub(lambda place: filled[place[1]], text)

    def instructions(self, kind: Kind) -> str:
        """Explain the form of the answer, for a critic that was not trained on it."""
        return "\n\n".join(filter(None, (self.form(kind), self.example(kind))))

    def form(self, kind: Kind) -> str:
        """Return the words that explain the form of the answer."""
        return self.format_pair if kind == "pair" else self.format_single

    def example(self, kind: Kind) -> str:
        """Return the example of an answer; "" where the set has none."""
        return self.example_pair if kind == "pair" else self.example_single

    def definition(self, dimension: str) -> str:
        """Return what a dimension means."""
        return self._of(dimension).definition

    def scores(self, dimension: str) -> dict[Grade, float]:
        """Return the score of each grade in a dimension."""
        return (self._of(dimension).grades or self.grades).scores()

    def _of(self, dimension: str) -> DimensionText:
        return next(each for each in self.dimensions if each.name == dimension)


def _require_places(text: str) -> None:
    """Refuse a question that holds braces which are not filled in."""
    known = ", ".join(f"{{{place}}}" for place in _PLACES)
    for inside in _ANY_BRACES.findall(text):
        if inside not in _PLACES and inside.strip().lower() in _PLACES:
            place = f"{{{inside.strip().lower()}}}"
            raise ValueError(f"a question holds {{{inside}}}, which is not filled. Write {place}")
    if unknown := sorted({*_BRACES.findall(text)} - {*_PLACES}):
        raise ValueError(f"a question holds {{{unknown[0]}}}, but only {known} are filled")


def _require_no_answer(subject: str, text: str, forms: tuple[str, ...]) -> None:
    """Refuse a text that says a whole answer: a model that gives it would seem to repeat it."""
    words = f" {' '.join(_WORD.findall(text.lower()))} "
    for tag, labels in _LABELS.values():
        for answer in [form.format(tag=tag, label=x) for form in forms for x in labels]:
            if f" {' '.join(_WORD.findall(answer.lower()))} " in words:
                raise ValueError(
                    f"{subject} says {answer}, so an answer that says it would look like a "
                    "repetition and abstain. Write X for the label, and say which labels there are"
                )


def read(given: object) -> Questions:
    """Return the set that a recipe names or holds; raise ValueError with what is wrong."""
    if isinstance(given, Questions):
        return given
    tree, subject = given, ""
    if isinstance(given, str):
        tree, subject = _read_file(given), "" if given in SHIPPED else f"{given}: "
    if not isinstance(tree, dict):
        names = ", ".join(f'"{name}"' for name in SHIPPED)
        raise ValueError(f"it must be {names}, the path of a TOML file, or a table of questions")
    try:
        return Questions.model_validate(tree)
    except ValidationError as invalid:
        raise ValueError("; ".join(subject + _explained(e) for e in invalid.errors())) from None


def shipped(name: str) -> Questions:
    """Return a set that ships."""
    return Questions.model_validate(_read_file(name))


def _read_file(name: str) -> dict[str, Any]:
    folder = Path(str(files("dualipo") / "config" / "question_sets"))
    path = folder / f"{name}.toml" if name in SHIPPED else Path(name).expanduser()
    remedy = f"Name a file of questions, or one of those that ship: {', '.join(SHIPPED)}"
    try:
        return text_files.read_toml(path, remedy=remedy, error=ConfigError)
    except ConfigError as refusal:
        raise ValueError(str(refusal)) from None


def _explained(error: Any) -> str:
    """Say in one clause what is wrong with a set."""
    place = ".".join(str(part) for part in error["loc"])
    fact = str(error["ctx"]["error"]) if error["type"] == "value_error" else error["msg"]
    if error["type"] == "extra_forbidden":
        fact = "there is no such key in a set of questions"
    if error["type"] == "missing":
        fact = "it is missing"
    if error["type"] == "greater_than":
        fact = "it must be above 0. Leave out a dimension that should not count"
    if error["type"] in ("float_type", "bool_type"):
        fact = f"it must be {'a number' if error['type'] == 'float_type' else 'true or false'}"
    return f"{place}: {fact}" if place else fact


WORLD = shipped("world")
