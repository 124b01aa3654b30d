"""Trains the embedded generators: tiny pipelines, pretrained on the noisy web corpus.

Web clips are encoded once; the transformer and the text encoder then learn the backbone's own
target together (METHOD.md 4.1: Wan's flow, CogVideoX's velocity), levels uniform, the caption
dropped in a tenth of the items for guidance. Noise, target and prediction are those of
`dualipo.generator`, so that alignment and sampling continue from the same model. The averaged
weights ship. Being base models, they also learn the corpus' faults.

Legend: B batch, L tokens, D text features, N clips; a latent's own axes are written `...`.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import DiffusionPipeline
from torch import Tensor, nn

from dualipo.errors import ConfigError
from dualipo.generator import backbone
from dualipo.generator.backbone import Backbone
from dualipo.generator.training_errors import single_errors
from dualipo.pretraining import cogvideox, settings, wan
from dualipo.pretraining.settings import Variant
from dualipo.pretraining.text import build_tokenizer
from dualipo.seeds import derive
from dualipo.store import atomic, tensors
from dualipo.training.loop import Metrics, Objective, train
from dualipo.world.corpus import web_clip

FAMILIES: dict[str, Any] = {"wan": wan, "cogvideox": cogvideox}
SMALL = settings.VARIANTS["small"]
_ENCODE = 50  # clips a pass through the autoencoder


class Denoising(Objective):
    """The backbone's denoising error on a batch of latents and captions."""

    def __init__(self, model: Backbone, text_encoder: nn.Module, *, family: str) -> None:
        self._model = model
        self._text_encoder = text_encoder
        self._embed = FAMILIES[family].embed

    def loss(self, micro_batch: dict[str, Tensor], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the mean squared error of the prediction over the batch."""
        clean = micro_batch["latents"]
        text_BLD = self._embed(
            self._text_encoder, micro_batch["input_ids"], micro_batch["attention_mask"]
        )
        fractions_B = torch.rand(len(clean), device=clean.device)
        errors_B = single_errors(
            self._model,
            latents=clean,
            text_BLD=text_BLD,
            levels_B=self._model.noise_levels(fractions_B, shift=1.0),
            noise=torch.randn_like(clean),
        )
        return errors_B.mean(), {}


class LatentCorpus:
    """The web corpus as normalised latents and tokens; a batch is a function of its step.

    Shards are named after the family, so that generators with the same autoencoder share them.
    """

    def __init__(
        self, model: Backbone, tokenizer: Any, work: Path, *, variant: Variant, vae_folder: Path
    ) -> None:
        self._device = model.device
        prefix = "latents" if variant.family == "wan" else f"latents-{variant.family}"
        vae_hash = atomic.sha256_file(vae_folder / "diffusion_pytorch_model.safetensors")
        shards = [
            _encode_shard(model, work / f"{prefix}-{shard:02d}.safetensors", shard, vae_hash)
            for shard in range(settings.NUM_LATENT_SHARDS)
        ]
        self._latents = torch.cat(shards)
        self._captions = [web_clip(_clip_seed(n)).caption for n in range(len(self._latents))]
        self._tokenizer = tokenizer
        self._size = variant.training.train_batch_size

    def batch(self, step: int) -> dict[str, Tensor]:
        """Return the latents and tokens of a step; a tenth of the captions is empty."""
        rng = torch.Generator().manual_seed(derive(settings.SEED, "generator batch", step))
        chosen_B = torch.randint(len(self._captions), (self._size,), generator=rng)
        dropped_B = torch.rand(self._size, generator=rng) < settings.CAPTION_DROPOUT
        captions = [
            "" if dropped else self._captions[n]
            for n, dropped in zip(chosen_B.tolist(), dropped_B.tolist(), strict=True)
        ]
        tokens = self._tokenizer(
            captions, padding="max_length", max_length=settings.TEXT_LENGTH, return_tensors="pt"
        )
        return {
            "latents": self._latents[chosen_B].float().to(self._device),
            "input_ids": tokens.input_ids.to(self._device),
            "attention_mask": tokens.attention_mask.to(self._device),
        }


def _clip_seed(number: int) -> int:
    return derive(settings.SEED, "generator", number)


def _encode_shard(model: Backbone, path: Path, shard: int, vae_hash: str) -> Tensor:
    """Encode a shard of web clips, unless it exists; return float16 [N, ...], normalised."""
    if not path.exists():
        first = shard * settings.CLIPS_PER_SHARD
        encoded = []
        for start in range(0, settings.CLIPS_PER_SHARD, _ENCODE):
            numbers = range(first + start, first + min(start + _ENCODE, settings.CLIPS_PER_SHARD))
            frames_BFHWC = np.stack([web_clip(_clip_seed(n)).frames_FHW3 for n in numbers])
            encoded.append(model.encode_clips(torch.from_numpy(frames_BFHWC)).cpu().half())
        metadata = {"axes": f"N{model.latent_axes[1:]}", "vae": vae_hash}
        tensors.save(path, {"latents": torch.cat(encoded)}, metadata=metadata)
    # Older shards do not name their autoencoder.
    if tensors.read_metadata(path).get("vae", vae_hash) != vae_hash:
        raise ConfigError(
            f"{path}: another autoencoder encoded these latents, so the checkpoints beside them "
            "are of no use either. Choose another --work."
        )
    return tensors.load(path)["latents"]


def pretrain(
    folder: Path,
    work: Path,
    *,
    variant: Variant = SMALL,
    device: str = "cpu",
    on_step: Any = None,
) -> None:
    """Train a generator on its variant's autoencoder, and save the pipeline to `folder`."""
    vae_folder = folder.parent / variant.vae_folder
    pipeline, model = untrained(vae_folder, work, variant, device=device)
    corpus = LatentCorpus(model, pipeline.tokenizer, work, variant=variant, vae_folder=vae_folder)
    trained = nn.ModuleDict({"text_encoder": pipeline.text_encoder, "transformer": model.module})
    result = train(
        trained,
        Denoising(model, pipeline.text_encoder, family=variant.family),
        batches=corpus.batch,
        settings=variant.training,
        checkpoint_folder=work / variant.folder,
        seed=settings.SEED,
        on_step=on_step,
        ema_decay=settings.EMA_DECAY,
    )
    assert result.ema is not None
    trained.load_state_dict(result.ema, strict=False)
    pipeline.register_modules(transformer=model.module)
    save_pipeline(folder, pipeline)


def untrained(
    vae_folder: Path, work: Path, variant: Variant, *, device: str = "cpu"
) -> tuple[DiffusionPipeline, Backbone]:
    """Build the pipeline with random weights, and the backbone that loads the same weights."""
    family = FAMILIES[variant.family]
    torch.manual_seed(derive(settings.SEED, "generator weights") % 2**32)
    pipeline = family.build(family.load_vae(vae_folder), build_tokenizer(), variant)
    start = work / f"{variant.folder}-start"
    pipeline.save_pretrained(start, safe_serialization=True)
    pipeline.text_encoder.to(device)
    model = backbone.load(start, max_sequence_length=settings.TEXT_LENGTH, device=device)
    return pipeline, model


def save_pipeline(folder: Path, pipeline: DiffusionPipeline) -> None:
    """Save the pipeline in half precision, in diffusers' layout."""
    for part in (pipeline.vae, pipeline.transformer):
        part.register_to_config(_name_or_path="")
    for part in (pipeline.vae, pipeline.transformer, pipeline.text_encoder):
        nn.Module.to(part, "cpu", torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
