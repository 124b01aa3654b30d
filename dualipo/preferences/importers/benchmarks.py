"""Reads sets of human preferences that benchmarks are made of: Rapidata, GenAI-Bench, MJ-Video.

Their own pages do not show every word. What is used here is what other projects' readers of them
use: LightRFT's of Rapidata's parquet files, UnifiedReward's and VideoScore2's of GenAI-Bench, and
MJ-Video's own. A word that these do not know is refused.
"""

from collections.abc import Iterator

from dualipo.preferences.importers.row import (
    Dropped,
    Footage,
    Judged,
    Row,
    Settings,
    Unfit,
    caption_of,
    choice,
    number,
    pair,
    text,
    voice,
)
from dualipo.records import LabelledDimension, Verdict

RAPIDATA: dict[str, LabelledDimension] = {
    "Alignment": "consistency",
    "Coherence": "faithfulness",
    "Preference": "overall",
}
RAPIDATA_COLUMNS = tuple(f"weighted_results{side}_{name}" for name in RAPIDATA for side in (1, 2))
VOTES: dict[str, Verdict] = {
    "leftvote": "a",
    "rightvote": "b",
    "tievote": "tie",
    "bothbad_vote": "tie",
}
BETTER: dict[str, Verdict] = {"Video 1 better": "a", "Video 2 better": "b", "Same": "tie"}
MJ_VIDEO: dict[str, LabelledDimension] = {
    "Alignment": "consistency",
    "Fineness": "faithfulness",
    "Coherence and Consistency": "motion",
    "Coherence & Consistency": "motion",
}


def rapidata(row: Row, settings: Settings) -> Iterator[Judged | Dropped]:
    """Yield a pair for each question; the larger weighted result wins, and its share is certain.

    Clips lie in `videos` or `Videos`, beside the folder `data` of the table.
    """
    clips = [
        Footage((f"videos/{name}", f"Videos/{name}", name))
        for name in (text(row, "file_name1"), text(row, "file_name2"))
    ]
    for question, dimension in RAPIDATA.items():
        names = [f"weighted_results{side}_{question}" for side in (1, 2)]
        if any(row.get(name) is None for name in names):
            yield Dropped(f"{question} was not asked")
            continue
        first, second = (number(row, name) for name in names)
        total = first + second
        verdict: Verdict = "tie" if first == second else "a" if first > second else "b"
        yield pair(
            text(row, "prompt"),
            *clips,
            dimension=dimension,
            verdict=verdict,
            voice=voice(row, settings),
            certainty=max(first, second) / total if total > 0 else 1.0,
        )


def genai_bench(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield a pair; a tie and "both are bad" are ties, as the readers take them."""
    yield pair(
        text(row, "prompt"),
        Footage((text(row, "left_video"),)),
        Footage((text(row, "right_video"),)),
        dimension=settings.dimension,
        verdict=choice(row, "vote_type", VOTES),
        voice=voice(row, settings),
    )


def mj_video(row: Row, settings: Settings) -> Iterator[Judged]:
    """Yield a pair for the whole and for each category that is a dimension here."""
    categories = row.get("category_preference") or {}
    if not isinstance(categories, dict):
        raise Unfit("`category_preference` is not an object of named values.")
    caption = caption_of(row)
    answers: dict[LabelledDimension, Verdict] = {
        MJ_VIDEO[name]: choice(categories, name, BETTER) for name in categories if name in MJ_VIDEO
    }
    answers["overall"] = choice(row, "overall_preference", BETTER)
    for dimension, verdict in answers.items():
        yield pair(
            caption,
            Footage((text(row, "video_0_path"),)),
            Footage((text(row, "video_1_path"),)),
            dimension=dimension,
            verdict=verdict,
            voice=voice(row, settings),
        )
