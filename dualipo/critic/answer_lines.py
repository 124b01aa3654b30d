"""An answer as plain lines: without Markdown, and with JSON and tags written as "verdict: A".

So the readers of statements see one form. What stands in the same sentence as an object or a tag
stays beside it, because it may take it back ("the verdict is not <verdict>A</verdict>").
"""

import itertools
import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dualipo.critic.doubts import DOUBTS
from dualipo.critic.leanings import NOUNS
from dualipo.critic.own_words import BLANK

MAX_LABEL = 40  # characters of a label between tags; longer ones are a whole answer
MAX_BRACES = 64  # of an answer, which holds one object
_STRICT = json.JSONDecoder(object_pairs_hook=tuple)
_LOOSE_OBJECT = re.compile(r"\{[^{}]{0,4000}\}")
_TRAILING_COMMA = re.compile(r",\s*(?=\})")
_DOUBTS = re.compile(rf"\b(?:{DOUBTS}|if|not|instead of)\b|n't\b", re.I)
_CLIP = rf"(?:(?:{NOUNS})[ _])?(?P<clip>[ab])"
_OF_CLIP = r"(?P<name>grade|rating|score|evidence|reason)"
_CLIP_KEYS = (
    re.compile(_CLIP, re.I),
    re.compile(rf"{_OF_CLIP}[ _](?:of[ _])?{_CLIP}", re.I),
    re.compile(rf"{_CLIP}[ _]{_OF_CLIP}", re.I),
)

_TAG_NAMES = r"verdict|grade|answer|final_answer|output|response|decision|winner|conclusion"
_TAG = re.compile(rf"<({_TAG_NAMES})>([^<>]*)</\1>[ \t]*(?P<next>[A-Z<{{]?)", re.I)
_WRAPPER = re.compile(r"</?(?:answer|final_answer|output|response|conclusion|json)>", re.I)
_END_OF_TURN = re.compile(r"<\|[^|<>\n]{1,40}\|>|</?s>|<(?:end_of_turn|eos)>", re.I)
_CODE_FENCE = re.compile(r"```\w*")
_MARKS = re.compile(
    r"^\s*(?:[#>*+•-]+\s+|(?:[Ss]tep )?\(?\d{1,2}[.):]\s+)+|[*`]{1,3}|\b_{1,3}\B|\B_{1,3}\b"
    r"|\$|\\[\[\]()]"
)
_TEXT = re.compile(r"\\text\w*\s*\{([^{}]*)\}")
# A label that is marked as the answer by TeX or by two brackets.
_BOXED = re.compile(r"\\boxed\s*\{([^{}]*)\}|\[\[([^\[\]\n]{1,40})\]\]")
# The beginning of a line that is a part of a list, a table or an outline.
_ITEM = re.compile(r"\s*(?:[#>+•|-]|\*\s|\(?\d{1,2}[.):]\s|[Ss]tep\b)")
_SPACES = re.compile(r"\s+")
# Some write all in one line: "A: whole. Grade: good B: torn. Grade: bad Verdict: A".
_NEXT_IN_LINE = re.compile(
    r"\b((?:grade|rating)\W{1,4}(?:good|normal|bad)\b[.,;]?)[ \t]+"
    r"(?=(?:video )?[AB]\s*:|(?:final )?(?:verdict|answer)\b|<verdict>)",
    re.I,
)
_SENTENCE = re.compile(r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)\s+")
_ROLE = re.compile(r"\A\s*assistant\b:?\s*", re.I)  # the name of a turn, not cut off


@dataclass(frozen=True)
class Line:
    """A line that holds words.

    `follows_gap` tells whether a blank line stands before it, and `is_item` whether it is a heading
    or a part of a list, or its emphasis does not end.
    """

    text: str
    follows_gap: bool
    is_item: bool

    @property
    def sentences(self) -> list[str]:
        """The line's sentences; a full stop ends one where a space follows."""
        return _SENTENCE.split(self.text)


def lines(text: str) -> list[Line]:
    """Return the lines that hold words."""
    flat = _without_tags(_without_objects(_END_OF_TURN.sub("\n", _ROLE.sub("", text))))
    is_object = "{" in _unboxed(flat)  # one that was cut
    whole: list[Line] = []
    follows_gap = False
    for raw in _NEXT_IN_LINE.sub(r"\1\n", flat).splitlines():
        bare = _bare(raw)
        if any(c.isalnum() or c == BLANK for c in bare):
            is_item = bool(_ITEM.match(raw)) or raw.count("**") % 2 == 1 or is_object
            whole.append(Line(bare, follows_gap, is_item))
        follows_gap = not raw.strip()
    return whole


