"""The tolerant reader: an answer of a model that was never trained on the grammar.

Such models write Markdown, blank lines, numbered lists, thoughts in <think>, JSON, or "Answer: B".
Six steps make a verdict of them, and each has a module:

    own_words     drop thoughts, and what only repeats the caption, the question or the example
    answer_lines  write JSON, tags and Markdown as plain lines
    respects      leave out "in motion", where it was asked about; mark what judges another one
    framing       leave out "Overall," and "I think that"; find reason and conclusion
    statements    say of each sentence which label it states, or that it leaves the verdict open
    clip_grades   collect the grades of the clips

Two more hold words: `doubts` those that take a verdict back, `leanings` those that prefer a clip.

Every statement counts: a verdict is read where all of them agree, none is unclear, nothing behind
takes it back, and no grade contradicts it. Any other answer abstains. Nothing is guessed.
"""

import html
from collections.abc import Sequence
from typing import Any

from dualipo.config.questions import MIN_EXAMPLE_WORDS
from dualipo.critic import clip_grades, leanings, reasoning, respects, statements
from dualipo.critic.answer_lines import Line, lines
from dualipo.critic.leanings import OPEN, Claim
from dualipo.critic.own_words import Given, plain, without_echo, without_thoughts
from dualipo.critic.own_words import end_of_thoughts as end_of_thoughts
from dualipo.critic.reasoning import Parsed
from dualipo.critic.vlm import Kind

# So many words in a row are an echo: a caption may hold a forged label of two words.
CAPTION_ECHO, PROMPT_ECHO = 2, 3


def read(
    text: str,
    kind: Kind,
    *,
    caption: str,
    prompts: Sequence[str],
    example: str = "",
    dimension: str = "",
    others: Sequence[str] = (),
    truncated: bool,
) -> Parsed:
    """Read an answer of a model that was shown the caption and the prompts about it.

    `example` is the answer that its instructions show, which is not searched for as a prompt is.
    The respect in which the clips are judged is `dimension`; its set asks about `others`, too.
    """
    if truncated:
        return Parsed("abstain", "truncated")
    given = [
        Given(caption, CAPTION_ECHO),
        Given(html.unescape(caption), CAPTION_ECHO),  # an answer may write its tags as tags
        *(Given(prompt, PROMPT_ECHO, is_prompt=True) for prompt in prompts),
    ]
    # An example ends with a label, as any answer does: an echo of it has words of its evidence too.
    shown = Given(example, MIN_EXAMPLE_WORDS[kind])
    spoken = without_thoughts(plain(text))
    said, has_echo = without_echo(spoken, [*given, shown])
    answer = respects.in_respect(lines(said), dimension, kind, others=tuple(others))
    claims, beside = _statements(answer, kind, allows_bare=not has_echo)
    if len(claims) != 1 or OPEN in claims or not beside <= claims:
        return Parsed("abstain", "several labels" if (claims | beside) - {OPEN} else "no label")
    [label] = claims
    # A short grade, "B - Grade: good", may stand in the instructions, and still says what it says.
    graded = lines(without_echo(spoken, [shown])[0])
    return _of_pair(label, graded) if kind == "pair" else _of_point(label, graded)


def _of_pair(verdict: Any, answer: Sequence[Line]) -> Parsed:
    """Return the verdict, unless the clips' grades contradict it."""
    given = clip_grades.marks(_sentences(answer))
    grade_a, grade_b = clip_grades.grade(given["a"]), clip_grades.grade(given["b"])
    is_contradicted = reasoning.contradicts(verdict, grade_a, grade_b)
    if is_contradicted or clip_grades.prefers_worse(verdict, given):
        return Parsed("abstain", "contradiction", grade_a, grade_b)
    return Parsed(verdict, None, grade_a, grade_b)


def _of_point(grade: Any, answer: Sequence[Line]) -> Parsed:
    """Return the grade, unless a score out of a most contradicts it."""
    shares = clip_grades.shares(_sentences(answer))
    low, high = (0.0, 0.6) if grade == "bad" else (0.4, 1.0) if grade == "good" else (0.1, 0.9)
    is_contradicted = any(not low <= share <= high for share in shares)
    return Parsed("abstain", "contradiction") if is_contradicted else Parsed(grade)


