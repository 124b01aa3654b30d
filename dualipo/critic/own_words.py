"""The words of an answer that are the model's own: no thoughts, and no repeated question.

What the model only repeats is dropped: sentences all of whose words stand in a row in the caption,
the question or the instructions, however the lines are broken. So an echo is no verdict, even if a
caption says "Verdict: A". Where a sentence of its own quotes one, the quotation is blanked.
"""

import functools
import itertools
import re
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

# What hides or splits words: format characters, surrogates, private and unassigned ones.
_INVISIBLE = ("Cf", "Cs", "Co", "Cn")
_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d\u300c\u300d", '\'\'""""')
_THOUGHT = (
    r"(?:think|thinking|thoughts?|reasoning|analysis|reflection|scratchpad|"
    r"(?:begin|end)_of_thought)"
)
_THOUGHT_TAG = re.compile(rf"[<\[\u25c1]\|?(?P<end>/?){_THOUGHT}\|?[>\]\u25b7]", re.I)
_STRUCK_OUT = re.compile(r"~~[^~\n]*~~")
_SENTENCE = re.compile(
    # A label in its tag is a part by itself, wherever it stands.
    r"(?<=[.!?])(?<!\be\.g\.)(?<!\bi\.e\.)\s+|(?=<(?:verdict|grade)>)|(?<=</verdict>)(?!\s*,)|(?<=</grade>)(?!\s*,)",
    re.I,
)
_WORD = re.compile(r"[^\W_]+")
_LABELLING = {"verdict", "answer", "winner", "decision", "grade", "rating"}
_WHOLE_SENTENCE = re.compile(r"\W*(?P<said>[A-Z][a-z'].*[.!])\W*")
BLANK = "\u2026"  # stands for a quotation; no reader takes it for a word


class Given(NamedTuple):
    """A text that the model was shown; so many of its words in a row are an echo of it.

    A prompt's words may also make a sentence of the model's own: "It is a tie.".
    """

    text: str
    length: int
    is_prompt: bool = False


def plain(text: str) -> str:
    """Write a text with ordinary letters and quotation marks, and without invisible characters."""
    folded = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return "".join(c for c in folded if unicodedata.category(c) not in _INVISIBLE)


def without_thoughts(text: str) -> str:
    """Drop what was thought or struck out, also where a thought was not opened, or not closed."""
    kept: list[str] = []
    begin, is_thought = 0, False
    for tag in _THOUGHT_TAG.finditer(text):
        if not _ends(tag):
            kept += [] if is_thought else [text[begin : tag.start()], " "]
            is_thought = True
            continue
        kept = kept if is_thought else []
        begin, is_thought = tag.end(), False
    return _STRUCK_OUT.sub(" ", "".join(kept) + ("" if is_thought else text[begin:]))


def end_of_thoughts(text: str) -> int:
    """Return where the answer begins: after the last thought that was closed."""
    return max((tag.end() for tag in _THOUGHT_TAG.finditer(text) if _ends(tag)), default=0)


def _ends(tag: re.Match[str]) -> bool:
    return bool(tag["end"]) or "end_of" in tag[0].lower()


def without_echo(text: str, given: Sequence[Given]) -> tuple[str, bool]:
    """Drop the sentences and tags that stand in the given texts; tell whether any was dropped.

    With each text comes the number of words in a row that are an echo of it. A sentence that is an
    echo only together with words of its own neighbours may be an answer, or not: it stays, with a
    sign before it that keeps it from being read as one.
    """
    lines = text.splitlines()
    parts = [(n, part) for n, line in enumerate(lines) for part in _SENTENCE.split(line)]
    repeated = _repeated([part for _, part in parts], given)
    are_echoes = [*itertools.accumulate(repeated, _continues, initial=False)][1:]
    for place in _lone(are_echoes):
        are_echoes[place] = not _is_own_sentence(parts[place][1], given)
    kept: list[list[str]] = [[] for _ in lines]
    for is_echo, group in itertools.groupby(range(len(parts)), key=are_echoes.__getitem__):
        places = [*group]
        certain = _repeated([parts[place][1] for place in places], given) if is_echo else []
        for number, place in enumerate(places):
            line, part = parts[place]
            if not is_echo and all(repeated[place]):
                kept[line].append(part)
            elif not is_echo or not repeated[place]:
                kept[line].append(_without_quotation(part, repeated[place]))
            elif not all(certain[number]):
                kept[line].append(BLANK + part)
    return "\n".join(map(" ".join, kept)), any(are_echoes)


def _lone(are_echoes: Sequence[bool]) -> list[int]:
    """Return the places of the echoes that stand alone among other words."""
    padded = [False, *are_echoes, False]
    near = zip(padded, padded[1:], padded[2:], strict=False)
    return [place for place, around in enumerate(near) if around == (False, True, False)]


def _is_own_sentence(part: str, given: Sequence[Given]) -> bool:
    """Tell whether a part is a whole sentence, which stands in no given text as it is written."""
    whole = _WHOLE_SENTENCE.fullmatch(part)
    if whole is None or any(whole["said"] in each.text for each in given):
        return False
    others = [each for each in given if not each.is_prompt]
    return not all(_repeated([part], others)[0])


def _continues(before: bool, is_repeated: Sequence[bool]) -> bool:
    """Tell whether a part is an echo; one without words is what stands before it."""
    return all(is_repeated) if is_repeated else before


def _repeated(parts: Sequence[str], given: Sequence[Given]) -> list[list[bool]]:
    """Tell of each word of each part whether it stands in a run of words of the given texts."""
    words = [word for part in parts for word in _words(part)]
    echoed: set[int] = set()
    for known, length, _ in given:
        echoed |= _echoed(words, known, length)
    places = iter(range(len(words)))
    return [[next(places) in echoed for _ in _words(part)] for part in parts]


def _without_quotation(part: str, is_echo: Sequence[bool]) -> str:
    """Blank the repeated words of a part that speak of a verdict or a grade."""
    pieces, begin = [], 0
    for span, words in _runs(part, is_echo):
        if not _LABELLING.isdisjoint(words) and len(words) > 1:
            pieces += [part[begin : span.start], BLANK]
            begin = span.stop
    return "".join(pieces) + part[begin:]


def _runs(part: str, is_echo: Sequence[bool]) -> Iterator[tuple[slice, Collection[str]]]:
    """Yield the place and the words of each run of repeated words."""
    run: list[re.Match[str]] = []
    for word, is_repeated in zip(_WORD.finditer(part), is_echo, strict=True):
        if is_repeated:
            run.append(word)
        elif run:
            yield slice(run[0].start(), run[-1].end()), [each[0].lower() for each in run]
            run = []
    if run:
        yield slice(run[0].start(), run[-1].end()), [each[0].lower() for each in run]


def _echoed(words: Sequence[str], given: str, length: int) -> set[int]:
    """Return the places of words that stand in runs of `length`, which the given text has, too."""
    runs, length = _runs_of(given, length)
    return {
        place
        for start in range(len(words) - length + 1)
        if tuple(words[start : start + length]) in runs
        for place in range(start, start + length)
    }


@functools.lru_cache(maxsize=64)
def _runs_of(given: str, length: int) -> tuple[frozenset[tuple[str, ...]], int]:
    """Return all runs of words of a text, and their length: a short text is one run."""
    known = _words(plain(given))
    length = min(length, len(known))
    starts = range(len(known) - length + 1) if known else ()
    return frozenset(tuple(known[n : n + length]) for n in starts), length


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
