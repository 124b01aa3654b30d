"""Statements about the verdict: which label a sentence of an answer states, if it states one.

    claim      a sentence that states a label and nothing else but a reason: "Verdict: A",
               "Video A is better, because its shapes stay whole."
    OPEN       a sentence about the verdict that states no label clearly: "The verdict is not A",
               "Answer: A or B", "It would be wrong to answer: A"
    objection  after a claim: a sentence that takes it back, or prefers another clip

Any other sentence is evidence, and evidence is never searched for a label.
"""

import re

from dualipo.critic import doubts, framing
from dualipo.critic.leanings import DEMOTES, NOUNS, OPEN, Claim, Label, label_of, leans, words_of
from dualipo.critic.own_words import BLANK
from dualipo.critic.vlm import Kind
from dualipo.records import GRADES

MAX_INNER = 200  # characters of a statement in a statement: "Answer: the verdict is A"

_NOUN = rf"(?:the )?(?:{NOUNS})[ _]?"
_LABELS = {
    "pair": rf"[\[(\"'<]*(?P<noun>{_NOUN})?[\[(\"']*"
    r"(?P<label>(?:a )?(?:tie|draw)|equal|tied|A|B)\b[\])\"'>]*",
    "point": r"[\[(\"'<]*(?P<label>good|normal|bad)\b[\])\"'>]*",
}
_SURE_HEADS = {  # a colon or "is" behind one of these is always a statement about the verdict
    "pair": r"verdict|answer|decision|winner|judge?ment|\u7b54\u6848",
    "point": r"grade|rating|verdict|answer|decision|judge?ment|\u7b54\u6848",
}
_HEADS = {
    "pair": rf"{_SURE_HEADS['pair']}|label|final|choice|selection|pick|vote|preference|conclusion"
    r"|result|output|response|overall|summary|in conclusion|to conclude|in summary"
    r"|(?:better|best|preferred|winning|chosen|selected)(?: one| video| clip| option| candidate)?"
    r"(?: of the two)?|(?:video|clip) with (?:the )?better",
    "point": rf"{_SURE_HEADS['point']}|label|final|conclusion|result|overall|summary|score"
    r"|assessment|in conclusion|to conclude|in summary",
}
_WHOLE = r"(?:this|the) (?:comparison|pair|question|task|video|clip)"
_SIGN = r"[:=|\u2013\u2014-]|->|\u2192"
_SAYS = rf"(?:\s*(?:{_SIGN})|\s(?:is|was|would be)\b:?)"
_HEADED = {
    kind: re.compile(
        r"(?:(?:here is|here's|this is|my|our|the|final|overall|correct|appropriate|video's|"
        r"clip's),? ){0,5}"
        rf"(?P<head>{heads})(?: (?:for|in) {_WHOLE})?(?:{_SAYS}\s*(?P<rest>.*))?",
        re.I,
    )
    for kind, heads in _HEADS.items()
}
_ANY_HEAD = {
    kind: re.compile(
        rf"\b(?:{heads})\b[\"']?\s*(?:{_SIGN}|(?:is|was|(?:would|could|should|may|might|must|will|"
        rf"can|cannot)(?: not)? be|isn't|wasn't)\b)\s*[^\s{BLANK}]",
        re.I,
    )
    for kind, heads in _SURE_HEADS.items()
}
_LOOSE_TAG = re.compile(r"</?(?:verdict|grade|answer)\b", re.I)
_DEGREE = (
    r"(?:(?:clearly|slightly|much|far|significantly|noticeably|considerably|substantially|somewhat|"
    r"overall|definitely|marginally|narrowly|therefore|thus) )?"
)
_BETTER = re.compile(
    rf"(?:{_NOUN})?(?P<label>[AB])(?: (?:is|was|performs|does|looks|moves|has|shows|"
    r"demonstrates|exhibits) "
    rf"{_DEGREE}(?:the |a )?(?:better|best|winner|preferred|preferable|superior)"
    rf"(?: one| video| clip| choice)?| wins| (?:outperforms|surpasses|beats)(?= {_NOUN}[AB]\b))"
    r"(?: overall)?(?: (?:(?:compared )?(?:than|over|of|to) )?"
    rf"(?:the two(?: videos| clips)?|(?:{_NOUN})?[AB]))?(?![\w-])",
    re.I,
)
_WORSE = re.compile(
    rf"(?:{_NOUN})?[AB] (?:loses|is {_DEGREE}(?:the )?(?:worse|worst|weaker|inferior))\b", re.I
)
_CHOICE = re.compile(
    r"(?:I|we)(?:'d|'ll| would| will| therefore| thus| clearly)* "
    r"(?:choose|chose|pick|picked|select|selected|prefer|favou?r|go with|vote for|opt for)"
    rf" (?:{_NOUN})?(?P<label>a tie|tie|A|B)\b(?: over (?:{_NOUN})?[AB])?",
    re.I,
)
_RATING = re.compile(
    r"(?:I(?:'d| would| will)? (?:grade|rate|judge) (?:it|this|the (?:video|clip))(?: video| clip)?"
    r"(?: as)? |"
    r"I(?:'d| would| will)? (?:give|assign) (?:it|(?:the|this) (?:video|clip)) a grade of |"
    r"(?:the|this) (?:video|clip) (?:(?:receives|deserves|gets|earns) a grade of|is graded) )"
    rf"{_LABELS['point']}(?! as\b)",
    re.I,
)
_NAMED = re.compile(
    rf"(?:(?:it|that)(?:'s| is) (?:{_NOUN})?|(?:this|(?:this|the) comparison) "
    r"(?:is|results in|ends in) (?=a )|"
    r"I(?:'d| would)? (?:call|consider|judge|declare) (?:it|this) (?=a ))"
    r"(?P<label>a tie|a draw|A|B)\b",
    re.I,
)
_EQUAL = re.compile(
    r"(?:(?:both|(?:both|the|the two) (?:videos|clips)) are (?:equal(?:ly good)?|the same|tied)"
    r"|neither (?:video |clip )?is better(?: than the other)?)",
    re.I,
)
_TIED = re.compile(
    r"(?:a )?(?:tie|draw)(?=(?:[:,;]| [\u2013\u2014-]) )", re.I
)  # "Tie: both are even"
# No verdict, but a verdict's place: "Final answer: neither".
_NO_LABEL = re.compile(
    r"[\"'(\[]*(?:neither|both|none|no\b|not\b|either|undecided|unclear|unknown|cannot|can't|n/a)",
    re.I,
)
_REASON = re.compile(
    r"[.,;:]? ?(?P<word>because|since|as|due to|given|with|"
    r"for (?:its|the|their|having))\b|[,;]? ?(?:\(|[:\u2013\u2014-] )|; ",
    re.I,
)
_BRACKETS = (("(", ")"), ("[", "]"), ("<", ">"))
_ENDS = ("", ".", "!", ",")
_MENU = re.compile(
    r"\b(?:choose|choices|pick|select|options?|scale|example|template|possible)\b.*:$", re.I
)
_LABELLED = re.compile(r"\W*[\w ]{1,30}[:=] ?(?P<rest>.+)")
_REGRADED = re.compile(
    r"(?:it|this|that|the (?:video|clip))\b.* (?:is|be|as|a) (?P<rest>\w+\W*)"
    r"|.* makes? (?:it|this|the (?:video|clip)) (?P<made>\w+\W*)",
    re.I,
)


