"""The settings of every training: optimizer, learning rate, batch and checkpoints."""

from typing import Annotated, Literal

from pydantic import Field

from dualipo.config.fields import MAX_COUNT, Group, MixedPrecision

LearningRate = Annotated[
    float,
    Field(
        gt=0,
        le=1e30,  # absurd rates are for tests of what follows; infinite ones are none
        description="The learning rate after the warm-up; a larger one learns faster and may "
        "become unstable.",
    ),
]
TrainSteps = Annotated[int, Field(ge=0, le=MAX_COUNT, description="The number of optimizer steps.")]
WarmupSteps = Annotated[
    int,
    Field(
        ge=0,
        le=MAX_COUNT,
        description="The number of steps at the start over which the learning rate rises evenly to "
        "learning_rate.",
    ),
]
Schedule = Annotated[
    Literal["constant", "linear", "cosine"],
    Field(
        description='The course of the learning rate after the warm-up: "constant" keeps it, '
        '"linear" and "cosine" let it fall to 0 by the last step.'
    ),
]
WeightDecay = Annotated[
    float,
    Field(
        ge=0,
        le=1,
        description="The pull of trained weights towards 0: each step shrinks them by "
        "learning_rate times this value.",
    ),
]


NumProcesses = Annotated[
    int,
    Field(
        ge=1,
        le=65_536,
        description="The number of devices that share the weights and the batch (FSDP2), on all "
        "machines together; more need less memory on each.",
    ),
]
NumNodes = Annotated[
    int,
    Field(
        ge=1,
        le=65_536,
        description="The number of machines among which num_processes are divided evenly; on each "
        "but the first, `dualipo join` waits for the training.",
    ),
]


class Optimizer(Group):
    """One training: AdamW with warm-up and gradient clipping (METHOD.md 4.5)."""

    optimizer: Literal["adamw", "adamw_8bit", "muon"] = Field(
        "adamw",
        description='The optimizer: "adamw", "adamw_8bit" with moments in a quarter of the memory '
        '(needs bitsandbytes), or "muon" for models that are trained from nothing.',
    )
    learning_rate: LearningRate
    max_train_steps: TrainSteps
    train_batch_size: int = Field(
        8,
        ge=1,
        le=1_000_000,
        description="The number of items that one optimizer step learns from.",
    )
    gradient_accumulation_steps: int = Field(
        1,
        ge=1,
        le=1_000_000,
        description="The number of parts in which a step's batch is computed: more parts need "
        "less memory and more time, and the result is the same up to rounding.",
    )
    lr_scheduler: Schedule = "constant"
    lr_warmup_steps: WarmupSteps = 0
    adam_beta1: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="The share of AdamW's running mean of gradients that a step keeps; a larger "
        "one smooths over more steps.",
    )
    adam_beta2: float = Field(
        0.95,
        ge=0,
        lt=1,
        description="The share of AdamW's running mean of squared gradients that a step keeps; a "
        "larger one smooths over more steps.",
    )
    adam_weight_decay: WeightDecay = 0.0
    adam_epsilon: float = Field(
        1e-8, gt=0, le=1, description="The small number that keeps AdamW from dividing by 0."
    )
    max_grad_norm: float = Field(
        1.0,
        gt=0,
        le=1e9,
        description="The largest norm of a step's gradient; a longer gradient is scaled down to "
        "it.",
    )
    mixed_precision: MixedPrecision = "no"
    checkpointing_steps: int = Field(
        50,
        ge=1,
        le=MAX_COUNT,
        description="The number of optimizer steps from one checkpoint to the next, and hence the "
        "most that a killed run repeats.",
    )
    checkpoints_total_limit: int = Field(
        2,
        ge=1,
        le=10_000,
        description="The number of checkpoints that are kept; older ones are deleted.",
    )
