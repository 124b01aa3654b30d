"""Holds every number by which the embedded models were made; no recipe changes them.

Pretraining runs once for the weights that ship; its settings are the record of how. They use the
same optimizer table as every other training (`config.Optimizer`).
"""

from dataclasses import dataclass
from typing import Literal

from dualipo.config import Align, Generator, Optimizer

SEED = 20261123
NUM_FRAMES = 9
FRAME_SIZE = 32

# The autoencoder: a latent position holds 8x8 pixels of one frame. A patch of the transformer joins
# three frames, so that a clip has 48 large tokens.
VAE_CHANNELS = 24
VAE_BASE = 56
VAE_LATENT_NOISE = 0.05
TRANSFORMER_PATCH = (3, 1, 1)

# CogVideoX's autoencoder: a latent position holds 4x4 pixels of one frame or of four, so that a
# clip has 3 latent frames of 8x8, and 48 tokens in the transformer's patches of 2x2.
COG_VAE_BLOCKS = (16, 32, 32)
COG_VAE_CHANNELS = 16
COG_VAE_GROUPS = 4
COG_VAE_KL = 1e-4  # weight of the mean KL divergence against the mean squared error
COG_VAE_FOREGROUND = 4.0  # extra weight of a pixel that differs from the background

TEXT_LENGTH = 32
TEXT_WIDTH = 96
TEXT_ENCODER = {  # of either family, in the words of transformers' T5Config
    "d_model": TEXT_WIDTH,
    "d_kv": 24,
    "d_ff": 192,
    "num_layers": 2,
    "num_heads": 4,
    "dropout_rate": 0.0,
}
CAPTION_DROPOUT = 0.1
# How the gates and the recipes sample: unguided, so that the base has every fault of its corpus.
SAMPLING = Generator(guidance_scale=1.0, sample_batch_size=64, mixed_precision="bf16")
NUM_LATENT_SHARDS = 16
CLIPS_PER_SHARD = 2500
EMA_DECAY = 0.999

# The critic: SigLIP on 4x4 patches of 8x8 pixels, hence 4 visual tokens a frame.
TOWER_WIDTH = 96
TOWER_LAYERS = 4
CRITIC_WIDTH = 160
CRITIC_LAYERS = 5
CRITIC_HEADS = 5
CRITIC_FFN = 432
CRITIC_CONTEXT = 512
CRITIC_VOCABULARY = 640
# The clips that the critic learns from: of the world's painter, and of generators (`clip_pool`).
PROMPTS_PER_CLIP_SHARD = 128
NUM_DRAWN_SHARDS = 12
SHARDS_PER_GENERATOR = 6
GENERATED_TURNS = 3  # of four turns; the fourth is the drawn clips'
FRAMES_PER_CLIP_SEEN = 3  # frames that the tower's own stage takes of a clip


def _adamw(
    learning_rate: float, *, steps: int, batch: int, warmup: int, checkpoint: int
) -> Optimizer:
    return Optimizer(
        learning_rate=learning_rate,
        max_train_steps=steps,
        train_batch_size=batch,
        lr_scheduler="cosine",
        lr_warmup_steps=warmup,
        checkpointing_steps=checkpoint,
    )


def _muon(
    learning_rate: float, *, steps: int, batch: int, warmup: int, checkpoint: int = 250
) -> Optimizer:
    plain = _adamw(learning_rate, steps=steps, batch=batch, warmup=warmup, checkpoint=checkpoint)
    return plain.model_copy(update={"optimizer": "muon", "mixed_precision": "bf16"})


VAE_TRAINING = _adamw(4e-4, steps=2000, batch=8, warmup=100, checkpoint=250)
DECODER_TRAINING = _adamw(4e-4, steps=900, batch=8, warmup=50, checkpoint=300)
COG_VAE_TRAINING = _adamw(1e-3, steps=4000, batch=8, warmup=100, checkpoint=250)
TOWER_TRAINING = _muon(3e-3, steps=3000, batch=64, warmup=100)
CRITIC_TRAINING = _muon(3e-3, steps=4000, batch=32, warmup=200, checkpoint=200)
# The critic's last stage, on generators' clips alone: one frame differs from the next more often.
FAMILIAR_TRAINING = _muon(2e-3, steps=6000, batch=32, warmup=100, checkpoint=200)
GENERATOR_TRAINING = _muon(4e-3, steps=6000, batch=48, warmup=200)


@dataclass(frozen=True)
class CaptionShares:
    """Shares of the questions whose caption is not the clips' prompt.

    One attribute is altered; or the caption asks for another motion; or for another scene.
    """

    altered: float
    moved: float = 0.0
    other: float = 0.0


@dataclass(frozen=True)
class QuestionShares:
    """Shares of the questions that ask frame by frame, or about one frame; others ask in sentences.

    An answer frame by frame can go on with its last word; one about a single frame has to look.
    """

    frame_by_frame: float
    one_frame: float = 0.0


QUESTIONS = QuestionShares(frame_by_frame=0.4)
FAMILIAR_QUESTIONS = QuestionShares(frame_by_frame=0.2, one_frame=0.2)

# A critic whose captions are nearly always right about the motion learns to copy it from them.
CAPTIONS = CaptionShares(altered=0.25, moved=0.3, other=0.15)


@dataclass(frozen=True)
class Variant:
    """A generator that ships: the folders of it and its autoencoder, its sizes, its training."""

    family: Literal["wan", "cogvideox"]
    folder: str
    vae_folder: str
    width: int
    heads: int
    layers: int
    ffn: int
    training: Optimizer


_LARGE_TRAINING = GENERATOR_TRAINING.model_copy(
    update={"learning_rate": 3e-3, "max_train_steps": 4500}
)

# Folders lie below the weights. `large` has three times the parameters of `small`, and its
# autoencoder; half precision holds `large` and `cogvideox` in 30 MiB.
VARIANTS = {
    "small": Variant("wan", "generator", "generator/vae", 192, 6, 6, 512, GENERATOR_TRAINING),
    "large": Variant("wan", "generator-large", "generator/vae", 288, 9, 8, 864, _LARGE_TRAINING),
    "cogvideox": Variant(
        family="cogvideox",
        folder="generator-cogvideox",
        vae_folder="generator-cogvideox/vae",
        width=128,
        heads=4,
        layers=6,
        ffn=512,
        training=GENERATOR_TRAINING,
    ),
}

# Generators of several strengths, for the clips that the critic learns from (`lineages`).
NUM_LINEAGES = 3
LINEAGE_ROUNDS = 2
LINEAGE_PROMPTS = 96
LINEAGE_CANDIDATES = 8
LINEAGE_MIN_GAP = 0.15  # of the oracle's totals, between a pair's winner and loser
LINEAGE_REAL_CLIPS = 256
LINEAGE_ALIGN = Align(
    max_train_steps=60,
    train_batch_size=16,
    learning_rate=1e-4,
    beta_dpo=100,
    winner_nll_ratio=0.15,
    real_nll_ratio=0.5,
    real_batch_size=8,
    num_slots=4,
    mixed_precision="bf16",
)
