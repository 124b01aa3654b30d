"""CogVideoX: v-prediction under zero terminal SNR, one attention for text and video (METHOD.md 4).

x_t = sqrt(a) x0 + sqrt(1 - a) eps, target v = sqrt(a) eps - sqrt(1 - a) x0; a is the cumulative
product of the folder's own scheduler, SNR shift and zero terminal SNR included. A noise level is
t / 1000, t in 0..999, so that levels lie in [0, 1) as Wan's do. CogVideoX-2B adds sin-cos positions
itself; 5B turns by rotary embeddings that must be handed to every forward pass: without them it
runs, and is wrong. Leaves out CogVideoX-1.5 and image-to-video, whose folders are refused, and
dynamic guidance.

Shapes: B batch, F frames, C channels, H and W pixels or latent cells, L tokens, D features, T the
schedule's timesteps.
"""

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDDIMScheduler,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import Tensor

from dualipo.errors import ConfigError, ModelError
from dualipo.generator import frames
from dualipo.generator.diffusers_backbone import (
    ATTENTION_LAYERS,
    NUM_TRAIN_TIMESTEPS,
    DiffusersBackbone,
    SamplerStep,
)
from dualipo.model_files.settings_files import RESTORE, are_numbers


class CogVideoX(DiffusersBackbone):
    """A CogVideoX pipeline."""

    latent_axes = "BFCHW"
    lora_targets: tuple[str, ...] = (*ATTENTION_LAYERS, "ff.net.0.proj", "ff.net.2")
    pipeline_class = CogVideoXPipeline
    transformer_class = CogVideoXTransformer3DModel
    vae_class = AutoencoderKLCogVideoX
    supported = "Supported are CogVideoX-2B and CogVideoX-5B, text to video."
    size_keys = ("latent_channels", "text_embed_dim")

    def __init__(self, folder: Path, **parts: Any) -> None:
        super().__init__(folder, **parts)
        self._rotary: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    @classmethod
    def _relatives(cls, index: Mapping[str, Any], transformer: Mapping[str, Any]) -> dict[str, Any]:
        learned = "use_learned_positional_embeddings"
        return {
            "an image-to-video model (a learned position)": transformer.get(learned),
            "CogVideoX-1.5 (patches over time)": transformer.get("patch_size_t"),
        }

    @classmethod
    def _require_settings(
        cls, folder: Path, transformer: Mapping[str, Any], max_sequence_length: int
    ) -> None:
        if dropout := transformer.get("dropout"):
            raise ModelError(
                f"{folder}: its transformer has a dropout of {dropout}, where the reference's "
                "errors are measured once, on the same network. Set dropout to 0 in "
                "transformer/config.json."
            )
        text_length = transformer.get("max_text_seq_length", 226)
        if max_sequence_length != text_length:
            raise ConfigError(
                f"{folder}: its transformer takes {text_length} text tokens, not "
                f"{max_sequence_length}. Set generator.max_sequence_length={text_length}."
            )

    @classmethod
    def refuse_schedule(cls, folder: Path, scheduler: Any) -> None:
        """Refuse a scheduler that does not predict velocity under zero terminal SNR."""
        predicts = scheduler.config.get("prediction_type")
        is_zero = scheduler.config.get("rescale_betas_zero_snr")
        is_own = isinstance(scheduler, CogVideoXDDIMScheduler | CogVideoXDPMScheduler)
        if not is_own or predicts != "v_prediction" or not is_zero:
            raise ModelError(
                f"{folder}: its scheduler is {type(scheduler).__name__} with prediction_type "
                f"{predicts!r}, rescale_betas_zero_snr {is_zero}, where CogVideoX's own is needed, "
                "with v_prediction under zero terminal SNR. Restore scheduler_config.json and the "
                "index from the published model."
            )
        kept_T = scheduler.alphas_cumprod
        falls = bool((kept_T.diff() <= 0).all()) and kept_T[0] > 0.9 > 0.1 > kept_T[-1]
        if len(kept_T) != NUM_TRAIN_TIMESTEPS or not falls:
            raise ModelError(
                f"{folder}: its noise does not rise from a clip to noise alone in "
                f"{NUM_TRAIN_TIMESTEPS} steps (betas, snr_shift_scale). {RESTORE}"
            )

    @classmethod
    def refuse_latents(cls, folder: Path, config: Mapping[str, Any]) -> None:
        """Refuse an autoencoder without a factor that scales its latents."""
        factor: Any = config.get("scaling_factor")
        if not are_numbers([factor], 1) or factor <= 0 or config.get("invert_scale_latents"):
            raise ModelError(
                f"{folder}: its config.json says scaling_factor {factor!r} and "
                f"invert_scale_latents {config.get('invert_scale_latents')}, where a factor above "
                f"0 multiplies what is encoded. {RESTORE}"
            )

    @torch.no_grad()
    def encode_clips(self, frames_BFHWC: Tensor) -> Tensor:
        """Encode frames as the posterior's mode times the scaling factor, in float32."""
        video_BCFHW = frames.to_video(frames_BFHWC, device=self.device).to(self._vae.dtype)
        with self._at_work(self._vae):
            latents_BCFHW = self._vae.encode(video_BCFHW).latent_dist.mode().float()
        return latents_BCFHW.transpose(1, 2) * self._vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, latents_BFCHW: Tensor) -> Tensor:
        """Decode as the stock pipeline does, clip by clip; black for a clip that is not finite."""
        latents_BCFHW = latents_BFCHW.to(self.device, self._vae.dtype).transpose(1, 2)
        latents_BCFHW = latents_BCFHW / self._vae.config.scaling_factor
        with self._at_work(self._vae):
            return frames.to_frames(self._vae.decode(latents_BCFHW).sample.float())

    def latent_shape(self, *, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Return [F, C, H, W] of one clip; refuse a size that the model cannot make.

        The autoencoder takes latent frames by twos after a first, so their number is odd.
        """
        in_time = int(self._vae_settings["temporal_compression_ratio"])
        in_space = 2 ** (len(self._vae_settings["block_out_channels"]) - 1)
        step = in_space * int(self.module.config.patch_size)
        if (num_frames - 1) % (2 * in_time) or height % step or width % step:
            raise ConfigError(
                f"generator: {num_frames} frames of {height}x{width} do not fit {self._folder}. "
                f"Set num_frames to a multiple of {2 * in_time} plus 1, height and width to "
                f"multiples of {step}."
            )
        num_latent_frames = (num_frames - 1) // in_time + 1
        cells = height // in_space, width // in_space
        return (num_latent_frames, self.module.config.in_channels, *cells)

    def noise_levels(self, fractions_B: Tensor, *, shift: float) -> Tensor:
        """Round to a timestep's thousandth; `shift` is for flow models, and is ignored."""
        return (NUM_TRAIN_TIMESTEPS * fractions_B).floor() / NUM_TRAIN_TIMESTEPS

    def schedule(self, *, shift: float) -> str:
        """Hash `a` at every timestep: betas, SNR shift and zero terminal SNR decide it."""
        alphas_T = self._scheduler.alphas_cumprod.double().contiguous()
        return f"alphas_cumprod {hashlib.sha256(alphas_T.numpy().tobytes()).hexdigest()}"

    def noised(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """Return x_t = sqrt(a) x0 + sqrt(1 - a) eps: nothing but noise at t = 999."""
        signal_B1111, noise_B1111 = self._shares(levels_B, latents)
        return signal_B1111 * latents + noise_B1111 * noise

    def target(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """Return the velocity sqrt(a) eps - sqrt(1 - a) x0."""
        signal_B1111, noise_B1111 = self._shares(levels_B, latents)
        return signal_B1111 * noise - noise_B1111 * latents

    def predict(self, noisy: Tensor, *, levels_B: Tensor, text_BLD: Tensor) -> Tensor:
        """Run one forward pass at the levels' timesteps."""
        return self._forward(noisy, _timesteps(levels_B), text_BLD)

    @property
    def _sampling_dtype(self) -> torch.dtype:
        dtype: torch.dtype = self.module.dtype
        return dtype

    def _step_of(self, scheduler: Any, draws: list[torch.Generator]) -> SamplerStep:
        if not isinstance(scheduler, CogVideoXDPMScheduler):
            return super()._step_of(scheduler, draws)
        # The multi-step solver takes its last prediction and timestep back, and draws noise.
        past: tuple[Tensor | None, Tensor | None] = None, None

        def step(prediction: Tensor, timestep: Tensor, latents_BFCHW: Tensor) -> Tensor:
            nonlocal past
            latents_BFCHW, clean_BFCHW = scheduler.step(
                prediction, past[0], timestep, past[1], latents_BFCHW, generator=draws
            )
            past = clean_BFCHW, timestep
            return latents_BFCHW

        return step

    def _forward(self, noisy: Tensor, timestep_B: Tensor, text_BLD: Tensor) -> Tensor:
        dtype = self.module.dtype
        prediction: Tensor = self.module(
            hidden_states=noisy.to(dtype),
            encoder_hidden_states=text_BLD.to(self.device, dtype),
            timestep=timestep_B.to(self.device),
            image_rotary_emb=self._rotary_embeddings(noisy),
            return_dict=False,
        )[0]
        return prediction.float()

    def _rotary_embeddings(self, latents_BFCHW: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return cosine and sine for the latents' grid, or None where positions are added (2B)."""
        settings = self.module.config
        if not settings.use_rotary_positional_embeddings:
            return None
        _, num_frames, _, height, width = latents_BFCHW.shape
        grid = height // settings.patch_size, width // settings.patch_size
        place = num_frames, *grid
        if place not in self._rotary:
            crop = get_resize_crop_region_for_grid(
                grid,
                settings.sample_width // settings.patch_size,
                settings.sample_height // settings.patch_size,
            )
            self._rotary[place] = get_3d_rotary_pos_embed(
                embed_dim=settings.attention_head_dim,
                crops_coords=crop,
                grid_size=grid,
                temporal_size=num_frames,
                device=self.device,
            )
        return self._rotary[place]

    def _shares(self, levels_B: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Return sqrt(a) and sqrt(1 - a) of each level, shaped to broadcast over BFCHW."""
        alphas = self._scheduler.alphas_cumprod[_timesteps(levels_B).cpu()].double()
        alphas = alphas.view(-1, *(1,) * (latents.ndim - 1))
        return alphas.sqrt().to(latents), (1.0 - alphas).sqrt().to(latents)

    @functools.cached_property
    def _vae(self) -> AutoencoderKLCogVideoX:
        vae = self._read_vae(self._dtype)
        vae.enable_slicing()  # one clip at a time: the same result, a batch's memory less
        return vae


def _timesteps(levels_B: Tensor) -> Tensor:
    return (NUM_TRAIN_TIMESTEPS * levels_B).round().long()
