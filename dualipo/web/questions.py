"""The questions that people are asked about clips: METHOD.md section 2 in everyday words."""

from dualipo.config import WORLD, Questions
from dualipo.config.questions import shipped

SHIPPED_SETS = (WORLD, shipped("video"))

PAIR = {
    "consistency": (
        "Which clip follows the caption better?",
        "Look for what the caption names: things, colours, number, place, what happens. "
        "Beauty does not count here.",
    ),
    "faithfulness": (
        "Which clip is better made?",
        "Look for broken shapes, flicker, blur and things that appear or melt away. "
        "The caption does not count here.",
    ),
    "motion": (
        "Which clip moves better?",
        "Look for smooth, plausible movement: no jumps, no freezing, no trembling. "
        "Standing still where it should move is bad motion.",
    ),
    "overall": (
        "All in all, which clip is better?",
        "Weigh everything as you would if you had asked for this clip.",
    ),
}
POINT = {
    "consistency": ("How well does the clip follow the caption?", PAIR["consistency"][1]),
    "faithfulness": ("How well is the clip made?", PAIR["faithfulness"][1]),
    "motion": ("How well does it move?", PAIR["motion"][1]),
    "overall": ("All in all, how good is the clip?", PAIR["overall"][1]),
}


def question(kind: str, dimension: str, questions: Questions = WORLD) -> dict[str, str]:
    """Return a dimension's question for a pair or a single clip, and a hint what to look for.

    A dimension that the run's set defines itself is asked about by its name, and its definition is
    the hint, also where it bears the name of one that ships.
    """
    if not _has_everyday_words(dimension, questions):
        name = dimension.replace("_", " ")
        asked = (
            f"Which clip is better: {name}?" if kind == "pair" else f"How good is the clip: {name}?"
        )
        return {"text": asked, "hint": questions.definition(dimension)}
    text, hint = (PAIR if kind == "pair" else POINT)[dimension]
    return {"text": text, "hint": hint}


def _has_everyday_words(dimension: str, questions: Questions) -> bool:
    """Tell whether the words here fit: the set's definition of the dimension is one that ships."""
    if dimension not in PAIR or dimension not in questions.names:
        return dimension in PAIR
    return questions.definition(dimension) in {each.definition(dimension) for each in SHIPPED_SETS}
