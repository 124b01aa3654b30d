"""Wan: flow matching over a causal video VAE (METHOD.md 4.1, 4.6).

x_s = (1 - s) x0 + s eps, target eps - x0, timestep 1000 s. Loads any folder of diffusers'
`WanPipeline`, from Wan2.1-T2V-1.3B to one that fits a test. Text encoder and VAE are loaded when
they are first used, as training needs neither. Leaves out Wan2.2's pair of transformers and its
per-token timesteps, and image-to-video; a folder that asks for them is refused.

Shapes: B batch, C channels, F frames, H and W pixels or latent cells, L tokens, D features.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from torch import Tensor

from dualipo.errors import ConfigError, ModelError
from dualipo.generator import frames, step_cache, weights
from dualipo.generator import noise as noise_draws

NUM_TRAIN_TIMESTEPS = 1000
SUPPORTED = "Supported are Wan2.1-T2V-1.3B and Wan2.1-T2V-14B, text to video."


class Wan:
    """A Wan pipeline; see `backbone.Backbone` for what each method means."""

    latent_axes = "BCFHW"
    lora_targets: tuple[str, ...] = (
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "ffn.net.0.proj",
        "ffn.net.2",
    )

    def __init__(
        self,
        folder: Path,
        *,
        module: WanTransformer3DModel,
        max_sequence_length: int,
        dtype: torch.dtype,
    ) -> None:
        self.module = module
        self.max_sequence_length = max_sequence_length
        self._folder = folder
        self._dtype = dtype
        settings = AutoencoderKLWan.load_config(folder / "vae")
        self._in_time = int(settings.get("scale_factor_temporal", 4))
        self._in_space = int(settings.get("scale_factor_spatial", 8))

    @property
    def device(self) -> torch.device:
        return self.module.device

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """As the stock pipeline: cleaned, padded to one length, zero past the true length."""
        text_BLD, _ = self._text_pipeline.encode_prompt(
            list(captions),
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_sequence_length,
            device=self.device,
        )
        return text_BLD

    @torch.no_grad()
    def encode_clips(self, frames_BFHWC: Tensor) -> Tensor:
        """The posterior's mode, (z - mean) / std per channel, in float32."""
        num_clips = frames.clips_at_once(num_pixels=frames_BFHWC[0, ..., 0].numel())
        parts = [
            self._vae.encode(frames.to_video(part, device=self.device)).latent_dist.mode()
            for part in frames_BFHWC.split(num_clips)
        ]
        mean_C, std_C = self._latent_moments
        return (torch.cat(parts) - mean_C) / std_C

    def load_decoder(self) -> None:
        _ = self._latent_moments  # reads the autoencoder too

    @torch.no_grad()
    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        """Frames rounded to uint8 on the CPU; black for a clip that is not finite (fault 23)."""
        mean_C, std_C = self._latent_moments
        latents_BCFHW = latents_BCFHW.to(self.device, torch.float32) * std_C + mean_C
        num_clips = frames.clips_at_once(
            num_pixels=latents_BCFHW[0, 0].numel() * self._in_time * self._in_space**2
        )
        parts = latents_BCFHW.split(num_clips)
        return torch.cat([frames.to_frames(self._vae.decode(part).sample) for part in parts])

    def latent_shape(self, *, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """[C, F, H, W] of one clip; a size that the model cannot make is refused."""
        in_time, in_space = self._in_time, self._in_space
        patch_frames, patch_height, patch_width = self.module.config.patch_size
        step_height, step_width = in_space * patch_height, in_space * patch_width
        num_latent_frames = (num_frames - 1) // in_time + 1
        fits = (num_frames - 1) % in_time == 0 == num_latent_frames % patch_frames
        if not fits or height % step_height or width % step_width:
            raise ConfigError(
                f"generator: {num_frames} frames of {height}x{width} do not fit {self._folder}. "
                f"Set num_frames to a multiple of {in_time} plus 1 whose latent frames are a "
                f"multiple of {patch_frames}, height to a multiple of {step_height}, width of "
                f"{step_width}."
            )
        return (
            self.module.config.in_channels,
            num_latent_frames,
            height // in_space,
            width // in_space,
        )

    def noise_levels(self, fractions_B: Tensor, *, shift: float) -> Tensor:
        """The fractions themselves, shifted towards noise."""
        return noise_draws.shift_levels(fractions_B, shift=shift)

    def schedule(self, *, shift: float) -> str:
        """Straight lines from clip to noise, and the shift of the levels on them."""
        return f"flow, shift {shift}"

    def noised(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """x_s = (1 - s) x0 + s eps."""
        levels_B1111 = levels_B.view(-1, 1, 1, 1, 1)
        return (1.0 - levels_B1111) * latents + levels_B1111 * noise

    def target(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """The velocity eps - x0, the same at every level."""
        return noise - latents

    def predict(self, noisy: Tensor, *, levels_B: Tensor, text_BLD: Tensor) -> Tensor:
        """One forward pass at timesteps 1000 s."""
        return self._forward(noisy, NUM_TRAIN_TIMESTEPS * levels_B, text_BLD)

    @torch.no_grad()
    def sample(
        self,
        text_BLD: Tensor,
        *,
        seeds: Sequence[int],
        num_frames: int,
        height: int,
        width: int,
        num_inference_steps: int,
        guidance_scale: float,
        empty_LD: Tensor | None = None,
    ) -> Tensor:
        """The stock sampler, from one noise per seed, guided against the empty caption."""
        assert len(seeds) == len(text_BLD), "one seed a caption"
        if guidance_scale > 1.0 and empty_LD is None:
            empty_LD = self._empty_caption_LD
        shape = self.latent_shape(num_frames=num_frames, height=height, width=width)
        latents_BCFHW = noise_draws.gaussian(shape, draws=seeds).to(self.device)
        # A scheduler remembers its past predictions, so each batch has a fresh one.
        scheduler = type(self._scheduler).from_config(self._scheduler.config)
        scheduler.set_timesteps(num_inference_steps, device=self.device)
        for timestep in scheduler.timesteps:
            timestep_B = timestep.expand(len(seeds))
            with step_cache.branch(self.module, "caption"):
                velocity = self._forward(latents_BCFHW, timestep_B, text_BLD)
            if guidance_scale > 1.0 and empty_LD is not None:
                empty_BLD = empty_LD.expand_as(text_BLD)
                with step_cache.branch(self.module, "free"):
                    free = self._forward(latents_BCFHW, timestep_B, empty_BLD)
                velocity = free + guidance_scale * (velocity - free)
            latents_BCFHW = scheduler.step(velocity, timestep, latents_BCFHW, return_dict=False)[0]
        return latents_BCFHW

    def hash(self) -> str:
        return weights.hash_of(self.module)

    def save(self, folder: Path) -> None:
        weights.publish(self.module, folder)

    def _forward(self, noisy: Tensor, timestep_B: Tensor, text_BLD: Tensor) -> Tensor:
        dtype = self.module.dtype
        return self.module(
            hidden_states=noisy.to(dtype),
            timestep=timestep_B,
            encoder_hidden_states=text_BLD.to(self.device, dtype),
            return_dict=False,
        )[0].float()

    @functools.cached_property
    def _text_pipeline(self) -> WanPipeline:
        return _stock(self._folder, transformer=None, vae=None, dtype=self._dtype).to(self.device)

    @functools.cached_property
    def _scheduler(self) -> Any:
        others = dict.fromkeys(("transformer", "vae", "text_encoder", "tokenizer"))
        return _stock(self._folder, **others).scheduler

    @functools.cached_property
    def _vae(self) -> AutoencoderKLWan:
        vae = AutoencoderKLWan.from_pretrained(
            self._folder / "vae", dtype=torch.float32, use_safetensors=True
        )
        return vae.requires_grad_(False).eval().to(self.device)

    @functools.cached_property
    def _latent_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation per channel, shaped to broadcast over BCFHW."""
        moments = (self._vae.config.latents_mean, self._vae.config.latents_std)
        mean, std = (torch.tensor(m, device=self.device).view(1, -1, 1, 1, 1) for m in moments)
        return mean, std

    @functools.cached_property
    def _empty_caption_LD(self) -> Tensor:
        return self.encode_text([""])[0]


def load(
    folder: Path,
    *,
    transformer_folder: Path,
    max_sequence_length: int,
    dtype: torch.dtype,
    device: str,
) -> Wan:
    """Open a WanPipeline folder; only the transformer is read at once."""
    settings = WanTransformer3DModel.load_config(transformer_folder)
    require_supported(folder, WanPipeline.load_config(folder), settings)
    module = weights.read_transformer(
        WanTransformer3DModel, transformer_folder, dtype=dtype, device=device
    )
    return Wan(
        folder,
        module=module,
        max_sequence_length=max_sequence_length,
        dtype=dtype,
    )


def require_supported(folder: Path, parts: dict[str, Any], transformer: dict[str, Any]) -> None:
    """Refuse the relatives that share the pipeline's or the transformer's class."""
    in_channels, out_channels = (transformer.get(k, 16) for k in ("in_channels", "out_channels"))
    found = {
        "Wan2.2 (two transformers)": parts.get("boundary_ratio") is not None,
        "Wan2.2 (a timestep per token)": parts.get("expand_timesteps"),
        "an image-to-video model (it takes an image's features)": (
            transformer.get("image_dim") is not None
        ),
        f"an image-to-video model ({in_channels} channels in, {out_channels} out)": (
            in_channels != out_channels
        ),
    }
    for what, is_so in found.items():
        if is_so:
            raise ModelError(f"{folder}: {what}, which is not supported. {SUPPORTED}")


def _stock(folder: Path, **parts: Any) -> WanPipeline:
    return WanPipeline.from_pretrained(folder, use_safetensors=True, local_files_only=True, **parts)