def _unboxed(text: str) -> str:
    r"""Write a label in a box, \boxed{\text{A}} or [[A]], as "answer: A"."""
    return _BOXED.sub(lambda box: f"answer: {box[1] or box[2] or ''}", _TEXT.sub(r"\1", text))


def _bare(line: str) -> str:
    """Return a line without Markdown's signs, pictures and double spaces."""
    bare = _MARKS.sub("", _CODE_FENCE.sub("", _unboxed(line)))
    words = "".join(c for c in bare if unicodedata.category(c) not in ("So", "Sk", "Mn", "Me"))
    return _SPACES.sub(" ", words).strip().strip("|").strip()


def _without_tags(text: str) -> str:
    """Write every whole tag around one line as "name: content"; drop tags around several lines."""

    def written(tag: re.Match[str]) -> str:
        content = tag[2].strip()
        is_label = tag[1].lower() in ("verdict", "grade")
        if not content or (is_label and "\n" in content):
            return tag[0]
        if "\n" in content or (len(content) > MAX_LABEL and not is_label):
            return f"\n{content}\n{tag['next']}"
        begins_sentence = "\n" if tag["next"] else ""
        name = tag[1].lower() if is_label else "answer"
        return f"{name}: {content}{begins_sentence or ' '}{tag['next']}"

    text = _TAG.sub(written, text)
    wrappers = _WRAPPER.findall(text)
    is_whole = 2 * sum(each.startswith("</") for each in wrappers) == len(wrappers)
    return _WRAPPER.sub("\n", text) if is_whole else text


def _without_objects(text: str) -> str:
    """Write every JSON object as lines "key: value"."""
    pieces: list[str] = []
    begin = 0
    for brace in itertools.islice(re.finditer(r"\{", text), MAX_BRACES):
        start = brace.start()
        if start < begin:
            continue
        fields, end = _object_at(text, start)
        if end > start:
            before = text[begin:start]
            pieces += [before, _joined(fields, before=before, after=text[end : end + 80])]
            begin = end
    return "".join(pieces) + text[begin:]


def _object_at(text: str, start: int) -> tuple[list[str], int]:
    """Return the fields of the object that begins here, and where it ends; 0 for no object."""
    try:
        fields, end = _STRICT.raw_decode(text, start)
        return list(_fields(fields)), end
    except (ValueError, RecursionError):
        loose = _LOOSE_OBJECT.match(text, start)
    if loose is None:
        return [], 0
    single = loose[0] if '"' in loose[0] else loose[0].replace("'", '"')
    try:
        return list(_fields(_STRICT.decode(_TRAILING_COMMA.sub("", single)))), loose.end()
    except (ValueError, RecursionError):
        return [], 0


def _joined(fields: list[str], *, before: str, after: str) -> str:
    """Write fields as lines of their own, or as a part of the sentence that they stand in."""
    said = _WRAPPER.sub("", before.rpartition("\n")[2]).rstrip(" \t`[")
    continued = _WRAPPER.sub("", after.partition("\n")[0]).lstrip(" \t`]).")
    is_announced = not said or (said[-1] in ":.!?" and not _DOUBTS.search(said))
    is_alone = is_announced and not (continued and continued[0].islower())
    return "\n" + "\n".join(fields) + "\n" if is_alone else f" {' / '.join(fields)} "


def _fields(value: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield "key: value" for every value of an object, inner keys behind the outer ones."""
    if isinstance(value, tuple):
        for key, inner in value:
            yield from _fields(inner, (*path, key.strip()))
    elif isinstance(value, list):
        for inner in value:
            yield from _fields(inner, path)
    else:
        yield ": ".join([*_keys(path), _SPACES.sub(" ", str(value))])


def _keys(path: tuple[str, ...]) -> list[str]:
    """Return keys in words, a clip's letter first."""
    clips, others = [], []
    for key in path:
        known = next(filter(None, (form.fullmatch(key) for form in _CLIP_KEYS)), None)
        clips += [known["clip"].upper()] if known else []
        name = known.groupdict().get("name") if known else key.replace("_", " ")
        others += [name] if name else []
    return clips + others
