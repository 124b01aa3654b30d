"""How the embedded models are made: every number in one place, nothing read from a recipe.

Pretraining runs once for the weights that ship; its settings are the record of how. They use the
same optimizer table as every other training (`config.Optimizer`).
"""

from dataclasses import dataclass
from typing import Literal

from dualipo.config import Generator, Optimizer

SEED = 20261123
NUM_FRAMES = 9
FRAME_SIZE = 32

# The autoencoder: 8x8 pixels of one frame a latent position; the transformer's patches take three
# frames together, so that a clip is 48 large tokens.
VAE_CHANNELS = 24
VAE_BASE = 56
VAE_LATENT_NOISE = 0.05
TRANSFORMER_PATCH = (3, 1, 1)

# CogVideoX's own: a latent position is 4x4 pixels of one frame or of four, so that a clip is 3
# latent frames of 8x8, and 48 tokens in the transformer's patches of 2x2.
COG_VAE_BLOCKS = (16, 32, 32)
COG_VAE_CHANNELS = 16
COG_VAE_GROUPS = 4
COG_VAE_KL = 1e-4  # a number of the latent, against squared error a pixel
COG_VAE_FOREGROUND = 4.0  # how much more a pixel counts that is not the background's

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
NUM_CLIP_SHARDS = 10  # of the base generator's clips, for the critic's last stage
PROMPTS_PER_CLIP_SHARD = 128
# By turns a shard: alignment moves a generator the way guidance does, and the critic goes with it.
CLIP_GUIDANCE = (1.0, 2.5)
FRAMES_PER_CLIP_SEEN = 3  # by the tower's own stage

VAE_TRAINING = Optimizer(
    learning_rate=4e-4,
    max_train_steps=2000,
    train_batch_size=8,
    lr_scheduler="cosine",
    lr_warmup_steps=100,
    checkpointing_steps=250,
)
COG_VAE_TRAINING = VAE_TRAINING.model_copy(update={"learning_rate": 1e-3, "max_train_steps": 4000})
DECODER_TRAINING = Optimizer(
    learning_rate=4e-4,
    max_train_steps=900,
    train_batch_size=8,
    lr_scheduler="cosine",
    lr_warmup_steps=50,
    checkpointing_steps=300,
)
TOWER_TRAINING = Optimizer(
    optimizer="muon",
    learning_rate=3e-3,
    max_train_steps=1500,
    train_batch_size=64,
    lr_scheduler="cosine",
    lr_warmup_steps=100,
    mixed_precision="bf16",
    checkpointing_steps=250,
)
CRITIC_TRAINING = Optimizer(
    optimizer="muon",
    learning_rate=3e-3,
    max_train_steps=4500,
    train_batch_size=32,
    lr_scheduler="cosine",
    lr_warmup_steps=200,
    mixed_precision="bf16",
    checkpointing_steps=250,
)
FAMILIAR_TRAINING = Optimizer(  # the critic's last stage: clips as the generator makes them
    optimizer="muon",
    learning_rate=1.5e-3,
    max_train_steps=3000,
    train_batch_size=32,
    lr_scheduler="cosine",
    lr_warmup_steps=50,
    mixed_precision="bf16",
    checkpointing_steps=200,
)
GENERATOR_TRAINING = Optimizer(
    optimizer="muon",
    learning_rate=4e-3,
    max_train_steps=6000,
    train_batch_size=48,
    lr_scheduler="cosine",
    lr_warmup_steps=200,
    mixed_precision="bf16",
    checkpointing_steps=250,
)


@dataclass(frozen=True)
class Variant:
    """A generator that ships: its folder, its autoencoder's, its transformer and its training."""

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
