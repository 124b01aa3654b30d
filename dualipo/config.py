"""The configuration tree: strict, flat where it can be, every default of METHOD.md in one place.

A recipe is TOML; a dotted override (`align.beta_dpo=3000`) replaces one leaf; `-` and `_` are the
same in a key. An unknown key is an error that names the nearest known one. The resolved tree is
written to `config.json` in the run directory, and its leaves decide what may change on resume.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dualipo import recipes
from dualipo.errors import ConfigError


class Group(BaseModel):
    """A table of the recipe. Immutable; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Optimizer(Group):
    """AdamW with warm-up and clipping (METHOD.md 4.5); Muon is for training from nothing."""

    optimizer: Literal["adamw", "adamw_8bit", "muon"] = "adamw"
    learning_rate: float = Field(gt=0)
    max_train_steps: int = Field(ge=0)
    train_batch_size: int = Field(8, ge=1)
    gradient_accumulation_steps: int = Field(1, ge=1)
    lr_scheduler: Literal["constant", "linear", "cosine"] = "constant"
    lr_warmup_steps: int = Field(0, ge=0)
    adam_beta1: float = 0.9
    adam_beta2: float = 0.95
    adam_weight_decay: float = 0.0
    adam_epsilon: float = 1e-8
    max_grad_norm: float = Field(1.0, gt=0)
    mixed_precision: Literal["no", "bf16"] = "no"
    checkpointing_steps: int = Field(50, ge=1)
    checkpoints_total_limit: int = Field(2, ge=1)


class Prompts(Group):
    """Where captions come from: the embedded world's grammar, or a text file with one a line."""

    source: Literal["world", "file"] = "world"
    path: str | None = None
    num_prompts: int = Field(48, ge=1, description="fresh prompts a round")
    num_monitor_prompts: int = Field(24, ge=1, description="what triggers may read")
    num_test_prompts: int = Field(64, ge=0, description="what only people read; 0 for none")


class Generator(Group):
    """The text-to-video model and how it samples. Shapes are pixels and frames."""

    pretrained_model_name_or_path: str = Field(
        "embedded", description="a folder, or what ships: embedded[-large, -cogvideox]"
    )
    torch_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    num_candidates: int = Field(8, ge=2)
    num_inference_steps: int = Field(10, ge=1)
    guidance_scale: float = 2.5
    num_frames: int = 9
    height: int = 32
    width: int = 32
    fps: int = 8
    max_sequence_length: int = 32
    sample_batch_size: int = Field(32, ge=1, description="clips a forward pass")
    mixed_precision: Literal["no", "bf16"] = Field("no", description="while sampling")
    latents_dtype: Literal["float32", "bfloat16"] = Field("float32", description="as stored")
    keep_latents: bool = Field(False, description="of a round that is over; nothing reads them")
    clip_qp: int = Field(0, ge=0, le=51, description="x264's, of stored clips; 0 is lossless")
    step_cache: float = Field(0.0, ge=0, lt=1, description="skip blocks that change less; 0: exact")


