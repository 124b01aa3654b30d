"""The settings of sampling: where captions come from, and how the generator makes clips of them."""

from typing import Literal

from pydantic import Field

from dualipo.config.fields import MAX_COUNT, Group, MixedPrecision, WeightsDtype


class Prompts(Group):
    """The captions: where they come from, and how many of them a run uses for what."""

    source: Literal["world", "file"] = Field(
        "world",
        description='The source of captions: "world" makes them by the grammar of the embedded '
        'world, "file" reads the file that prompts.path names and is the default where that is '
        "set.",
    )
    path: str | None = Field(
        None,
        description='The captions that prompts.source = "file" reads: a folder that `dualipo '
        "captions` made, a parquet, CSV, JSON or JSON Lines file, or UTF-8 text with one caption a "
        "line.",
    )
    test_path: str | None = Field(
        None,
        description="The captions of the test clips, in a file like that of prompts.path: its "
        "first prompts.num_test_prompts are taken, the same ones whatever the seed, so that runs "
        "compare; null draws them from prompts.path.",
    )
    monitor_path: str | None = Field(
        None,
        description="The captions of the monitor's clips, in a file like that of prompts.path: its "
        "first prompts.num_monitor_prompts are taken; null draws them from prompts.path.",
    )
    right_to_left: bool = Field(
        False,
        description="Whether captions in Arabic, Hebrew and other scripts that are written from "
        "right to left are used; false refuses them, as most generators do not know them.",
    )
    num_prompts: int = Field(
        48,
        ge=1,
        le=MAX_COUNT,
        description="The number of prompts of each round, none of which is used twice.",
    )
    num_monitor_prompts: int = Field(
        24,
        ge=1,
        le=MAX_COUNT,
        description="The number of prompts whose clips measure every round for the refresh of the "
        "critic and the stopping rule.",
    )
    num_test_prompts: int = Field(
        64,
        ge=0,
        le=MAX_COUNT,
        description="The number of prompts whose clips only people see, in the report's gallery "
        "and in a blind study (16 by default for captions of a file); the embedded world's oracle "
        "scores those of its own captions.",
    )


class Generator(Group):
    """The text-to-video model, and how it samples clips."""

    pretrained_model_name_or_path: str = Field(
        "embedded",
        description="The generator: a folder in diffusers' layout, or a small model that ships, "
        '"embedded", "embedded-large" or "embedded-cogvideox".',
    )
    torch_dtype: WeightsDtype = "float32"
    num_candidates: int = Field(
        8,
        ge=2,
        le=10_000,
        description="The number of clips that are sampled for each prompt of a round; more make "
        "the best and the worst differ more, and take longer.",
    )
    num_inference_steps: int = Field(
        10,
        ge=1,
        le=10_000,
        description="The number of denoising steps of a clip; more give better clips and take "
        "longer.",
    )
    guidance_scale: float = Field(
        2.5,
        ge=0,
        le=1_000,
        description="The strength of classifier-free guidance towards the caption: above 1 every "
        "denoising step costs twice as much, and 1 or less is no guidance.",
    )
    num_frames: int = Field(9, ge=1, le=100_000, description="The length of a clip in frames.")
    height: int = Field(32, ge=8, le=16_384, description="The height of a clip in pixels.")
    width: int = Field(32, ge=8, le=16_384, description="The width of a clip in pixels.")
    fps: int = Field(
        8,
        ge=1,
        le=240,
        description="The frame rate of stored clips in frames a second, to which real clips are "
        "converted.",
    )
    max_sequence_length: int = Field(
        32,
        ge=1,
        le=65_536,
        description="The number of text tokens to which every caption is cut or filled up.",
    )
    sample_batch_size: int = Field(
        32,
        ge=1,
        le=1_000_000,
        description="The number of clips that are denoised in one forward pass; more need more "
        "memory.",
    )
    mixed_precision: MixedPrecision = "no"
    cpu_offload: bool = Field(
        False,
        description="Whether the text encoder and the autoencoder wait in the host's memory while "
        "they have nothing to do, so that the device holds one of them at a time beside the "
        "transformer; it takes time to move them.",
    )
    vae_tiling: bool = Field(
        False,
        description="Whether clips are encoded and decoded in overlapping tiles, which needs less "
        "memory and changes frames a little where tiles meet.",
    )
    attention_backend: Literal[
        "native", "flash", "_flash_3", "sage", "xformers", "_native_math"
    ] = Field(
        "native",
        description='The attention kernel of diffusers that Wan samples with: "native" or '
        '"_native_math" of torch itself, or that of a package, "flash", "_flash_3", "xformers" or '
        '"sage", which computes in 8 bits; trainings use torch\'s own.',
    )
    compile: bool = Field(
        False,
        description="Whether the transformer's blocks are compiled before clips are sampled, which "
        "is faster after a slow first clip and rounds differently.",
    )
    latents_dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description='The number format of stored latents: "float32", or "bfloat16" for half the '
        "disk space.",
    )
    keep_latents: bool = Field(
        False,
        description="Whether the latents and text embeddings of finished rounds stay on disk, "
        "where the run does not read them again.",
    )
    clip_qp: int = Field(
        0,
        ge=0,
        le=51,
        description="The x264 quantizer of stored clips: a larger one makes smaller files of "
        "lower quality, and 0 is lossless.",
    )
    step_cache: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="The relative change of the transformer's first block up to which a denoising "
        "step skips the other blocks; a larger one is faster and less exact, and 0 skips nothing.",
    )
