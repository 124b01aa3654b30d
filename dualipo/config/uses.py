"""Which stage of a run is the first to read a setting: until then the setting may change.

A setting of a round's stage is read anew in every round, so it may change between rounds. All that
stands in no row is read by the first unit of a run. A longer key goes before a shorter one.
"""

from dataclasses import dataclass

from dualipo.config.experiment import MAY_CHANGE


@dataclass(frozen=True)
class Use:
    """The stages that read a setting; `is_of_round` where each round's stage reads it anew."""

    stages: tuple[str, ...]
    is_of_round: bool = False


_START = Use(("register",))
_JUDGING = Use(("score",), is_of_round=True)
_PREFERRING = Use(("prefer",), is_of_round=True)

# The stages are those of `dualipo/stages.py` and, for real clips, the units of `encode_real`.
USES: dict[str, Use] = {
    "seed_labels.": Use(("label",)),
    "seed_labels.num_prompts": Use(("prompts",)),
    "seed_labels.clips_per_prompt": Use(("sample.seed",)),
    "seed_labels.rewriter.": Use(("rewrite", "warm_start_sft")),
    "seed_labels.num_constructed": Use(("warm_start_sft",)),
    "warm_start_sft.": Use(("warm_start_sft",)),
    "warm_start_dpo.": Use(("warm_start_dpo",)),
    "critic.reward_head.": Use(("warm_start_sft",)),
    "critic.rank": Use(("warm_start_sft",)),
    "critic.lora_alpha": Use(("warm_start_sft",)),
    "critic.tune_vision_tower": Use(("warm_start_sft",)),
    "critic.load_in_4bit": Use(("warm_start_sft",)),
    "critic.gradient_checkpointing": Use(("warm_start_sft",)),
    # Without accuracy pairs their stages commit nothing: the next stage shows that they are past.
    "monitor.num_accuracy_pairs": Use(("sample.accuracy", "warm_accuracy", "sample.monitor")),
    "monitor.min_oracle_gap": Use(("warm_accuracy", "sample.monitor")),
    "monitor.clip_metrics": Use(("sample.monitor", "sample.test")),
    "monitor.judges": Use(("judge_votes",), is_of_round=True),
    "monitor.num_test_clips": Use(("sample.test",)),
    "prompts.path": Use(("prompts",), is_of_round=True),
    "prompts.test_path": Use(("prompts",)),
    "prompts.monitor_path": Use(("prompts",)),
    "prompts.num_prompts": Use(("prompts",), is_of_round=True),
    "prompts.right_to_left": Use(("prompts",), is_of_round=True),
    "generator.num_candidates": Use(("sample.candidates",), is_of_round=True),
    "critic.check.": Use(("check",), is_of_round=True),
    "critic.": _JUDGING,
    "critic.pretrained_model_name_or_path": _START,
    "critic.backend": _START,
    "critic.questions": _START,
    "critic.torch_dtype": _START,
    "critic.confirm_vote_share": Use(("confirm",), is_of_round=True),
    "critic.keep_vote_share": Use(("confirm",), is_of_round=True),
    "critic.dimension_slack": _PREFERRING,
    "critic.margin_percentile": _PREFERRING,
    "verdicts": _PREFERRING,
    "align.": Use(("align",), is_of_round=True),
    "align.loss_type": Use(("confirm", "judged", "prefer")),
    "align.kto_labels": _PREFERRING,
    "align.dataset_name": Use(("encode_real.clips",)),
    "align.num_real_clips": Use(("encode_real.clips",)),
    "align.video_column": Use(("encode_real.clips",)),
    "align.caption_column": Use(("encode_real.clips",)),
    "refresh.": Use(("monitor",), is_of_round=True),
    "refresh.srpo.": Use(("srpo_votes", "refresh"), is_of_round=True),
    "refresh.update_critic": Use(("refresh",), is_of_round=True),
    "refresh.force_rounds": Use(("refresh",), is_of_round=True),
    "refresh.sources": Use(("monitor",), is_of_round=True),
    "refresh.min_pairs": Use(("refresh",), is_of_round=True),
    "refresh.num_pool_rounds": Use(("srpo_votes", "refresh"), is_of_round=True),
    "refresh.num_constructed": Use(("refresh",), is_of_round=True),
    "refresh.newer_min_precision": Use(("refresh",), is_of_round=True),
    "refresh.gate_margin": Use(("refresh",), is_of_round=True),
    "refresh.serve_if_equal": Use(("refresh",), is_of_round=True),
    "monitor.audit": Use(("audit", "monitor"), is_of_round=True),
    "monitor.num_audit_labels": Use(("monitor",), is_of_round=True),
    "monitor.suite": Use(("suite", "world_suite", "monitor"), is_of_round=True),
    "monitor.suite_dimensions": Use(("sample.suite",)),
    "monitor.suite_prompts": Use(("sample.suite",)),
    "monitor.num_gallery_prompts": Use(("scores",), is_of_round=True),
}


def use_of(key: str) -> Use | None:
    """Return which stages read a setting; None for one that may change at any time."""
    if key in MAY_CHANGE or key == "output_dir":
        return None
    rows = [row for row in USES if key == row or (row.endswith(".") and key.startswith(row))]
    return USES[max(rows, key=len)] if rows else _START
