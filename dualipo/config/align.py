"""The settings of the alignment, which trains the generator on a round's preferences."""

from typing import Literal

from pydantic import Field

from dualipo.config.fields import MAX_COUNT, LoraAlpha, LoraRank
from dualipo.config.training import (
    LearningRate,
    NumNodes,
    NumProcesses,
    Optimizer,
    TrainSteps,
    WarmupSteps,
)


class Align(Optimizer):
    """The alignment of the generator by Diffusion-DPO or Diffusion-KTO (METHOD.md 4.2 to 4.5)."""

    learning_rate: LearningRate = 3e-5
    max_train_steps: TrainSteps = 80
    train_batch_size: int = Field(
        16,
        ge=1,
        le=1_000_000,
        description="The number of pairs (DPO) or labelled clips (KTO) that one optimizer step "
        "learns from.",
    )
    lr_warmup_steps: WarmupSteps = 8
    loss_type: Literal["dpo", "kto"] = Field(
        "dpo",
        description='The preference loss: "dpo" learns from pairs, "kto" from single labelled '
        "clips, for which no pairwise votes are cast.",
    )
    beta_dpo: float = Field(
        500.0,
        gt=0,
        le=1e9,
        description="The factor on DPO's differences of denoising error, in the convention of "
        "METHOD.md 4.2; a larger one holds the generator closer to its reference.",
    )
    beta_kto: float = Field(
        1000.0,
        gt=0,
        le=1e9,
        description="The factor on KTO's gains over the reference; a larger one holds the "
        "generator closer to its reference.",
    )
    desirable_weight: float = Field(
        1.0,
        gt=0,
        le=1e6,
        description="The weight of desirable clips in KTO, on top of the weights that balance the "
        "two classes.",
    )
    undesirable_weight: float = Field(
        1.0,
        gt=0,
        le=1e6,
        description="The weight of undesirable clips in KTO, on top of the weights that balance "
        "the two classes.",
    )
    kto_labels: Literal["grades", "extremes"] = Field(
        "grades",
        description='The source of KTO\'s labels: "grades" calls a clip desirable if it is Good in '
        'every dimension and undesirable if it is Bad in any, "extremes" takes the best and the '
        "worst clip of a prompt by expected score.",
    )
    preference_weight: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="The weight of the preference loss; 0 trains on the likelihood terms alone, "
        "which is a control experiment.",
    )
    certainty_weights: bool = Field(
        False,
        description="Whether pairs and labelled clips are weighted by the critic's certainty, "
        "with a mean weight of 1.",
    )
    winner_nll_ratio: float = Field(
        0.05,
        ge=0,
        le=1_000,
        description="The gradient norm of the winners' likelihood term as a share of the "
        "preference loss's; a larger one pulls more towards the winning clips.",
    )
    real_nll_ratio: float = Field(
        0.1,
        ge=0,
        le=1_000,
        description="The gradient norm of the real clips' likelihood term as a share of the "
        "preference loss's: a larger one pulls more towards real clips, and 0 (the default for "
        "captions of a file without align.dataset_name) uses none.",
    )
    real_batch_size: int = Field(
        16,
        ge=1,
        le=1_000_000,
        description="The number of real clips in the batch of one optimizer step.",
    )
    num_real_clips: int = Field(
        512,
        ge=1,
        le=MAX_COUNT,
        description="The number of real clips that a run encodes and trains on.",
    )
    dataset_name: str | None = Field(
        None,
        description="The real clips: a folder with metadata.jsonl, or a parquet or JSON table "
        "beside its clips; null takes clips that the embedded world draws.",
    )
    video_column: str = Field(
        "file_name", description="The column of align.dataset_name's table that names the clip."
    )
    caption_column: str = Field(
        "caption", description="The column of align.dataset_name's table that holds the caption."
    )
    ratio_every: int = Field(
        50,
        ge=1,
        le=MAX_COUNT,
        description="The number of steps from one measurement of the gradient norms, which set "
        "the weights of the likelihood terms, to the next.",
    )
    reference: Literal["start", "base"] = Field(
        "start",
        description='The weights that the preference loss compares with: "start" is the generator '
        'at the start of the round, "base" the one that the run began with.',
    )
    num_slots: int = Field(
        4,
        ge=1,
        le=10_000,
        description="The number of fixed draws of noise that a pair or clip is trained with in "
        "turn; more cost more forward passes of the reference.",
    )
    num_holdout: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="The number of pairs (DPO) or labelled clips (KTO), in whole captions, that "
        "are not trained on and measure how far the preference carries over; 0 holds out none.",
    )
    holdout_every: int = Field(
        10,
        ge=1,
        le=1_000_000,
        description="The number of steps from one measurement on the held-out preferences to the "
        "next.",
    )
    patience: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="The number of measurements in a row that may bring no gain on the held-out "
        "preferences before the alignment stops and takes its best weights; 0 never stops early.",
    )
    flow_shift: float = Field(
        3.0,
        gt=0,
        le=1_000,
        description="The shift of the trained noise levels of flow models such as Wan: above 1 it "
        "moves them towards noise, and CogVideoX ignores it.",
    )
    weighting_scheme: Literal["none", "logit_normal"] = Field(
        "none",
        description='The distribution of the trained noise levels: "none" draws them evenly, '
        '"logit_normal" by align.logit_mean and align.logit_std.',
    )
    logit_mean: float = Field(
        0.0,
        ge=-100,
        le=100,
        description="The mean of the normal distribution behind logit_normal; a larger one trains "
        "on more noise.",
    )
    logit_std: float = Field(
        1.0,
        gt=0,
        le=100,
        description="The standard deviation of the normal distribution behind logit_normal; a "
        "larger one trains on more extreme noise levels.",
    )
    rank: LoraRank = 0
    lora_alpha: LoraAlpha = None
    gradient_checkpointing: bool = Field(
        False,
        description="Whether the backward pass computes activations again, which needs less "
        "memory and one more forward pass.",
    )
    num_processes: NumProcesses = 1
    num_nodes: NumNodes = 1
