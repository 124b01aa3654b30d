"""Tests the import of benchmarks' preferences, as other projects read them."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.preferences.conftest import Importer

NameOf = Callable[[str], str]


def test_rapidata_s_weighted_results_by_question(importing: Importer, root: Path) -> None:
    # LightRFT's reader compares `weighted_results1_*` with `weighted_results2_*`.
    #
    # It takes a result that is missing for a tie. Here it is not measured, so it is no label.
    #
    row = {"prompt": "A cat.", "file_name1": "1_A.mp4", "file_name2": "1_B.mp4", "model1": "wan"}
    row |= {"weighted_results1_Alignment": 0.25, "weighted_results2_Alignment": 0.75}
    row |= {"weighted_results1_Preference": 0.5, "weighted_results2_Preference": 0.5}
    row |= {"weighted_results1_Coherence": None, "weighted_results2_Coherence": 0.1}
    (root / "rapidata.json").write_text(json.dumps([row]))
    imported = importing("rapidata", "rapidata.json")
    assert [(p.dimension, p.verdict, p.certainty) for p in imported.labels.pairs] == [
        ("consistency", "b", 0.75),
        ("overall", "tie", 0.5),
    ]
    assert imported.report.dropped.reasons == {"Coherence was not asked": 1}
    assert imported.report.not_kept == {"model1": 1}


def test_genai_bench_has_four_votes(importing: Importer, root: Path) -> None:
    # UnifiedReward's evaluation takes `both` and `tie` in `vote_type` as the same.
    row = {"prompt": "A cat.", "left_video": "videos/1_A.mp4", "right_video": "videos/1_B.mp4"}
    votes = ("leftvote", "rightvote", "tievote", "bothbad_vote", "unsure")
    (root / "genai.json").write_text(json.dumps([row | {"vote_type": vote} for vote in votes]))
    imported = importing("genai-bench", "genai.json", lenient=True)
    assert [pair.verdict for pair in imported.labels.pairs] == ["a", "b", "tie"]
    assert (imported.report.num_known, imported.report.refused.num) == (1, 1)


def test_mj_video_s_video_1_is_its_first_clip(
    importing: Importer, root: Path, name_of: NameOf
) -> None:
    # Its reader takes "Video 1 better" for `video_0_path`, and `caption` for the prompt.
    #
    # The names of its categories are taken from VideoScore2's evaluation.
    row = {"caption": "A cat.", "overall_preference": "Video 1 better"}
    row |= {"video_0_path": "videos/1_A.mp4", "video_1_path": "videos/1_B.mp4"}
    row |= {"category_preference": {"Alignment": "Video 2 better", "Safety": "Same"}}
    (root / "mj.json").write_text(json.dumps([row]))
    pairs = importing("mj-video", "mj.json").labels.pairs
    assert [(p.dimension, p.verdict, name_of(p.video_a)) for p in pairs] == [
        ("consistency", "b", "1_A"),
        ("overall", "a", "1_A"),
    ]
