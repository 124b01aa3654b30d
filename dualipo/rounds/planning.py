"""How much work a recipe asks for: units by stage, for the plan and for the time left."""

from collections import Counter

from dualipo.config import Config
from dualipo.rounds.measuring import ACCURACY_CLIPS, MONITOR_CLIPS, accuracy_prompts


def plan(config: Config) -> dict[str, int]:
    """Units of every stage of the whole run, if no round refreshes its critic."""
    rounds, prompts = config.rounds, config.prompts
    seed = config.seed_labels
    num_confirmed = 0 if config.align.loss_type == "kto" else rounds * prompts.num_prompts
    units = Counter(
        {
            "sample seed": seed.num_prompts * seed.clips_per_prompt,
            "warm_start_sft": config.warm_start_sft.max_train_steps,
            "warm_start_dpo": config.warm_start_dpo.max_train_steps,
            "sample monitor": (rounds + 1) * prompts.num_monitor_prompts * MONITOR_CLIPS,
            "sample test": (rounds + 1) * prompts.num_test_prompts,
            "sample candidates": rounds * prompts.num_prompts * config.generator.num_candidates,
            "score": rounds * prompts.num_prompts * config.generator.num_candidates,
            "confirm": num_confirmed,
            "align": rounds * config.align.max_train_steps,
            "win_rate": rounds * prompts.num_monitor_prompts,
        }
    )
    if config.monitor.num_accuracy_pairs:
        units["sample accuracy"] = accuracy_prompts(config) * ACCURACY_CLIPS
    return {stage: num for stage, num in units.items() if num}
