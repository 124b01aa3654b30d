"""The plan of a run: the units of each stage that a recipe asks for, and of what is left."""

from collections import Counter
from collections.abc import Collection

from dualipo.config import LEARNING, Config
from dualipo.events import ScoresEvent
from dualipo.rounds.accuracy import ACCURACY_CLIPS, num_accuracy_prompts
from dualipo.rounds.fixed_clips import MONITOR_CLIPS
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.stages import STAGES

# Stages of one name, for example `sample.test`, are one entry: its place is that of the first.
_STAGE_IDS = tuple(dict.fromkeys(stage.stage_id for stage in STAGES))


def plan(config: Config, *, rounds_done: Collection[int] = ()) -> dict[str, int]:
    """Return the units of every stage of the rest of a run, if no critic is refreshed, in order.

    A round that was scored is done, and so is what precedes round 0 (BASE_ROUND). The round in
    which a run was killed is counted whole, though some of it need not be done again.
    """
    prompts, seed = config.prompts, config.seed_labels
    per_round = {
        "sample.monitor": prompts.num_monitor_prompts * MONITOR_CLIPS,
        "sample.test": prompts.num_test_prompts * config.monitor.num_test_clips,
    }
    before = per_round | {
        "sample.seed": 0 if seed.path else seed.num_prompts * seed.clips_per_prompt,
        **_training(config),
    }
    if config.monitor.num_accuracy_pairs:
        before["sample.accuracy"] = num_accuracy_prompts(config) * ACCURACY_CLIPS
    per_round |= {
        "sample.candidates": prompts.num_prompts * config.generator.num_candidates,
        "score": prompts.num_prompts * config.generator.num_candidates,
        "confirm": 0 if config.align.loss_type == "kto" else prompts.num_prompts,
        "align": config.align.max_train_steps,
        "win_rate": prompts.num_monitor_prompts,
    }
    units: Counter[str] = Counter()
    for round_ in {BASE_ROUND, *range(config.rounds)}.difference(rounds_done):
        units.update(before if round_ == BASE_ROUND else per_round)
    assert units.keys() <= {*_STAGE_IDS}, "every stage stands in dualipo/stages.py"
    return {stage: units[stage] for stage in _STAGE_IDS if units[stage]}


def _training(config: Config) -> dict[str, int]:
    """Return the steps of the critic's warm start, by stage."""
    if config.critic.backend in LEARNING:
        return {
            "warm_start_sft": config.warm_start_sft.max_train_steps,
            "warm_start_dpo": config.warm_start_dpo.max_train_steps,
        }
    has_head = config.critic.backend == "reward_head"
    return {"warm_start_sft": config.critic.reward_head.max_train_steps} if has_head else {}


def remaining(run: Run) -> dict[str, int]:
    """Return the plan of what a resumed run has still to do."""
    return plan(
        run.config, rounds_done={where.round for where, _ in run.ledger.events(ScoresEvent)}
    )