class Align(Optimizer):
    """Diffusion-DPO or Diffusion-KTO on the round's preferences (METHOD.md 4.2 to 4.4)."""

    learning_rate: float = Field(3e-5, gt=0)
    max_train_steps: int = Field(80, ge=0)
    train_batch_size: int = Field(16, ge=1, description="pairs or labelled clips a step")
    lr_warmup_steps: int = 8
    loss_type: Literal["dpo", "kto"] = Field("dpo", description="kto needs no pairwise votes")
    beta_dpo: float = Field(500.0, gt=0, description="the 0.5 convention")
    beta_kto: float = Field(1000.0, gt=0)
    desirable_weight: float = Field(1.0, gt=0, description="beside the balance of the classes")
    undesirable_weight: float = Field(1.0, gt=0)
    kto_labels: Literal["grades", "extremes"] = Field(
        "grades", description="extremes: a prompt's best and worst by expected score"
    )
    preference_weight: float = Field(1.0, ge=0, description="0: the NLL terms alone (a control)")
    certainty_weights: bool = Field(
        False, description="weigh a pair or clip by the critic's certainty, mean 1 over the round"
    )
    winner_nll_ratio: float = Field(0.05, ge=0, description="gradient norm against the DPO term")
    real_nll_ratio: float = Field(0.1, ge=0)
    real_batch_size: int = Field(16, ge=1)
    num_real_clips: int = Field(512, ge=1)
    dataset_name: str | None = Field(None, description="real clips' folder or table; the world's")
    video_column: str = "file_name"
    caption_column: str = "caption"
    ratio_every: int = Field(10, ge=1, description="steps between two gradient-norm measurements")
    reference: Literal["start", "base"] = Field("start", description="of the round; or the run's")
    num_slots: int = Field(4, ge=1, description="fixed (noise level, noise) draws an item")
    flow_shift: float = Field(3.0, gt=0, description="of flow matching: Wan's, not CogVideoX's")
    weighting_scheme: Literal["none", "logit_normal"] = Field(
        "none", description="how noise levels are drawn: none is uniform"
    )
    logit_mean: float = 0.0
    logit_std: float = Field(1.0, gt=0)
    rank: int = Field(0, ge=0, description="of a LoRA; 0 trains every weight")
    lora_alpha: int | None = Field(None, gt=0, description="scale is lora_alpha / rank; or 1")
    lora_dropout: float = Field(0.0, description="0: cached reference errors need it")
    gradient_checkpointing: bool = Field(False, description="less memory for a second forward")
    num_processes: int = Field(1, ge=1, description="devices that share the weights (FSDP2)")

    @field_validator("lora_dropout")
    @classmethod
    def _no_dropout(cls, value: float) -> float:
        if value != 0:
            raise ValueError(
                "must be 0: the reference's errors are measured once, on the same network"
            )
        return value

    @model_validator(mode="after")
    def _shares_are_equal(self) -> "Align":
        num = self.num_processes
        if num > 1 and (self.rank or self.optimizer != "adamw"):
            raise ValueError("num_processes over 1 takes rank=0 and optimizer=adamw: set both")
        if self.train_batch_size % num or (self.real_nll_ratio and self.real_batch_size % num):
            raise ValueError(
                f"train_batch_size and real_batch_size must be multiples of num_processes={num}"
            )
        return self


class Server(Group):
    """An OpenAI-compatible endpoint, for `backend = "server"`. Its key is never a setting."""

    base_url: str = "http://127.0.0.1:8000/v1"
    api_key_env: str = Field("OPENAI_API_KEY", description="the variable that holds the key")
    timeout: float = Field(120.0, gt=0, description="seconds for one whole answer")
    max_retries: int = Field(4, ge=0)
    max_concurrency: int = Field(8, ge=1, description="requests at once")


class CriticCheck(Group):
    """What a critic must show before it is trusted, on held-out pairs (`dualipo critic check`)."""

    num_pairs: int = Field(24, ge=0, description="0 checks nothing")
    min_accuracy: float = Field(0.55, ge=0, le=1, description="forced choice; a coin has 0.5")
    min_caption_sensitivity: float = Field(
        0.55, ge=0, le=1, description="a critic that reads no caption has 0.5"
    )
    max_caption_obedience: float = Field(0.1, ge=0, le=1)
    max_position_bias: float = Field(0.2, ge=0, le=0.5)
    max_calibration_error: float = Field(0.2, ge=0, le=1)
    calibration: Literal["isotonic", "platt"] = "isotonic"


class RewardHead(Optimizer):
    """A Bradley-Terry reward head on the critic's visual tokens, for `backend = "reward_head"`."""

    learning_rate: float = Field(1e-3, gt=0)
    max_train_steps: int = Field(400, ge=0)
    train_batch_size: int = Field(16, ge=1, description="pairs a step")
    lr_scheduler: Literal["constant", "linear", "cosine"] = "cosine"
    lr_warmup_steps: int = 20
    adam_weight_decay: float = 0.01
    width: int = Field(64, ge=8, multiple_of=8)
    num_layers: int = Field(2, ge=1)
    num_heads: int = Field(4, ge=1)


