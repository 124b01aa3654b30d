"""The stages of a run, in their order: the one list that names them.

    start    once, before round 0
    round    once a round, with its first attempt
    attempt  in each attempt; there is a second one only where the critic was refreshed
    close    once a round, after its last attempt

`rounds/loop.py` runs them in this order, and a test compares the units that a run commits with it.
The stage commands, the plan and the dashboard's timeline read their names here.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Turn = Literal["start", "round", "attempt", "close"]
Command = Literal["sample", "judge", "prefer", "align", "evaluate", "refresh"]

# The commands that run stages alone, `dualipo sample RUN` and so on, in their order.
COMMANDS: tuple[Command, ...] = ("sample", "judge", "prefer", "align", "evaluate", "refresh")


@dataclass(frozen=True)
class Training:
    """A stage that trains: the name of its metrics, and the setting that holds its steps."""

    metrics: str
    steps_setting: str


@dataclass(frozen=True)
class Stage:
    """A stage; `stage_id` is that of its units in the ledger, `name` what the timeline shows.

    A stage without a name is a part of the one that follows. `closed_by` is the stage whose unit
    says that this one is complete, and `closing_index` that unit's index.
    """

    stage_id: str
    turn: Turn
    command: Command
    name: str | None = None
    closed_by: str | None = None
    closing_index: int = 0
    training: Training | None = None


_SFT = Training("warm_start_sft", "warm_start_sft.max_train_steps")
_DPO = Training("warm_start_dpo", "warm_start_dpo.max_train_steps")
_ALIGN = Training("align", "align.max_train_steps")
_SRPO = Training("srpo", "refresh.srpo.max_train_steps")

STAGES: tuple[Stage, ...] = (
    Stage("register", "start", "sample"),
    Stage("prompts", "start", "sample", "prompts"),
    Stage("sample.seed", "start", "sample", "seed clips", closing_index=-1),
    Stage("label", "start", "sample", "seed labels"),
    Stage("rewrite", "start", "sample"),
    Stage("warm_start_sft", "start", "sample", "critic: fine-tuning", training=_SFT),
    Stage("warm_start_dpo", "start", "sample", "critic: own traces", training=_DPO),
    Stage("sample.accuracy", "start", "sample", closing_index=-1),
    Stage("warm_accuracy", "start", "sample"),
    Stage("sample.monitor", "start", "sample", closing_index=-1),
    Stage("clip_metrics", "start", "sample"),
    Stage("sample.suite", "start", "sample"),
    Stage("suite", "start", "sample", closing_index=-1),  # only where the recipe has a suite
    Stage("world_suite", "start", "sample"),
    Stage("sample.test", "start", "sample", closing_index=-1),
    Stage("scores", "start", "sample", "base scores"),
    Stage("prompts", "round", "sample", "prompts"),
    Stage("sample.candidates", "round", "sample", "clips", closing_index=-1),
    Stage("check", "attempt", "judge", "critic's check"),
    Stage("score", "attempt", "judge", "grades", closed_by="judged"),
    Stage("confirm", "attempt", "judge", "votes", closed_by="judged"),
    Stage("judged", "attempt", "judge"),
    Stage("prefer", "attempt", "prefer", "preferences"),
    Stage("ended", "attempt", "align"),  # only of a run that cannot go on
    Stage("align", "attempt", "align", "alignment", training=_ALIGN),
    Stage("sample.vbench", "attempt", "evaluate"),  # only on request
    Stage("sample.vbench_still", "attempt", "evaluate"),
    Stage("vbench", "attempt", "evaluate"),
    Stage("vbench_import", "attempt", "evaluate"),
    Stage("sample.monitor", "attempt", "evaluate", closing_index=-1),
    Stage("audit_votes", "attempt", "evaluate"),  # only where people are asked about some pairs
    Stage("audit", "attempt", "evaluate"),  # only where people are asked
    Stage("win_rate", "attempt", "evaluate"),
    Stage("sample.suite", "attempt", "evaluate"),
    Stage("suite", "attempt", "evaluate", closing_index=-1),
    Stage("world_suite", "attempt", "evaluate"),
    Stage("clip_metrics", "attempt", "evaluate"),
    Stage("monitor", "attempt", "evaluate", "monitor"),
    Stage("srpo_votes", "round", "refresh"),
    Stage("refresh", "round", "refresh", "critic's refresh", training=_SRPO),
    Stage("sample.test", "close", "refresh", closing_index=-1),
    Stage("scores", "close", "refresh", "test scores"),
    Stage("judge_votes", "close", "refresh"),
    Stage("judges", "close", "refresh"),
    Stage("drop_latents", "close", "refresh"),
    Stage("keep_best", "close", "refresh"),
)

# Work that is done once, when something needs it first; the word before the first dot of its id.
ON_DEMAND = (
    *("texts", "encode_real", "holdout", "score_scale", "bad_clip", "sample_again"),
    *("settings", "retried"),
)

Redo = Literal["warm-start", "judge", "prefer", "align", "evaluate", "refresh"]
Again = Redo | Literal["abstained"]  # what a start may throw away first
# What `--redo` takes, in order, and the first stage that each throws away.
REDOABLE: dict[Redo, str] = dict(
    zip(
        get_args(Redo),
        ("rewrite", "check", "prefer", "align", "win_rate", "srpo_votes"),
        strict=True,
    )
)


def redo_of(stage_id: str) -> Redo | None:
    """Return what to redo so that a stage runs anew; None where its clips are what was paid for."""
    places = [place for place, stage in enumerate(STAGES) if stage.stage_id == stage_id]
    firsts = {word: _first(stage) for word, stage in REDOABLE.items()}
    # The prompts and clips of rounds stand between the warm start and the judging.
    if not places or stage_id.startswith(("sample.", "prompts", "register", "label")):
        return None
    return max((word for word in REDOABLE if firsts[word] <= places[-1]), key=firsts.__getitem__)


def redone(word: Redo) -> tuple[str, ...]:
    """Return the ids of the stages that `--redo` throws away, without those that only sample."""
    later = STAGES[_first(REDOABLE[word]) :]
    return tuple(
        dict.fromkeys(
            stage.stage_id
            for stage in later
            if stage.stage_id not in ("prompts", "sample.candidates", "drop_latents")
        )
    )


def _first(stage_id: str) -> int:
    return next(place for place, stage in enumerate(STAGES) if stage.stage_id == stage_id)


def of_start() -> tuple[Stage, ...]:
    """Return the stages before round 0."""
    return tuple(stage for stage in STAGES if stage.turn == "start")


def of_attempt(attempt: int, *, is_last: bool) -> tuple[Stage, ...]:
    """Return the stages of a round's attempt; the last attempt closes the round."""
    turns = {"attempt"} | ({"close"} if is_last else set()) | (set() if attempt else {"round"})
    return tuple(stage for stage in STAGES if stage.turn in turns)


def last_of(command: Command) -> Stage:
    """Return the stage that completes a command within a round."""
    own = [stage for stage in STAGES if stage.command == command]
    return [stage for stage in own if stage.turn in ("round", "attempt")][-1]


def command_before(command: Command) -> Command | None:
    """Return the command whose result a command reads; None for the first of a round."""
    place = COMMANDS.index(command)
    return COMMANDS[place - 1] if place else None
