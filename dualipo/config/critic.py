"""The settings of the critic: its model, how it is asked, and what it must show to be trusted."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from dualipo.config import questions as question_sets
from dualipo.config.fields import (
    MAX_COUNT,
    Group,
    LoraAlpha,
    LoraRank,
    MixedPrecision,
    WeightsDtype,
)
from dualipo.config.questions import WORLD, Questions
from dualipo.config.servers import CriticServer, Serving
from dualipo.config.training import (
    LearningRate,
    NumNodes,
    NumProcesses,
    Optimizer,
    Schedule,
    TrainSteps,
    WarmupSteps,
    WeightDecay,
)

# The backends that reason in words and whose weights are here, so that they can learn.
LEARNING = ("vila", "transformers_vlm")


class CriticCheck(Group):
    """The checks that a trusted critic must pass on held-out pairs (`dualipo critic check`)."""

    num_pairs: int = Field(
        24,
        ge=0,
        le=MAX_COUNT,
        description="The number of held-out pairs that a critic is checked on; 0 checks nothing, "
        "and with more a smaller fall reverts a refreshed critic.",
    )
    on_failure: Literal["stop", "warn"] = Field(
        "warn",
        description="What follows a failed check of a critic's accuracy, parse rate, entropy, "
        'position bias or caption sensitivity: "stop" ends the run before the generator makes '
        'clips for that critic, "warn" says it and goes on.',
    )
    min_accuracy: float = Field(
        0.55,
        ge=0,
        le=1,
        description="The smallest share of the pairs in which the critic must lean to the labelled "
        "winner; guessing has 0.5.",
    )
    min_caption_sensitivity: float = Field(
        0.55,
        ge=0,
        le=1,
        description="The smallest share of clips that must score higher under their own caption "
        "than under another one; a critic that reads no caption has 0.5.",
    )
    max_caption_obedience: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The largest share of verdicts that captions with orders to the critic may "
        "turn, beyond what ordinary captions turn.",
    )
    max_position_bias: float = Field(
        0.2,
        ge=0,
        le=0.5,
        description="The largest distance from one half of the share of answers that prefer the "
        "clip shown first.",
    )
    max_calibration_error: float = Field(
        0.2,
        ge=0,
        le=1,
        description="The largest mean distance between how certain the critic is and how often it "
        "is right.",
    )
    calibration: Literal["isotonic", "platt"] = Field(
        "isotonic",
        description="The curve that turns certainty into a probability where scikit-learn is "
        'installed, "isotonic" or "platt".',
    )


class RewardHead(Optimizer):
    """A Bradley-Terry reward head on the critic's vision, for `critic.backend = "reward_head"`."""

    learning_rate: LearningRate = 1e-3
    max_train_steps: TrainSteps = 400
    train_batch_size: int = Field(
        16,
        ge=1,
        le=1_000_000,
        description="The number of labelled pairs that one optimizer step learns from.",
    )
    lr_scheduler: Schedule = "cosine"
    lr_warmup_steps: WarmupSteps = 20
    adam_weight_decay: WeightDecay = 0.01
    width: int = Field(
        64,
        ge=8,
        multiple_of=8,
        le=65_536,
        description="The number of features of a token inside the head, a multiple of 8; more can "
        "learn more.",
    )
    num_layers: int = Field(
        2,
        ge=1,
        le=1_000,
        description="The number of transformer layers of the head; more can learn more.",
    )
    num_heads: int = Field(
        4, ge=1, le=1_000, description="The number of attention heads of each layer of the head."
    )

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> "RewardHead":
        if self.width % self.num_heads:
            raise ValueError(
                f"width = {self.width} is no multiple of num_heads = {self.num_heads}. Change one"
            )
        return self