class Critic(Group):
    """The judge: its model, its votes, and which of them are kept (METHOD.md 3.1, 3.4).

    For `backend = "scores"` the model's name is a table of scores that another model gave.
    """

    pretrained_model_name_or_path: str = "embedded"
    backend: Literal["vila", "transformers_vlm", "server", "reward_head", "scores"] = "vila"
    torch_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    mixed_precision: Literal["no", "bf16"] = "no"
    rank: int = Field(0, ge=0, description="of a LoRA while it learns; 0 trains every weight")
    lora_alpha: int | None = Field(None, gt=0, description="scale is lora_alpha / rank; or 1")
    tune_vision_tower: bool = Field(False, description="else projector and language model only")
    max_frames: int = Field(16, ge=1)
    short_video: Literal["use_all", "repeat", "error"] = "use_all"
    max_pixels: int = Field(100352, ge=784, description="of a frame, where its size is free")
    num_votes: int = Field(
        8, ge=2, multiple_of=2, description="pairwise paths a dimension, half of them swapped"
    )
    num_score_paths: int = Field(2, ge=1, description="pointwise paths a dimension")
    temperature: float = Field(0.8, gt=0)
    max_new_tokens: int = Field(96, ge=8)
    judge_batch_size: int = Field(192, ge=1, description="paths decoded at once")
    clip_memory_mb: int = Field(1024, ge=0, description="visual tokens kept a critic version")
    keep_vote_share: float = Field(0.75, gt=0.5, le=1.0, description="of what it learns from")
    confirm_vote_share: float = Field(
        0.75, ge=0, le=1, description="in a dimension that wins a generator's pair; 0: any majority"
    )
    early_stop: bool = Field(False, description="leave out votes that can change nothing")
    max_reasks: int = Field(2, ge=0)
    max_abstain_rate: float = Field(0.3, gt=0, le=1, description="above it the stage stops")
    min_entropy: float = Field(0.05, ge=0, description="of answers, in nats: below it, collapsed")
    cross_check: Literal["talking", "all"] = Field(
        "talking", description="captions that seem to talk to it are tried without; or every one"
    )
    max_position_share: float = Field(
        0.9, gt=0.5, le=1, description="of one place among answers for A or B: above it, collapsed"
    )
    dimension_slack: float = Field(0.1, ge=0)
    margin_percentile: float = Field(20.0, ge=0, lt=100)
    server: Server = Server()
    reward_head: RewardHead = RewardHead()
    check: CriticCheck = CriticCheck()


class Rewriter(Server):
    """A language model that words the seed's reasons anew (METHOD.md 3.3); without a name none."""

    model: str | None = None
    max_tokens: int = Field(256, ge=16)


class SeedLabels(Group):
    """The human seed: a label set, or what the world's simulated annotators say of base clips.

    With a `path` the numbers that follow say nothing, except `holdout_share` and the minimum.
    """

    path: str | None = Field(None, description="a label set, or a run that people labelled")
    num_pairs: int = Field(240, ge=0)
    num_points: int = Field(240, ge=0)
    holdout_share: float = Field(0.2, gt=0, lt=1)
    num_prompts: int = Field(60, ge=1)
    clips_per_prompt: int = Field(4, ge=2)
    min_per_verdict: int = Field(4, ge=0, description="below it the warm start is refused")
    rewriter: Rewriter = Rewriter()


class CriticTraining(Optimizer):
    """Supervised fine-tuning on reasoning traces (METHOD.md 3.3)."""

    learning_rate: float = Field(3e-4, gt=0)
    max_train_steps: int = Field(150, ge=0)
    train_batch_size: int = Field(32, ge=1)
    lr_warmup_steps: int = 10
    lr_scheduler: Literal["constant", "linear", "cosine"] = "linear"


class CriticPreference(CriticTraining):
    """DPO over reasoning paths: the second half of the warm start, and the base of SRPO."""

    learning_rate: float = Field(2e-5, gt=0)
    max_train_steps: int = Field(30, ge=0)
    beta_critic: float = Field(0.1, gt=0)
    num_paths: int = Field(8, ge=2)
    max_questions: int = Field(96, ge=1, description="of the seed, asked of the critic itself")


class Srpo(CriticPreference):
    """Self-refinement on the critic's most certain judgements (METHOD.md 3.2)."""

    pce: Literal["gaussian", "sigmoid", "monte_carlo"] = "gaussian"
    pce_threshold: float = Field(0.5, ge=0, le=1)
    pce_tau: float = Field(1.0, gt=0)
    pce_filter: bool = Field(
        True, description="ablation (no PCE, with srpo_weight): False keeps all"
    )
    srpo_weight: bool = Field(True, description="ablation (no SRPO loss): False weighs all alike")
    num_extra_pairs: int = Field(48, ge=0, description="judged beside the confirmed ones")
    seed_anchor_share: float = Field(0.25, ge=0, lt=1)
    unanimous: Literal["skip", "hint"] = "hint"


class Refresh(Group):
    """When a critic is stale, and when to stop (METHOD.md 5)."""

    update_critic: bool = Field(True, description="ablation: False never refreshes")
    force_rounds: tuple[int, ...] = Field((), description="rounds that refresh whatever is seen")
    max_audit_drop: float = 0.03
    max_evaluation_drop: float = 0.3
    min_vote_share: float = 0.7
    max_implicit_accuracy: float = 0.95
    stop_win_rate: float = 0.52
    stop_gain: float = 0.1
    stop_early: bool = Field(False, description="obey the stopping rule instead of reporting it")
    max_holdout_drop: float = Field(0.0, ge=0, description="a larger fall reverts the refresh")
    srpo: Srpo = Srpo()


