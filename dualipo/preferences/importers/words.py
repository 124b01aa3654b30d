"""Lists the words that tables of strangers use for a verdict or a grade."""

from collections.abc import Mapping
from typing import Any

from dualipo.preferences.importers.row import Row, Unfit
from dualipo.records import Grade, Verdict

VERDICTS: dict[str, Verdict] = {
    **dict.fromkeys(("a", "left", "1", "first", "video1", "video_1", "video_a"), "a"),
    **dict.fromkeys(("b", "right", "2", "second", "video2", "video_2", "video_b"), "b"),
    **dict.fromkeys(("tie", "same", "equal", "draw", "both"), "tie"),
    "abstain": "abstain",
}
GRADES: dict[str, Grade] = {
    **dict.fromkeys(("good", "true", "desirable", "chosen", "win"), "good"),
    **dict.fromkeys(("normal", "average", "neutral"), "normal"),
    **dict.fromkeys(("bad", "false", "undesirable", "rejected", "lose"), "bad"),
}


def meaning(row: Row, name: str, known: Mapping[str, Any], words: Mapping[str, str]) -> Any:
    """Return what a column's word means; `words` are the user's, and go before `known`."""
    word = str(row.get(name, "") if row.get(name) is not None else "").strip()
    meanings = {key.lower(): value for key, value in words.items()}
    known_word = meanings.get(word.lower(), word).lower()
    if known_word not in known:
        raise Unfit(
            f"`{name}` is {word!r}, none of {', '.join(known)}. Say what it means with --words."
        )
    return known[known_word]
