"""Tests the import of strangers' tables by a map of their columns."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dualipo.errors import ConfigError, DataError
from dualipo.preferences.importers.row import Settings
from tests.preferences.conftest import Importer

NameOf = Callable[[str], str]
VOTES = (
    "text_prompt,left_clip,right_clip,human_vote,seed\n"
    "A cat.,videos/1_A.mp4,videos/1_B.mp4,second,3\n"
    "A dog.,videos/2_A.mp4,videos/2_B.mp4,Equal,3\n"
)


def test_a_header_suggests_its_map(importing: Importer, root: Path) -> None:
    (root / "votes.csv").write_text(VOTES)
    (root / "won.csv").write_text(
        "prompt,winner_path,loser_path\nA cat.,videos/1_A.mp4,videos/1_B.mp4\n"
    )
    (root / "graded.csv").write_text("caption,file,rating\nA cat.,videos/1_A.mp4,good\n")
    (root / "own.csv").write_text(
        "caption,a,b,dimension,verdict,reason\nA cat.,videos/1_A.mp4,videos/1_B.mp4,motion,a,so\n"
    )
    (root / "odd.csv").write_text("x,y\n1,2\n")
    for name, suggested in (
        ("votes", "--map caption=text_prompt,a=left_clip,b=right_clip,verdict=human_vote"),
        ("won", "--map caption=prompt,winner=winner_path,loser=loser_path"),
        ("graded", "--map caption=caption,video=file,grade=rating"),
        ("own", "caption=caption,a=a,b=b,verdict=verdict,dimension=dimension,reason=reason"),
        ("odd", "its columns are x, y. Say which are caption, a, b, verdict"),
    ):
        with pytest.raises(ConfigError) as refusal:
            importing("table", f"{name}.csv", settings=Settings("human"))
        assert suggested in str(refusal.value)
        assert ("--map" in str(refusal.value)) == (name != "odd")


def test_dimensions_of_own_questions_are_counted_and_others_are_pointed_to_them(
    importing: Importer, root: Path
) -> None:
    (root / "own.csv").write_text(
        "caption,a,b,dimension,verdict\nA cat.,videos/1_A.mp4,videos/1_B.mp4,physics,a\n"
    )
    columns = {name: name for name in ("caption", "a", "b", "dimension", "verdict")}
    with pytest.raises(DataError, match=r"`dimension` is 'physics', none of .* --questions names"):
        importing("table", "own.csv", settings=Settings("human", columns=columns))
    own = Settings("human", dimensions=("physics",), columns=columns)
    imported = importing("table", "own.csv", settings=own)
    assert "(physics a: 1, physics b: 0)" in imported.report.warm_start


def test_a_mapped_table_becomes_pairs(importing: Importer, root: Path, name_of: NameOf) -> None:
    (root / "votes.csv").write_text(VOTES)
    columns = {
        "caption": "text_prompt",
        "a": "left_clip",
        "b": "right_clip",
        "verdict": "human_vote",
    }
    settings = Settings("human", dimension="motion", columns=columns)
    imported = importing("table", "votes.csv", settings=settings)
    assert [
        (p.prompt, name_of(p.video_a), name_of(p.video_b), p.verdict, p.dimension)
        for p in imported.labels.pairs
    ] == [
        ("A cat.", "1_A", "1_B", "b", "motion"),
        ("A dog.", "2_A", "2_B", "tie", "motion"),
    ]
    assert imported.report.not_kept == {"seed": 2}
    turned = Settings("human", columns=columns, words={"second": "a"})
    again = importing("table", "votes.csv", settings=turned, output=root / "turned")
    assert again.labels.pairs[0].verdict == "a"