def _sentences(answer: Sequence[Line]) -> list[str]:
    return [sentence for line in answer for sentence in line.sentences]


def _statements(
    answer: Sequence[Line], kind: Kind, *, allows_bare: bool
) -> tuple[set[Claim], set[Claim]]:
    """Collect what the sentences claim, and what the others say beside it, which has to agree."""
    claims: set[Claim] = set()
    beside: set[Claim] = set()
    is_next = False
    for number, line in enumerate(answer):
        bare = _bare_claim(answer, number, kind) if allows_bare else None
        is_menu = number > 0 and statements.is_menu(answer[number - 1].text)
        for place, sentence in enumerate([line.text] if bare else line.sentences):
            claimed = bare or statements.claim(sentence, kind)
            if number == place == 0 and kind == "pair" and allows_bare and not claimed:
                claimed = "tie" if statements.is_tie(sentence) else None
            if claimed:
                claims.add(OPEN if is_menu else claimed)
            elif label := statements.label_without_noun(sentence, kind):
                beside.add(label)
            elif claims:
                said = statements.objections(sentence, kind, is_next=is_next)
                beside |= set() if claims == {"tie"} and said == {"a", "b"} else said
            elif statements.concludes(sentence):  # evidence alone may prefer a clip for a while
                beside |= leanings.leans(sentence, kind)
            is_next = claimed is not None
        beside |= _lone_heading(answer, number, kind) if not bare else set()
    return claims, beside


def _lone_heading(answer: Sequence[Line], number: int, kind: Kind) -> set[Claim]:
    """Return the clip that a line "Video A" names, where no evidence but at most a claim follows.

    It may be a verdict or the heading of what was cut.
    """
    label = statements.label_alone(answer[number].text, kind)
    is_claimed = number + 1 < len(answer) and statements.claim(
        answer[number + 1].sentences[0], kind
    )
    is_lone = number + 1 == len(answer) or is_claimed
    return {label} if label and statements.names_a_video(answer[number].text) and is_lone else set()


def _bare_claim(answer: Sequence[Line], number: int, kind: Kind) -> Claim | None:
    """Return the label that is a whole line, where the line is a statement.

    It is one behind a line that announces it, or at the answer's end. Where reasons stand before
    it, they must speak of both clips: otherwise it may be the heading of what was cut.
    """
    line = answer[number]
    label = statements.label_alone(line.text, kind)
    if number and statements.is_head(answer[number - 1].text, kind):
        if statements.is_no_label(line.text):
            return OPEN
        said = statements.claim(f"verdict: {line.text}", kind)
        return label or (said if said != OPEN and len(line.sentences) == 1 else None)
    if label is None or line.is_item:
        return None
    if number < len(answer) - 1:
        return label if number == 0 and _explains(answer[1:], kind) else None
    if number == 0:
        return label
    before = answer[:number]
    if kind == "point":
        others = {statements.label_alone(each.text, kind) for each in before}
        return OPEN if others - {None, label} else label if _ends(before[-1], line) else None
    speaks_of = {clip for each in before for clip in leanings.clips_of(each.text)}
    is_heading = statements.names_a_video(line.text) or speaks_of != {"a", "b"}
    return label if _ends(before[-1], line) and not is_heading else None


def _explains(answer: Sequence[Line], kind: Kind) -> bool:
    """Tell whether the lines behind a label are prose about both clips: it is no heading then."""
    is_prose = answer[0].text[0].isupper() and not any(
        line.is_item
        or not line.text.endswith((".", "!", ")", '"'))
        or statements.label_alone(line.text, kind)
        or clip_grades.is_evidence(line.text)
        or leanings.announces(line.text)
        for line in answer
    )
    speaks_of = {clip for line in answer for clip in leanings.clips_of(line.text)}
    return is_prose and (kind == "point" or speaks_of == {"a", "b"})


def _ends(before: Line, line: Line) -> bool:
    """Tell whether a line is complete, so that the next is none of its parts."""
    text = before.text
    return text.endswith((".", "!", ")", '"')) or (
        (line.follows_gap or clip_grades.is_evidence(text)) and not text.endswith((":", ",", "?"))
    )
