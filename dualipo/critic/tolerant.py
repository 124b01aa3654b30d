"""The tolerant reader: an answer of a model that was never trained on the grammar.

Such models write Markdown, blank lines, numbered lists, thoughts in <think>, JSON, or "Answer: B".
A *statement* is a line or a sentence that says nothing but a label: a tag, "Verdict: A", "Video A
is better than Video B.", a last line "A". What is no statement is evidence, and evidence is never
searched for a label. An answer without a statement, or whose statements differ, abstains; so does
one that grades the preferred clip worse.

What the model only repeats is dropped before: sentences all of whose words stand in a row in the
caption, the question or the instructions, however the lines are broken. So an echo is no verdict,
even if a caption says "Verdict: A".
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from dualipo.critic import reasoning
from dualipo.critic.reasoning import Parsed
from dualipo.critic.vlm import Kind
from dualipo.records import GRADES, Grade, Verdict

# So many words in a row are an echo: a caption may hold a forged label of two words.
CAPTION_ECHO, PROMPT_ECHO = 2, 3
# An example ends with a label, as any answer does: only with words of its evidence is it an echo.
EXAMPLE_ECHO: dict[Kind, int] = {"pair": 7, "point": 5}

Label = Verdict | Grade

_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.S | re.I)
_END_OF_THOUGHT = re.compile(r"</think(?:ing)?>", re.I)
_OPEN_THOUGHT = re.compile(r"<think(?:ing)?>.*", re.S | re.I)
_CODE_FENCE = re.compile(r"```\w*")
_MARKUP = re.compile(r"^\s*(?:[#>*+•-]+\s+|\(?\d{1,2}[.)]\s+)+|[*_`]{1,3}|\\boxed|[${}\\]")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
# A label in its tag is a part by itself, wherever it stands.
_PART = re.compile(
    rf"{_SENTENCE.pattern}|(?=<(?:verdict|grade)>)|(?<=</verdict>)|(?<=</grade>)", re.I
)
_WORD = re.compile(r"[^\W_]+")

_DASHES = "\u2013\u2014-"
_NOUN = r"(?:the )?(?:video|clip|option|candidate)[ _]?"
_LABELS = {
    "pair": rf"(?:{_NOUN})?[\[(\"']?(?P<label>(?:a )?tie|equal|draw|A|B)[\])\"']?",
    "point": r"[\[(\"']?(?P<label>good|normal|bad)[\])\"']?",
}
_HEAD = (
    r"(?:(?:my|the|so|therefore|thus|hence|overall|in conclusion|finally),? )*"
    r"(?:final |overall )?"
    r"(?:answer|verdict|decision|conclusion|winner|choice|judg[e]?ment|preference|result"
    r"|grade|rating|better video|better clip|best video)"
)
_OPENING = r"(?:(?:so|therefore|thus|hence|overall|in conclusion|in summary|finally),? )?"
_DEGREE = r"(?:clearly |slightly |much |overall |definitely |marginally )?"
_BETTER = re.compile(
    rf"{_OPENING}{_NOUN}(?P<label>[AB]) (?:is {_DEGREE}(?:the )?(?:better|best|winner|preferred)"
    rf"(?: one| video| clip| choice)?|wins)(?: overall)?(?: than {_NOUN}[AB])?",
    re.I,
)
_EQUAL = re.compile(
    rf"{_OPENING}(?:it(?:'s| is) a (?:tie|draw)|both (?:videos |clips )?are (?:equal|the same)"
    r"(?:ly good)?|neither (?:video |clip )?is better|(?:the|both) (?:videos|clips) are tied)",
    re.I,
)
_EVIDENCE_OF = re.compile(rf"(?:{_NOUN})?(?P<clip>[AB])\s*[:{_DASHES}]\s*(?P<rest>.+)", re.I | re.S)
_GRADED = re.compile(r"\b(?:grade|rating)\s*[:=]\s*(?P<grade>good|normal|bad)\b", re.I)
_KEYS = {
    *("verdict", "answer", "final_answer", "winner", "choice", "preference", "decision"),
    *("better", "better_video", "label", "result", "grade", "rating", "judgment", "judgement"),
}


def read(
    text: str,
    kind: Kind,
    *,
    caption: str,
    prompts: Sequence[str],
    example: str = "",
    truncated: bool,
) -> Parsed:
    """Read an answer of a model that was shown the caption and the prompts about it.

    `example` is the answer that its instructions show, which is not searched for as a prompt is.
    """
    if truncated:
        return Parsed("abstain", "truncated")
    thoughtless = _without_thoughts(text).strip()
    given = [(caption, CAPTION_ECHO), *((prompt, PROMPT_ECHO) for prompt in prompts)]
    said, has_echo = _without_echo(thoughtless, [*given, (example, EXAMPLE_ECHO[kind])])
    if not has_echo:
        exact = reasoning.parse(thoughtless, kind, truncated=False)
        if exact.why in (None, "contradiction"):
            return exact
    fields = _object(said)
    lines = _lines(said)
    if fields is None:
        labels = {*_stated(lines, kind, allows_bare=not has_echo)}
    else:
        labels = {*_labels_of(fields, kind)}
    if len(labels) != 1:
        return Parsed("abstain", "several labels" if labels else "no label")
    (label,) = labels
    if kind == "point":
        return Parsed(label)
    grade_a, grade_b = (_grade(each, lines, fields) for each in "ab")
    verdict: Any = label
    if reasoning.contradicts(verdict, grade_a, grade_b):
        return Parsed("abstain", "contradiction", grade_a, grade_b)
    return Parsed(verdict, None, grade_a, grade_b)


def _without_thoughts(text: str) -> str:
    """Drop what was thought, also where the prompt had opened the thought, or nothing closed it."""
    text = _THOUGHT.sub(" ", text)
    text = _END_OF_THOUGHT.split(text)[-1]
    return _OPEN_THOUGHT.sub(" ", text)


def end_of_thoughts(text: str) -> int:
    """Return where the answer begins: after the last thought that was closed."""
    return max((match.end() for match in _END_OF_THOUGHT.finditer(text)), default=0)


def _without_echo(text: str, given: Sequence[tuple[str, int]]) -> tuple[str, bool]:
    """Drop the sentences and tags that stand in the given texts; tell whether any was dropped.

    With each text comes the number of words in a row that are an echo of it.
    """
    words = _words(text)
    echoed: set[int] = set()
    for known, length in given:
        echoed |= _echoed(words, known, length)
    kept, num_seen, has_echo = [], 0, False
    for line in text.splitlines():
        own = []
        for part in _PART.split(line):
            num_words = len(_words(part))
            places = range(num_seen, num_seen + num_words)
            num_seen += num_words
            if num_words and echoed.issuperset(places):
                has_echo = True
            else:
                own.append(part)
        kept.append(" ".join(own))
    return "\n".join(kept), has_echo


def _echoed(words: Sequence[str], given: str, length: int) -> set[int]:
    """Return the places of words that stand in runs of `length`, which the given text has, too."""
    known = _words(given)
    length = min(length, len(known))
    runs = {tuple(known[n : n + length]) for n in range(len(known) - length + 1)} if known else ()
    return {
        place
        for start in range(len(words) - length + 1)
        if tuple(words[start : start + length]) in runs
        for place in range(start, start + length)
    }


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _lines(text: str) -> list[str]:
    """Return the lines that hold text, without Markdown's signs."""
    bare = (_MARKUP.sub("", _CODE_FENCE.sub("", line)).strip() for line in text.splitlines())
    return [line for line in bare if line]


