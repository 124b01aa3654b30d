"""Wan: flow matching over a causal video VAE (METHOD.md 4.1, 4.6).

x_s = (1 - s) x0 + s eps, target eps - x0, timestep 1000 s. Loads any folder of diffusers'
`WanPipeline`, from Wan2.1-T2V-1.3B to one that fits a test. Leaves out Wan2.2's pair of
transformers and its per-token timesteps, and image-to-video; a folder that asks for them is
refused.

Shapes: B batch, C channels, F frames, H and W pixels or latent cells, L tokens, D features.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import Tensor

from dualipo.errors import ConfigError, ModelError
from dualipo.generator import frames
from dualipo.generator.diffusers_backbone import (
    ATTENTION_LAYERS,
    NUM_TRAIN_TIMESTEPS,
    DiffusersBackbone,
)
from dualipo.generator.noise import shift_levels
from dualipo.model_files.settings_files import RESTORE, are_numbers

FLOW = "flow_prediction"


class Wan(DiffusersBackbone):
    """A Wan pipeline."""

    latent_axes = "BCFHW"
    lora_targets: tuple[str, ...] = (*ATTENTION_LAYERS, "ffn.net.0.proj", "ffn.net.2")
    pipeline_class = WanPipeline
    transformer_class = WanTransformer3DModel
    vae_class = AutoencoderKLWan
    supported = "Supported are Wan2.1-T2V-1.3B and Wan2.1-T2V-14B, text to video."
    size_keys = ("z_dim", "text_dim")

    @classmethod
    def _relatives(cls, index: Mapping[str, Any], transformer: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "Wan2.2 (two transformers)": index.get("boundary_ratio") is not None
            or any(index.get("transformer_2") or ()),
            "Wan2.2 (a timestep per token)": index.get("expand_timesteps"),
            "an image-to-video model (it takes an image's features)": (
                transformer.get("image_dim") is not None
            ),
        }

    @classmethod
    def refuse_schedule(cls, folder: Path, scheduler: Any) -> None:
        """Refuse a scheduler that does not step along the flow from noise to clip."""
        config = scheduler.config
        is_flow = config.get("use_flow_sigmas") and config.get("prediction_type") == FLOW
        if not (is_flow or isinstance(scheduler, FlowMatchEulerDiscreteScheduler)):
            raise ModelError(
                f"{folder}: {type(scheduler).__name__} with prediction_type "
                f"{config.get('prediction_type')!r}, use_flow_sigmas "
                f"{config.get('use_flow_sigmas')}, where Wan predicts a flow. Restore "
                "scheduler_config.json and the index from the published model."
            )
        shift = config.get("flow_shift", config.get("shift", 1.0))
        if not are_numbers([shift], 1) or shift <= 0:
            raise ModelError(
                f"{folder}: its scheduler shifts the noise levels by {shift!r}, where a number "
                f"above 0 is needed. {RESTORE}"
            )
        if config.get("use_dynamic_shifting"):
            raise ModelError(
                f"{folder}: its scheduler shifts by the clip's size (use_dynamic_shifting), which "
                "Wan was not trained for. Set it to false in scheduler_config.json."
            )

    @classmethod
    def refuse_latents(cls, folder: Path, config: Mapping[str, Any]) -> None:
        """Refuse an autoencoder without a mean and a deviation for each channel of its latents."""
        moments: list[Any] = [config.get(name) for name in ("latents_mean", "latents_std")]
        has_all = all(are_numbers(values, config["z_dim"]) for values in moments)
        if not has_all or min(moments[1]) <= 0:
            raise ModelError(
                f"{folder}: its config.json needs a latents_mean and a latents_std above 0 for "
                f"each of the {config['z_dim']} channels. {RESTORE}"
            )

    @torch.no_grad()
    def encode_clips(self, frames_BFHWC: Tensor) -> Tensor:
        """Encode frames as the posterior's mode, (z - mean) / std per channel, in float32."""
        num_clips = frames.clips_at_once(num_pixels=frames_BFHWC[0, ..., 0].numel())
        with self._at_work(self._vae):
            parts = [
                self._vae.encode(frames.to_video(part, device=self.device)).latent_dist.mode()
                for part in frames_BFHWC.split(num_clips)
            ]
        mean_C, std_C = self._latent_moments
        return (torch.cat(parts) - mean_C) / std_C

    def load_decoder(self) -> None:
        """Read the autoencoder and its moments."""
        _ = self._latent_moments

    @torch.no_grad()
    def decode(self, latents_BCFHW: Tensor) -> Tensor:
        """Decode to frames, rounded to uint8 on the CPU; black for a clip that is not finite."""
        mean_C, std_C = self._latent_moments
        latents_BCFHW = latents_BCFHW.to(self.device, torch.float32) * std_C + mean_C
        num_clips = frames.clips_at_once(
            num_pixels=latents_BCFHW[0, 0].numel() * self._in_time * self._in_space**2
        )
        parts = latents_BCFHW.split(num_clips)
        with self._at_work(self._vae):
            return torch.cat([frames.to_frames(self._vae.decode(part).sample) for part in parts])

    def latent_shape(self, *, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Return [C, F, H, W] of one clip; refuse a size that the model cannot make."""
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
        cells = height // in_space, width // in_space
        if (longest := max(num_latent_frames, *cells)) > self.module.config.rope_max_seq_len:
            raise ConfigError(
                f"generator: {num_frames} frames of {height}x{width} are {longest} latent cells "
                f"along a side, but {self._folder} knows {self.module.config.rope_max_seq_len} "
                "places. Make the clips smaller."
            )
        return (self.module.config.in_channels, num_latent_frames, *cells)

    def noise_levels(self, fractions_B: Tensor, *, shift: float) -> Tensor:
        """Shift the fractions towards noise."""
        return shift_levels(fractions_B, shift=shift)

    def schedule(self, *, shift: float) -> str:
        """Name the straight lines from clip to noise, and the shift of the levels on them."""
        return f"flow, shift {shift}"

    def noised(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """Return x_s = (1 - s) x0 + s eps."""
        levels_B1111 = levels_B.view(-1, 1, 1, 1, 1)
        return (1.0 - levels_B1111) * latents + levels_B1111 * noise

    def target(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """Return the velocity eps - x0, the same at every level."""
        return noise - latents

    def predict(self, noisy: Tensor, *, levels_B: Tensor, text_BLD: Tensor) -> Tensor:
        """Run one forward pass at timesteps 1000 s."""
        return self._forward(noisy, NUM_TRAIN_TIMESTEPS * levels_B, text_BLD)

    def _forward(self, noisy: Tensor, timestep_B: Tensor, text_BLD: Tensor) -> Tensor:
        dtype = self.module.dtype
        prediction: Tensor = self.module(
            hidden_states=noisy.to(dtype),
            timestep=timestep_B,
            encoder_hidden_states=text_BLD.to(self.device, dtype),
            return_dict=False,
        )[0]
        return prediction.float()

    @property
    def _in_time(self) -> int:
        return int(self._vae_settings.get("scale_factor_temporal", 4))

    @property
    def _in_space(self) -> int:
        return int(self._vae_settings.get("scale_factor_spatial", 8))

    @functools.cached_property
    def _vae(self) -> AutoencoderKLWan:
        return self._read_vae(torch.float32)

    @functools.cached_property
    def _latent_moments(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation per channel, shaped to broadcast over BCFHW."""
        moments = (self._vae.config.latents_mean, self._vae.config.latents_std)
        mean, std = (torch.tensor(m, device=self.device).view(1, -1, 1, 1, 1) for m in moments)
        return mean, std