class Monitor(Group):
    """What a round is measured by: fresh audit labels, win rate, and people's test scores."""

    num_audit_labels: int = Field(48, ge=0)
    num_test_clips: int = Field(1, ge=1, description="clips a test prompt")
    num_gallery_prompts: int = Field(6, ge=0)
    num_accuracy_pairs: int = Field(240, ge=0, description="held-out pairs that people read of")
    min_oracle_gap: float = Field(0.1, ge=0, description="between the clips of such a pair")


class Config(Group):
    """One experiment."""

    output_dir: str = "runs/dualipo"
    seed: int = 0
    rounds: int = Field(3, ge=0)
    report_to: Literal["none", "tensorboard", "wandb", "trackio"] = Field(
        "none", description="a tracker beside metrics.jsonl, which is always written"
    )
    logging_dir: str | None = Field(None, description="the tracker's; in the run by default")
    push_to_hub: bool = Field(False, description="publish the last generator; needs HF_TOKEN")
    hub_model_id: str | None = Field(None, description="OWNER/NAME; a new one is private")
    verdicts: Literal["critic", "coin_flip"] = Field("critic", description="coin_flip: a control")
    prompts: Prompts = Prompts()
    generator: Generator = Generator()
    seed_labels: SeedLabels = SeedLabels()
    critic: Critic = Critic()
    warm_start_sft: CriticTraining = CriticTraining()
    warm_start_dpo: CriticPreference = CriticPreference()
    align: Align = Align()
    refresh: Refresh = Refresh()
    monitor: Monitor = Monitor()


SERVERS = ("critic.server", "seed_labels.rewriter")
LEARNING = ("vila", "transformers_vlm")  # the critics that reason in words, with weights here

# A resumed run may change these and nothing else (fault 47): a server may move, its model stays.
MAY_CHANGE = (
    *("align.checkpointing_steps", "align.checkpoints_total_limit", "rounds"),
    *("generator.keep_latents", "report_to", "logging_dir", "push_to_hub", "hub_model_id"),
    *(f"{group}.{name}" for group in SERVERS for name in Server.model_fields),
)


def load(recipe: Path, overrides: list[str] | None = None) -> Config:
    """Read a TOML recipe, apply dotted overrides, and check every key and value."""
    tree = recipes.read(recipe)
    for override in overrides or []:
        recipes.apply(tree, override)
    return resolve(tree, subject=str(recipe))


def resolve(tree: dict[str, Any], *, subject: str) -> Config:
    """Check a tree of plain values; `subject` is named in the errors."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as invalid:
        raise ConfigError(
            "\n".join(_explain(error, subject) for error in invalid.errors())
        ) from None
    if config.push_to_hub and not config.hub_model_id:
        raise ConfigError(f"{subject}: push_to_hub needs hub_model_id, as OWNER/NAME.")
    if config.critic.backend not in LEARNING and config.refresh.update_critic:
        raise ConfigError(
            f'{subject}: critic.backend = "{config.critic.backend}" cannot refine itself. Set '
            f"refresh.update_critic = false, or use one of: {', '.join(LEARNING)}."
        )
    if config.rounds and not config.align.rank and config.generator.torch_dtype != "float32":
        raise ConfigError(
            f"{subject}: align.rank = 0 trains every weight, and generator.torch_dtype = "
            f'"{config.generator.torch_dtype}" rounds its updates away. Set it to "float32"; '
            'generator.mixed_precision and align.mixed_precision = "bf16" compute in bfloat16. '
            "Or set align.rank to train a LoRA."
        )
    return config


def leaves(config: Group, prefix: str = "") -> dict[str, Any]:
    """Flatten to `{"align.beta_dpo": 500.0, ...}` in declaration order."""
    flat: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Group):
            flat |= leaves(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = list(value) if isinstance(value, tuple) else value
    return flat


def from_leaves(flat: dict[str, Any], *, subject: str, overrides: Sequence[str] = ()) -> Config:
    """The inverse of `leaves`: read back a run's `config.json`, and apply dotted overrides."""
    tree = recipes.nested(flat)
    for override in overrides:
        recipes.apply(tree, override)
    return resolve(tree, subject=subject)


def _explain(error: Any, subject: str) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{subject}: {where}: {error['msg']} (got {error['input']!r})."
    near = difflib.get_close_matches(where, leaves(Config()), n=1, cutoff=0.0)
    return f"{subject}: unknown key `{where}`. Did you mean `{near[0]}`?"