def claim(sentence: str, kind: Kind) -> Claim | None:
    """Return the label that a sentence states; OPEN where it states none clearly."""
    if sentence.startswith(BLANK):  # it may repeat what the model was told
        own = sentence.lstrip(BLANK)
        return OPEN if claim(own, kind) or label_without_noun(own, kind) else None
    stated = _stated(sentence, kind)
    if stated is None or stated == OPEN:
        return _concluded(sentence, kind) or stated
    return stated


def _concluded(sentence: str, kind: Kind) -> Label | None:
    """Return the label that a sentence concludes from a reason, which must not speak against it."""
    for why, conclusion in framing.conclusions(sentence, kind):
        label = _stated(conclusion, kind)
        if label is None or label == OPEN:
            continue
        is_doubted = doubts.takes_back(why, is_reason=True) or doubts.supposes(why)
        is_about_it = _is_about_another(why, label, kind) or _LOOSE_TAG.search(why)
        is_named = label_alone(why, kind) or any(word in GRADES for word, _, _ in words_of(why))
        if not is_doubted and not is_about_it and not is_named and leans(why, kind) <= {label}:
            return label
    return None


def _stated(sentence: str, kind: Kind) -> Claim | None:
    """Return the label that a sentence states without more ado; OPEN where it is not clear."""
    text = framing.unframed(sentence)
    if preferred := _preference(text, kind):
        return preferred
    if text != sentence and (bare := label_alone(text, kind)):
        return bare
    if kind == "pair" and (tied := _TIED.match(text)):
        return "tie" if _is_clean(text[tied.end() :], "tie", kind) else OPEN
    headed = _HEADED[kind].fullmatch(text)
    if headed:
        return _after_head(headed["head"], headed["rest"] or "", kind)
    patterns = (_ANY_HEAD[kind], _LOOSE_TAG, doubts.UNSEEN)
    is_about_it = any(pattern.search(sentence) for pattern in patterns)
    return OPEN if is_about_it else None


