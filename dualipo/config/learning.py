"""The settings of how the critic learns: the human seed, the warm start, the refresh by SRPO."""

from typing import Literal

from pydantic import Field

from dualipo.config.fields import MAX_COUNT, Group
from dualipo.config.servers import Server
from dualipo.config.training import LearningRate, Optimizer, Schedule, TrainSteps, WarmupSteps


class Rewriter(Server):
    """The language model that words the seed's reasons anew (METHOD.md 3.3), if one is named."""

    model: str | None = Field(
        None,
        description="The served model that words the reasons of the seed anew; null keeps the "
        "people's own words.",
    )
    max_tokens: int = Field(
        256, ge=16, le=1_000_000, description="The largest length of its answer in tokens."
    )


class SeedLabels(Group):
    """The human seed: a label set, or what the world's simulated annotators say of base clips."""

    path: str | None = Field(
        None,
        description="A label set that `dualipo import` made, or a run that people labelled; with "
        "null the simulated annotators of the embedded world give the labels, or, for captions of "
        "your own, the run makes clips for people to label and ends.",
    )
    num_pairs: int = Field(
        240,
        ge=0,
        le=MAX_COUNT,
        description="The number of pairwise labels that the simulated annotators give.",
    )
    num_points: int = Field(
        240,
        ge=0,
        le=MAX_COUNT,
        description="The number of labels of single clips that the simulated annotators give.",
    )
    num_constructed: int = Field(
        0,
        ge=0,
        le=MAX_COUNT,
        description="The number of pairs of a clip and its damaged copy, or of a clip and one of "
        "another caption, that are added to the labels which the critic is fine-tuned on.",
    )
    holdout_share: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="The share of the seed's prompts whose labels no critic is trained on, so "
        "that they can measure it.",
    )
    min_holdout: int = Field(
        1,
        ge=1,
        le=MAX_COUNT,
        description="The smallest number of labels of a label set that must be held out; a run "
        "with fewer is refused before it starts, and more measure the critic more exactly.",
    )
    num_prompts: int = Field(
        60,
        ge=1,
        le=MAX_COUNT,
        description="The number of prompts whose clips the simulated annotators, or people, are "
        "shown where seed_labels.path names no labels.",
    )
    clips_per_prompt: int = Field(
        4,
        ge=2,
        le=10_000,
        description="The number of clips that are sampled for each of these prompts.",
    )
    min_per_verdict: int = Field(
        4,
        ge=0,
        le=MAX_COUNT,
        description="The smallest number of labels of each verdict in each dimension; with fewer "
        "the run stops before the warm start.",
    )
    rewriter: Rewriter = Rewriter()


class CriticTraining(Optimizer):
    """The first half of the warm start: fine-tuning on the seed's reasons (METHOD.md 3.3)."""

    learning_rate: LearningRate = 3e-4
    max_train_steps: TrainSteps = 150
    train_batch_size: int = Field(
        32,
        ge=1,
        le=1_000_000,
        description="The number of answers that one optimizer step learns from.",
    )
    lr_warmup_steps: WarmupSteps = 10
    lr_scheduler: Schedule = "linear"
    caption_exchange_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="The share of the questions of faithfulness and motion that are learned under "
        "another question's caption; more make the critic follow captions less.",
    )


class CriticPreference(CriticTraining):
    """The second half of the warm start: DPO on the critic's own reasoning (METHOD.md 3.3)."""

    learning_rate: LearningRate = 2e-5
    max_train_steps: TrainSteps = 30
    train_batch_size: int = Field(
        32,
        ge=2,
        le=1_000_000,
        multiple_of=2,
        description="The number of pairs of a right and a wrong answer that one optimizer step "
        "learns from, which is even: each is among them in both orders of its clips.",
    )
    beta_critic: float = Field(
        0.1,
        gt=0,
        le=1e6,
        description="The factor on differences of log-probability in the loss; a larger one holds "
        "the critic closer to where it began.",
    )
    nll_weight: float = Field(
        1.0,
        ge=0,
        le=1e6,
        description="The weight of the winning answers' mean negative log-probability in the loss; "
        "a larger one keeps them more likely.",
    )
    num_paths: int = Field(
        8,
        ge=2,
        le=10_000,
        description="The number of answers that are sampled to a question of the seed, to find a "
        "right and a wrong one among them.",
    )
    max_questions: int = Field(
        96,
        ge=1,
        le=MAX_COUNT,
        description="The largest number of questions of the seed that the critic is asked for "
        "such pairs.",
    )


class Srpo(CriticPreference):
    """The refresh of the critic by SRPO, on its most certain judgements (METHOD.md 3.2)."""

    pce: Literal["gaussian", "sigmoid", "monte_carlo"] = Field(
        "gaussian",
        description='The estimate of a judgement\'s certainty: "gaussian" takes the normal '
        'distribution over all judgements, "sigmoid" a sigmoid around their mean, and '
        '"monte_carlo" the share of winning paths above their mean.',
    )
    pce_threshold: float = Field(
        0.5,
        ge=0,
        le=1,
        description="The certainty that a judgement must exceed to be learned from; a larger one "
        "keeps fewer.",
    )
    pce_tau: float = Field(
        1.0,
        gt=0,
        le=1e6,
        description='The steepness of the sigmoid for refresh.srpo.pce = "sigmoid"; a larger one '
        "moves certainties towards 0 and 1.",
    )
    pce_filter: bool = Field(
        True,
        description="Whether judgements that are not certain enough are left out; false keeps "
        "all, which is an ablation.",
    )
    srpo_weight: bool = Field(
        True,
        description="Whether judgements are weighted by their certainty; false weighs all alike, "
        "which is an ablation.",
    )
    num_extra_pairs: int = Field(
        48,
        ge=0,
        le=MAX_COUNT,
        description="The number of further pairs of the round's clips that are judged for the "
        "refresh, beside the confirmed ones.",
    )
    seed_anchor_start: float = Field(
        1.0,
        ge=0,
        le=1,
        description="The share of the first batch that comes from the human seed, from which it "
        "falls evenly to refresh.srpo.seed_anchor_share.",
    )
    seed_anchor_share: float = Field(
        0.5,
        ge=0,
        lt=1,
        description="The share of the last batch that comes from the human seed; a larger one "
        "holds the critic closer to people.",
    )
    keep_unanimous: bool = Field(
        True,
        description="Whether questions on which all answers agree are learned from, the losing "
        "answer being the same words about the other clip; false leaves them out.",
    )
    num_choices: int = Field(
        4,
        ge=0,
        le=MAX_COUNT,
        description="The number of times in the training at which held-out labels measure the "
        "critic, to take the best of these checkpoints; 0 takes the last step.",
    )