def _stated(lines: Sequence[str], kind: Kind, *, allows_bare: bool) -> Iterator[Label]:
    """Yield the label of every statement."""
    tag = "verdict" if kind == "pair" else "grade"
    tagged = re.compile(rf"<{tag}>\s*(?:{_LABELS[kind]})\s*</{tag}>", re.I)
    headed = re.compile(rf"{_HEAD}\s*(?:[:={_DASHES}]|is:?|would be)\s*{_LABELS[kind]}", re.I)
    bare = re.compile(_LABELS[kind], re.I)
    for number, line in enumerate(lines):
        for in_tags in tagged.finditer(line):
            yield _label(in_tags["label"])
        if kind == "pair" and _EVIDENCE_OF.fullmatch(line) and not headed.match(line):
            continue
        follows_head = number > 0 and re.fullmatch(rf"{_HEAD}\s*[:=]?", lines[number - 1], re.I)
        is_last = number == len(lines) - 1
        if allows_bare and (is_last or follows_head) and (match := _whole(bare, line)):
            yield _label(match["label"])
            continue
        if match := headed.match(line):
            if not _says_more(line[match.end() :], match["label"], kind):
                yield _label(match["label"])
            continue
        for sentence in _SENTENCE.split(line):
            yield from _sentence(sentence, headed, kind)