def label_alone(text: str, kind: Kind) -> Label | None:
    """Return the label that is the whole text."""
    match = _label_at(text, kind)
    if match is None or match["label"] in "ab":
        return None
    rest = text[match.end() :].strip()
    again = re.fullmatch(rf"\W*(?:{_NOUN})(\w)[.!]?", rest, re.I)  # "(A) Video A"
    if rest not in _ENDS and not (again and again[1].lower() == match["label"].lower()):
        return None
    is_whole = all(match[0].count(left) == match[0].count(right) for left, right in _BRACKETS)
    return label_of(match["label"]) if is_whole and match[0].count('"') % 2 == 0 else None


def label_without_noun(text: str, kind: Kind) -> Label | None:
    """Return the label that is the whole text; "Video A" is a heading of evidence."""
    return None if names_a_video(text) else label_alone(text, kind)


def is_tie(text: str) -> bool:
    """Tell whether a text is "Tie.", which, unlike a letter, never is a heading."""
    return label_alone(text, "pair") == "tie"


def names_a_video(text: str) -> bool:
    """Tell whether a label comes with a noun, "Video A", as a heading of evidence does."""
    match = _label_at(text, "pair")
    return bool(match and match["noun"])


def is_head(text: str, kind: Kind) -> bool:
    """Tell whether a text only announces a label: "Final verdict:"."""
    headed = _HEADED[kind].fullmatch(text)
    return bool(headed and not (headed["rest"] or "").strip(" .:"))


def is_no_label(text: str) -> bool:
    """Tell whether a text says that there is no verdict: "undecided"."""
    return bool(_NO_LABEL.match(text))


def is_menu(text: str) -> bool:
    """Tell whether a text announces what may be answered, and not what is."""
    return bool(_MENU.search(text))


def concludes(sentence: str) -> bool:
    """Tell whether a sentence draws a conclusion: "Overall, ...", or "Video A loses."."""
    return framing.is_opened(sentence) or bool(_WORSE.match(sentence))


def objections(sentence: str, kind: Kind, *, is_next: bool) -> set[Claim]:
    """Return what a sentence after a claim says against it, or for it.

    `is_next` tells whether it follows the claim at once, where a mere "but" takes it back.
    """
    if doubts.FAREWELL.match(sentence):
        return set()
    is_turned = is_next and doubts.TURNS.match(sentence) and not doubts.CONCEDES.match(sentence)
    is_own = doubts.SPEAKER.search(sentence) and not doubts.OWN_REASON.search(sentence)
    takes_back = doubts.takes_back(sentence) or is_turned or is_own
    return {OPEN} if takes_back else _labelled(sentence, kind) | leans(sentence, kind)