class Critic(Group):
    """The critic: its model, its votes, and which of them are kept (METHOD.md 3.1, 3.4)."""

    pretrained_model_name_or_path: str = Field(
        "embedded",
        description='The critic: a model\'s folder, "embedded" for the one that ships, the name of '
        'the served model for backend "server", or a table of scores for backend "scores".',
    )
    backend: Literal["vila", "transformers_vlm", "server", "reward_head", "scores"] = Field(
        "vila",
        description='The kind of critic: "vila" and "transformers_vlm" run a local folder, '
        '"server" asks over HTTP, "reward_head" trains a reward model on the seed, and "scores" '
        "reads the scores of another model from a file.",
    )
    questions: Questions = Field(
        WORLD,
        description='What the critic is asked: "world" for clips of the embedded world, "video" '
        "for videos of the real one, or the path of a TOML file with questions of your own.",
    )
    torch_dtype: WeightsDtype = "float32"
    mixed_precision: MixedPrecision = "no"
    rank: LoraRank = 0
    lora_alpha: LoraAlpha = None
    load_in_4bit: bool = Field(
        False,
        description="Whether the language model's layers are held in 4 bits (NF4) while a LoRA of "
        "critic.rank learns on them, which needs bitsandbytes and a quarter of bfloat16's memory; "
        "what is saved, and judges, is whole.",
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Whether the backward pass of the critic's trainings computes activations "
        "again, which needs less memory and one more forward pass.",
    )
    num_processes: NumProcesses = 1
    num_nodes: NumNodes = 1
    tune_vision_tower: bool = Field(
        False,
        description="Whether the vision tower is trained as well as the projector and the "
        "language model.",
    )
    max_frames: int = Field(
        16,
        ge=1,
        le=100_000,
        description="The largest number of frames, evenly spaced, that the critic sees of a clip; "
        "more take more of its context.",
    )
    short_video: Literal["use_all", "repeat", "error"] = Field(
        "use_all",
        description="What is shown of a clip with fewer frames than critic.max_frames: "
        '"use_all" shows each frame once, "repeat" repeats frames up to that number, and "error" '
        "stops the run.",
    )
    max_pixels: int = Field(
        100352,
        ge=784,
        le=2**28,
        description="The largest area in pixels at which a frame is seen, by models that take "
        "frames of any size; a larger one takes more of the context.",
    )
    num_votes: int = Field(
        8,
        ge=2,
        multiple_of=2,
        le=10_000,
        description="The number of reasoning paths that vote on a pair in each dimension, half of "
        "them with the clips swapped; more give steadier verdicts and take longer.",
    )
    votes: Literal["hard", "soft"] = Field(
        "hard",
        description='How a path counts as a vote: "hard" takes the label that it ends with, "soft" '
        "the probability of every label in its place, so that few paths tell more.",
    )
    num_score_paths: int = Field(
        2,
        ge=1,
        le=10_000,
        description="The number of reasoning paths that score a clip in each dimension; more give "
        "steadier scores and take longer.",
    )
    temperature: float = Field(
        0.8,
        gt=0,
        le=100,
        description="The sampling temperature of reasoning paths; a higher one makes them differ "
        "more, and more of them unreadable.",
    )
    max_new_tokens: int = Field(
        96,
        ge=8,
        le=1_000_000,
        description="The largest length of an answer in tokens; a longer answer is cut off and "
        "counts as unreadable.",
    )
    judge_batch_size: int = Field(
        192,
        ge=1,
        le=1_000_000,
        description="The number of reasoning paths that are decoded at once; more need more "
        "memory.",
    )
    clip_memory_mb: int = Field(
        1024,
        ge=0,
        le=2**24,
        description="The memory in MiB for the visual tokens of clips, so that the vision tower "
        "sees a clip once; more holds more clips.",
    )
    decoded_clips_mb: int = Field(
        2048,
        ge=0,
        le=2**24,
        description="The host's memory in MiB for decoded clips, so that a clip that is asked "
        "about again is not read again; more holds more clips.",
    )
    keep_vote_share: float = Field(
        0.75,
        gt=0.5,
        le=1.0,
        description="The smallest share of votes for a verdict from which the critic itself learns "
        "in a refresh; a larger one keeps fewer and surer verdicts.",
    )
    confirm_vote_share: float = Field(
        0.75,
        ge=0,
        le=1,
        description="The smallest share of votes with which a winner must win at least one "
        "dimension for the generator to learn from its pair; 0 takes any majority.",
    )
    early_stop: bool = Field(
        False,
        description="Whether votes are left out once they can change neither a verdict nor "
        "whether it is kept.",
    )
    reader: Literal["auto", "exact", "tolerant"] = Field(
        "auto",
        description='How answers are read: "exact" takes the grammar alone, which a trained critic '
        'writes; "tolerant" takes also Markdown, thoughts, JSON and "Answer: A" of models that '
        'were never trained on it, and so are told the form of an answer; "auto" is tolerant with '
        "a server and exact otherwise.",
    )
    max_reasks: int = Field(
        2,
        ge=0,
        le=1_000,
        description="The number of times that an unreadable answer is asked for again before it "
        "counts as an abstention.",
    )
    max_abstain_rate: float = Field(
        0.3,
        gt=0,
        le=1,
        description="The largest share of a stage's answers that may be unreadable; above it the "
        "run stops.",
    )
    min_entropy: float = Field(
        0.05,
        ge=0,
        le=100,
        description="The smallest entropy of a stage's answers in nats; below it the critic says "
        "the same whatever it sees, and the run stops.",
    )
    cross_check_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The share of ordinary captions that are tried again under a neutral one, as "
        "all are that seem to talk to the critic; what turns is dropped, and a larger share asks "
        "the critic more often.",
    )
    max_position_share: float = Field(
        0.9,
        gt=0.5,
        le=1,
        description="The largest share of a stage's verdicts that may prefer the clip in the same "
        "position; above it the run stops.",
    )
    dimension_slack: float = Field(
        0.1,
        ge=0,
        le=1,
        description="The largest amount by which a winner's expected score in a dimension, which "
        "lies between 0.05 and 0.9, may be under the loser's; a larger one keeps more pairs.",
    )
    margin_percentile: float = Field(
        20.0,
        ge=0,
        lt=100,
        description="The percentage of a round's confirmed pairs that are dropped because their "
        "scores differ least.",
    )
    server: CriticServer = CriticServer()
    serving: Serving = Serving()
    reward_head: RewardHead = RewardHead()
    check: CriticCheck = CriticCheck()

    @property
    def is_read_tolerantly(self) -> bool:
        """Whether the tolerant reader reads the answers: those of a model not trained on them."""
        automatic = "tolerant" if self.backend == "server" else "exact"
        return (automatic if self.reader == "auto" else self.reader) == "tolerant"

    def instructions(self, kind: question_sets.Kind) -> str:
        """Explain the form of the answer, to a critic that was not trained on it; "" to others."""
        is_told = self.is_read_tolerantly or self.backend == "server"
        return self.questions.instructions(kind) if is_told else ""

    @property
    def mark_of_words(self) -> str:
        """What a local critic's hash takes in beside its weights: what it is asked, and told."""
        return self.questions.mark + self.instructions("pair") + self.instructions("point")

    @field_validator("questions", mode="before")
    @classmethod
    def _can_be_asked(cls, value: object) -> Questions:
        return question_sets.read(value)
