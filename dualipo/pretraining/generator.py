"""Makes the embedded generator: a tiny Wan pipeline, pretrained on the noisy web corpus.

Web clips are encoded once; the transformer and the text encoder then learn flow matching together
(METHOD.md 4.1: x_s = (1 - s) x0 + s eps, target eps - x0), s uniform, the caption dropped in a
tenth of the items for guidance. The averaged weights are what ships. Being a base model, it
learns the corpus' faults with the rest.

Legend: B batch, C channels, F frames, H, W latent cells, L tokens, D text features, N clips.
"""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from torch import Tensor, nn
from transformers import UMT5EncoderModel

from dualipo.pretraining import settings
from dualipo.pretraining.text import build_text_encoder, build_tokenizer
from dualipo.pretraining.vae import to_tensor
from dualipo.seeds import derive
from dualipo.store import tensors
from dualipo.training.loop import Metrics, train
from dualipo.world.corpus import web_clip


def build_transformer() -> WanTransformer3DModel:
    """Return the untrained transformer."""
    patch = settings.TRANSFORMER_PATCH
    return WanTransformer3DModel(
        patch_size=patch,
        num_attention_heads=settings.GENERATOR_HEADS,
        attention_head_dim=settings.GENERATOR_WIDTH // settings.GENERATOR_HEADS,
        in_channels=settings.VAE_CHANNELS,
        out_channels=settings.VAE_CHANNELS,
        text_dim=settings.TEXT_WIDTH,
        freq_dim=64,
        ffn_dim=settings.GENERATOR_FFN,
        num_layers=settings.GENERATOR_LAYERS,
        rope_max_seq_len=32,
    )


class FlowMatching:
    """Squared error of the predicted velocity, with the caption dropped at times."""

    def __init__(self, transformer: WanTransformer3DModel, text_encoder: UMT5EncoderModel) -> None:
        self.transformer = transformer
        self.text_encoder = text_encoder

    def prepare(self, micro_batches: list[Any]) -> None:
        """Nothing is shared by the batch."""

    def loss(self, micro_batch: dict[str, Tensor], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the mean squared error of the velocity over the batch."""
        clean_BCFHW = micro_batch["latents"]
        mask_BL = micro_batch["attention_mask"]
        text_BLD = self.text_encoder(micro_batch["input_ids"], mask_BL).last_hidden_state
        text_BLD = text_BLD * mask_BL[..., None]
        levels_B = torch.rand(len(clean_BCFHW), device=clean_BCFHW.device)
        noise_BCFHW = torch.randn_like(clean_BCFHW)
        mixed_BCFHW = torch.lerp(clean_BCFHW, noise_BCFHW, levels_B.view(-1, 1, 1, 1, 1))
        velocity_BCFHW = self.transformer(
            hidden_states=mixed_BCFHW,
            timestep=1000 * levels_B,
            encoder_hidden_states=text_BLD,
            return_dict=False,
        )[0]
        return (velocity_BCFHW.float() - (noise_BCFHW - clean_BCFHW)).square().mean(), {}

    def state(self) -> dict[str, Any]:
        """Nothing to keep."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Nothing to put back."""


class LatentCorpus:
    """The web corpus as normalised latents and tokens: batches are a function of the step."""

    def __init__(self, vae: AutoencoderKLWan, tokenizer: Any, work: Path, device: str) -> None:
        self._device = device
        shards = [
            _encode_shard(vae, work / f"latents-{shard:02d}.safetensors", shard)
            for shard in range(settings.NUM_LATENT_SHARDS)
        ]
        self._latents_NCFHW = torch.cat(shards)
        self._captions = [web_clip(_clip_seed(n)).caption for n in range(len(self._latents_NCFHW))]
        self._tokenizer = tokenizer

    def batch(self, step: int) -> dict[str, Tensor]:
        """The clips and tokens of a step; a tenth of the captions is empty."""
        size = settings.GENERATOR_TRAINING.train_batch_size
        rng = torch.Generator().manual_seed(derive(settings.SEED, "generator batch", step))
        chosen_B = torch.randint(len(self._captions), (size,), generator=rng)
        dropped_B = torch.rand(size, generator=rng) < settings.CAPTION_DROPOUT
        captions = [
            "" if dropped else self._captions[n]
            for n, dropped in zip(chosen_B.tolist(), dropped_B.tolist(), strict=True)
        ]
        tokens = self._tokenizer(
            captions, padding="max_length", max_length=settings.TEXT_LENGTH, return_tensors="pt"
        )
        return {
            "latents": self._latents_NCFHW[chosen_B].float().to(self._device),
            "input_ids": tokens.input_ids.to(self._device),
            "attention_mask": tokens.attention_mask.to(self._device),
        }


def _clip_seed(number: int) -> int:
    return derive(settings.SEED, "generator", number)


@torch.no_grad()
def _encode_shard(vae: AutoencoderKLWan, path: Path, shard: int) -> Tensor:
    """Encode a shard of web clips once: float16 [N, C, F, H, W], normalised."""
    if not path.exists():
        numbers = range(shard * settings.CLIPS_PER_SHARD, (shard + 1) * settings.CLIPS_PER_SHARD)
        mean, std = (
            torch.tensor(values).view(1, -1, 1, 1, 1)
            for values in (vae.config.latents_mean, vae.config.latents_std)
        )
        encoded = []
        for start in range(0, len(numbers), 50):
            clips = [web_clip(_clip_seed(n)).frames_FHW3 for n in numbers[start : start + 50]]
            latents = vae.encode(to_tensor(clips).to(vae.device)).latent_dist.mode().cpu()
            encoded.append(((latents - mean) / std).half())
        tensors.save(path, {"latents": torch.cat(encoded)}, metadata={"axes": "NCFHW"})
    return tensors.load(path)["latents"]


def pretrain(folder: Path, work: Path, *, device: str = "cpu", on_step: Any = None) -> None:
    """Train on latents of the autoencoder in `folder`/vae and save the whole pipeline there."""
    vae = AutoencoderKLWan.from_pretrained(folder / "vae").eval().to(device)
    torch.manual_seed(derive(settings.SEED, "generator weights") % 2**32)
    tokenizer = build_tokenizer()
    model = nn.ModuleDict(
        {"text_encoder": build_text_encoder(tokenizer), "transformer": build_transformer()}
    ).to(device)
    result = train(
        model,
        FlowMatching(model["transformer"], model["text_encoder"]),  # type: ignore[arg-type]
        batches=LatentCorpus(vae, tokenizer, work, device).batch,
        settings=settings.GENERATOR_TRAINING,
        checkpoint_folder=work / "generator",
        seed=settings.SEED,
        on_step=on_step,
        ema_decay=settings.EMA_DECAY,
    )
    assert result.ema is not None
    model.load_state_dict(result.ema, strict=False)
    save_pipeline(folder, model=model, vae=vae, tokenizer=tokenizer)


def save_pipeline(
    folder: Path, *, model: nn.ModuleDict, vae: AutoencoderKLWan, tokenizer: Any
) -> None:
    """Save the pipeline in half precision, in the layout of diffusers' `WanPipeline`."""
    vae.register_to_config(_name_or_path="")
    for part in (model, vae):
        part.to("cpu", torch.float16)
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    pipeline = WanPipeline(
        tokenizer=tokenizer,
        text_encoder=model["text_encoder"],
        vae=vae,
        scheduler=scheduler,
        transformer=model["transformer"],
    )
    pipeline.save_pretrained(folder, safe_serialization=True)