def _sentence(sentence: str, headed: re.Pattern[str], kind: Kind) -> Iterator[Label]:
    match = _whole(headed, sentence)
    if match is None and kind == "pair":
        match = _whole(_BETTER, sentence)
    if match:
        yield _label(match["label"])
    elif kind == "pair" and _whole(_EQUAL, sentence):
        yield "tie"


def _whole(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return pattern.fullmatch(text.strip().rstrip(".!,;:) "))


def _says_more(rest: str, label: str, kind: Kind) -> bool:
    """Tell whether what follows a label may take it back or name another one."""
    if not rest.strip(" .!,;:)"):
        return False
    if not re.match(rf"[.,;:]? ?(?:because|since|as\b|\(|[{_DASHES}] )|\.\s", rest, re.I):
        return True
    others = GRADES if kind == "point" else ("A", "B", "tie", "equal", "draw", "neither", "both")
    named = (word for word in others if word.lower() != label.lower())
    pattern = "|".join(rf"\b{word}\b" for word in named)
    takes_back = r"\b(?:not|no|wait|actually|but|however|unless|or|either|cannot|can't)\b"
    # The article "a" is no label; a capital A that is not the label is one.
    return bool(re.search(pattern, rest) or re.search(takes_back, rest, re.I))


def _label(word: str) -> Label:
    word = word.lower().removeprefix("a ")
    labels: dict[str, Label] = {"a": "a", "b": "b", **{grade: grade for grade in GRADES}}
    return labels.get(word, "tie")


def _grade(clip: str, lines: Sequence[str], fields: dict[str, Any] | None) -> Grade | None:
    """Return the one grade that an answer about a pair gives a clip."""
    if fields is not None:
        about = fields.get(clip, fields.get(f"video_{clip}", fields.get(f"grade_{clip}")))
        about = about.get("grade") if isinstance(about, dict) else about
        return next((grade for grade in GRADES if grade == str(about).lower()), None)
    grades: set[Grade] = set()
    for line in lines:
        match = _EVIDENCE_OF.fullmatch(line)
        if match and match["clip"].lower() == clip and (graded := _GRADED.search(match["rest"])):
            grades |= {grade for grade in GRADES if grade == graded["grade"].lower()}
    return grades.pop() if len(grades) == 1 else None


def _object(text: str) -> dict[str, Any] | None:
    """Return the JSON object that is the whole answer, its keys in lower case; None without one."""
    bare = _CODE_FENCE.sub("", text).strip()
    if not (bare.startswith("{") and bare.endswith("}")):
        return None
    try:
        return json.loads(bare, object_pairs_hook=_fields)
    except (ValueError, RecursionError):
        return {}


def _fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object; a key that comes twice with two values is an error."""
    fields: dict[str, Any] = {}
    for key, value in pairs:
        name = key.strip().lower().replace(" ", "_")
        if fields.setdefault(name, value) != value:
            raise ValueError(f"{key!r} comes twice")
    return fields


def _labels_of(fields: dict[str, Any], kind: Kind) -> Iterator[Label]:
    label = re.compile(_LABELS[kind], re.I)
    for key in fields.keys() & _KEYS:
        match = _whole(label, str(fields[key]))
        if match is None:
            continue
        yield _label(match["label"])
