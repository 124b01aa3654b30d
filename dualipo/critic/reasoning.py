"""The grammar of a reasoning path, the questions that ask for it, and the caption's fence.

A pairwise answer is `A: <evidence> Grade: good|normal|bad`, the same for B, then one verdict tag;
a pointwise answer is its evidence, then one grade tag: the label comes last, so that it follows
from the reasons (METHOD.md 3.1, 3.3).
"""

import re
import unicodedata

from dualipo.critic.vlm import Kind
from dualipo.records import Dimension, Verdict

_ASPECT: dict[Dimension, str] = {
    "consistency": "match with the caption",
    "faithfulness": "intact shapes",
    "motion": "smooth motion",
}


def question(kind: Kind, dimension: Dimension) -> str:
    """The standard question: one dimension a query (METHOD.md section 2)."""
    if kind == "pair":
        return f"Which video is better: {_ASPECT[dimension]}? Reason, then verdict A, B or tie."
    return f"How good: {_ASPECT[dimension]}? Reason, then grade good, normal or bad."


def hint(verdict: Verdict) -> str:
    """Ask for a given verdict (SRPO's losers on unanimous items)."""
    assert verdict != "abstain"
    return f"Hint: the verdict is {verdict if verdict == 'tie' else verdict.upper()}."


def fence(caption: str) -> str:
    """Write a caption as one line that cannot close its tag, forge another or open a turn."""
    spaced = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in unicodedata.normalize("NFKC", caption)
        if unicodedata.category(c) not in ("Cf", "Cs", "Co", "Cn")
    )
    plain = " ".join(spaced.split()).replace("<", "&lt;").replace(">", "&gt;")
    turnless = re.sub(r"\b(user|assistant|system)\s*:", r"\1,", plain, flags=re.IGNORECASE)
    return f"<caption>{turnless}</caption>"
