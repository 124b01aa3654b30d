"""Lists every format that can be imported (the table in FORMATS.md)."""

from typing import Any

from dualipo.preferences.importers import (
    benchmarks,
    folders,
    label_studio,
    lift,
    native,
    pair_formats,
    point_formats,
    ranked_images,
    reward_training,
    row,
    table,
    trainer_formats,
    trl,
    winner_loser,
)
from dualipo.preferences.importers.row import Format

# A row of these may say who judged; where it does not, the user has to.
SAID_IN_ROWS: dict[str, Any] = {"source": None, "says_source": True}

FORMATS: dict[str, Format] = {
    # Our own record: labels.parquet of a label set, a run's seed tables, or JSON Lines.
    "native": Format(
        native.judge,
        required=native.REQUIRED,
        optional=native.OPTIONAL,
        one_judgement=False,
    ),
    # TRL preference: prompt, chosen, rejected.
    "trl": Format(
        trl.preference,
        required=("chosen", "rejected"),
        optional=("prompt", "dimension"),
        **SAID_IN_ROWS,
    ),
    # TRL unpaired preference: prompt, completion, label.
    "trl-kto": Format(
        trl.unpaired,
        **SAID_IN_ROWS,
        required=("prompt", "completion", "label"),
        optional=("dimension",),
    ),
    # VideoAlign's CSV, and VideoGen-RewardBench's.
    "videoalign": Format(
        pair_formats.videoalign,
        required=("path_A", "path_B", "prompt", "VQ", "MQ", "TA"),
        optional=("Overall",),
        not_kept=(
            *("fps_A", "num_frames_A", "fps_B", "num_frames_B", "A_model", "B_model"),
            *(f"MOS_{side}_{name}" for side in "AB" for name in (*pair_formats.VIDEOALIGN, "avg")),
        ),
        one_judgement=False,
    ),
    # VisionRewardDB-Video.
    "visionreward": Format(
        point_formats.visionreward,
        required=("prompt",),
        alternatives=(("video_path", "video1_path"), ("annotation", "standard_answer")),
        optional=("video2_path",),
        not_kept=("internal_id", "url", "meta_result", "meta_mask"),
        one_judgement=False,
    ),
    # VideoFeedback (VideoScore).
    "videofeedback": Format(
        point_formats.videofeedback,
        required=("id", "text prompt", *point_formats.VIDEOFEEDBACK),
        optional=("images",),
        not_kept=("video link", *point_formats.VIDEOFEEDBACK_REST, "conversations"),
        rows=point_formats.videofeedback_rows,
        one_judgement=False,
    ),
    # VideoDPO: pair.json, with metadata.json beside it.
    "videodpo": Format(
        pair_formats.videodpo,
        required=("video1", "video2", "frame_caption"),
        not_kept=("score", "label", "diff_score"),
        source="critic",
        rows=pair_formats.videodpo_rows,
    ),
    # HPDv3 (images).
    "hpdv3": Format(
        pair_formats.hpdv3,
        required=("prompt", "path1", "path2"),
        optional=("confidence", "choice_dist"),
        not_kept=("model1", "model2"),
        images=True,
    ),
    # Pick-a-Pic (images).
    "pickapic": Format(
        pair_formats.pick_a_pic,
        required=("caption", "jpg_0", "jpg_1", "label_0"),
        optional=("has_label", "user_id"),
        not_kept=(
            *("label_1", "are_different", "best_image_uid", "created_at", "ranking_id"),
            *("image_0_uid", "image_0_url", "model_0", "image_1_uid", "image_1_url", "model_1"),
            *("num_example_per_prompt", "__index_level_0__"),
        ),
        images=True,
    ),
    # The CSV of diffusion-kto.
    "diffusion-kto": Format(
        point_formats.diffusion_kto,
        required=(),
        alternatives=(("file_name", "file_path"), ("split", "label")),
        optional=("caption",),
    ),
    # LiFT-HRA, or what LiFT-Critic writes.
    "lift": Format(
        lift.judge,
        required=("video",),
        optional=("conversations", "caption", *lift.KEYS),
        not_kept=("id", "video_id"),
        rows=lift.rows,
        one_judgement=False,
    ),
    # Hugging Face's videofolder, and our own export of one.
    "videofolder": Format(
        folders.videofolder,
        alternatives=(row.CAPTIONS, ("chosen_file_name", *folders.FILE_NAMES, "file_name")),
        optional=("rejected_file_name", "dimension", "verdict", "grade", "label", *folders.KEPT),
        not_kept=("id", "prompt_id", "schema_version"),
        **SAID_IN_ROWS,
        takes_words=True,
        rows=folders.videofolder_rows,
        tables=folders.tables,
    ),
    # Tables of winners and losers for trainers of generators.
    "chosen-rejected": Format(
        trainer_formats.chosen_rejected,
        required=("chosen_video_path", "rejected_video_path"),
        alternatives=(row.CAPTIONS,),
        **SAID_IN_ROWS,
    ),
    # Flow-Factory's offline JSONL, version 2.
    "flow-factory": Format(
        trainer_formats.flow_factory,
        required=("schema_version", "input", "supervision"),
        optional=("metadata",),
        **SAID_IN_ROWS,
    ),
    # SimpleTuner's list of data sets, two of which are a pair of folders.
    "simpletuner": Format(
        folders.simpletuner,
        required=("prompt", "chosen", "rejected"),
        source=None,
        rows=folders.simpletuner_rows,
    ),
    # A folder with winner/ and loser/, whose clips have the same names.
    "winner-loser": Format(
        folders.simpletuner,
        required=("prompt", "chosen", "rejected"),
        source=None,
        rows=winner_loser.rows,
        tables=winner_loser.tables,
    ),
    # Rapidata's parquet files, also those named Datapoint.
    "rapidata": Format(
        benchmarks.rapidata,
        required=("prompt", "file_name1", "file_name2"),
        optional=benchmarks.RAPIDATA_COLUMNS,
        one_judgement=False,
    ),
    # GenAI-Bench's part about videos.
    "genai-bench": Format(
        benchmarks.genai_bench,
        required=("prompt", "left_video", "right_video", "vote_type"),
        not_kept=("left_model", "right_model"),
    ),
    # MJ-Video's JSON.
    "mj-video": Format(
        benchmarks.mj_video,
        required=("video_0_path", "video_1_path", "overall_preference"),
        alternatives=(row.CAPTIONS,),
        optional=("category_preference",),
        one_judgement=False,
    ),
    # UnifiedReward's training files; they gather several sets, of people's and programs' labels.
    "unified-reward": Format(
        reward_training.unified_reward,
        alternatives=(("conversations", "problem"), ("images", "videos")),
        optional=("solution",),
        not_kept=("id",),
        **SAID_IN_ROWS,
    ),
    # VideoScore2's training set VideoFeedback2: its tables, and its files for both trainings.
    "videoscore2": Format(
        reward_training.videoscore2,
        alternatives=(
            ("visual_score", "conversations", "problem"),
            ("video_name", "videos", "path"),
        ),
        optional=("prompt", "t2v_score", "phy_score", "solution"),
        not_kept=(
            *("video_url", "thinking", "data_type", "problem_type", "problem_id", "options"),
            *("visual_cmt_raw", "t2v_cmt_raw", "phy_cmt_raw"),
        ),
        one_judgement=False,
        **SAID_IN_ROWS,
    ),
    # HPDv2 (images).
    "hpdv2": Format(
        ranked_images.judge,
        required=("prompt",),
        alternatives=(ranked_images.PATHS, ("human_preference", "rank")),
        not_kept=("raw_annotations",),
        images=True,
    ),
    # ImageRewardDB (images).
    "imagereward": Format(
        ranked_images.judge,
        required=("prompt", "prompt_id", "image_path", "rank"),
        rows=ranked_images.imagereward_rows,
        images=True,
    ),
    # Any table, whose columns the user names.
    "table": Format(
        table.judge,
        required=("caption",),
        optional=table.NAMES,
        **SAID_IN_ROWS,
        takes_words=True,
        check=table.require_map,
    ),
    # Label Studio's JSON and JSON_MIN exports of a Pairwise project.
    "label-studio": Format(
        label_studio.judge,
        required=("data", "annotations"),
        not_kept=(
            *(*label_studio.EXPORT_FIELDS, "project", "predictions", "drafts", "meta"),
            *("inner_id", "total_annotations", "cancelled_annotations", "total_predictions"),
            *("comment_count", "unresolved_comment_count", "last_comment_updated_at"),
            *("updated_by", "comment_authors", "file_upload", "allow_skip"),
        ),
        rows=label_studio.rows,
        maps=tuple(label_studio.FIELDS),
    ),
}