def _labelled(sentence: str, kind: Kind) -> set[Claim]:
    """Return a label behind a word that is no head: "EDIT: B", "It should be bad."."""
    labelled = _LABELLED.fullmatch(sentence) or (kind == "point" and _REGRADED.fullmatch(sentence))
    label = label_without_noun(labelled[labelled.lastgroup or 0], kind) if labelled else None
    return {label} if label else set()


def _is_about_another(why: str, label: Label, kind: Kind) -> bool:
    """Tell whether a reason speaks of a verdict, or of another label: "final: B"."""
    return bool(_ANY_HEAD[kind].search(why) or _labelled(why.rstrip(")] "), kind) - {label})


def _preference(text: str, kind: Kind) -> Label | None:
    """Return the label of a sentence that says no more than which clip is better, and why."""
    for pattern in (_BETTER, _CHOICE, _NAMED) if kind == "pair" else (_RATING,):
        match = pattern.match(text)
        if match and not _is_article(match["label"], text[match.end() :]):
            label = label_of(match["label"])
            return label if _is_clean(text[match.end() :], label, kind) else None
    is_equal = kind == "pair" and _EQUAL.fullmatch(text.rstrip(".!,;: "))
    return "tie" if is_equal else None


def _after_head(head: str, rest: str, kind: Kind) -> Claim | None:
    """Return what stands behind "Verdict:": a label, a sentence that states one, or neither."""
    if not any(c.isalnum() or c == "?" for c in rest):
        return None
    if preferred := _preference(rest, kind):
        return preferred
    if match := _label_at(rest, kind):
        label = label_of(match["label"])
        return label if _is_clean(rest[match.end() :], label, kind) else OPEN
    if len(rest) <= MAX_INNER and (inner := claim(rest, kind)):
        return inner
    is_sure = re.fullmatch(_SURE_HEADS[kind], head, re.I)
    return OPEN if is_sure or _NO_LABEL.match(rest) else None


def _label_at(text: str, kind: Kind) -> re.Match[str] | None:
    """Match a label at the beginning of a text."""
    match = re.match(_LABELS[kind], text, re.I)
    return None if match and _is_article(match["label"], text[match.end() :]) else match


def _is_article(label: str, rest: str) -> bool:
    """Tell whether an "a" is the article: "a smooth motion"."""
    return label == "a" and bool(re.match(r" [a-z]", rest))


def _is_clean(rest: str, label: Label, kind: Kind) -> bool:
    """Tell whether what follows a label neither takes it back nor names another one."""
    if not rest.strip(" .!,;:)"):
        return True
    if again := re.fullmatch(rf"\W*(?:{_NOUN})?(\w+)\W*", rest, re.I):
        return again[1].lower() in (
            label,
            "overall",
            "here",
            "clearly",
            "slightly",
            "narrowly",
            "better",
        )
    reason = _REASON.match(rest)
    if reason is None:
        return False
    why = rest[reason.end() :]
    behind_brackets = why.partition(")")[2] if "(" in reason[0] else ""
    if behind_brackets.strip(" .!,;:") or _is_about_another(why, label, kind):
        return False
    if doubts.takes_back(why, is_reason=bool(reason["word"])) or (
        not reason["word"] and doubts.HEDGE.search(why)
    ):
        return False
    if kind == "pair":
        leaning = leans(why, kind)
        demotes = not leaning and any(word in DEMOTES for word, _, _ in words_of(why))
        return leaning <= {label} and not demotes and label_alone(why, kind) is None
    return not any(re.search(rf"\b{grade}\b", why, re.I) for grade in GRADES if grade != label)
