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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLCogVideoX,
    CogVideoXDPMScheduler,
    CogVideoXPipeline,
    CogVideoXTransformer3DModel,
)
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from dualipo.errors import ConfigError, ModelError
from dualipo.generator import frames, step_cache, weights

NUM_TRAIN_TIMESTEPS = 1000
SUPPORTED = "Supported are CogVideoX-2B and CogVideoX-5B, text to video."


class CogVideoX:
    """A CogVideoX pipeline; see `backbone.Backbone` for what each method means."""

    latent_axes = "BFCHW"
    lora_targets: tuple[str, ...] = (
        "to_q",
        "to_k",
        "to_v",
        "to_out.0",
        "ff.net.0.proj",
        "ff.net.2",
    )

    def __init__(
        self,
        folder: Path,
        *,
        module: CogVideoXTransformer3DModel,
        max_sequence_length: int,
        dtype: torch.dtype,
    ) -> None:
        self.module = module
        self.max_sequence_length = max_sequence_length
        self._folder = folder
        self._dtype = dtype
        self._vae_settings = dict(AutoencoderKLCogVideoX.load_config(folder / "vae"))
        self._rotary: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    @property
    def device(self) -> torch.device:
        return self.module.device

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """As the stock pipeline: padded to one length, the padding is attended to as well."""
        text_BLD, _ = self._text_pipeline.encode_prompt(
            list(captions),
            do_classifier_free_guidance=False,
            max_sequence_length=self.max_sequence_length,
            device=self.device,
        )
        return text_BLD

    @torch.no_grad()
    def encode_clips(self, frames_BFHWC: Tensor) -> Tensor:
        """The posterior's mode times the scaling factor, frames before channels, in float32."""
        video_BCFHW = frames.to_video(frames_BFHWC, device=self.device).to(self._vae.dtype)
        latents_BCFHW = self._vae.encode(video_BCFHW).latent_dist.mode().float()
        return latents_BCFHW.transpose(1, 2) * self._vae.config.scaling_factor

    def load_decoder(self) -> None:
        _ = self._vae

    @torch.no_grad()
    def decode(self, latents_BFCHW: Tensor) -> Tensor:
        """As the stock pipeline, clip by clip; black for a clip that is not finite (fault 23)."""
        latents_BCFHW = latents_BFCHW.to(self.device, self._vae.dtype).transpose(1, 2)
        latents_BCFHW = latents_BCFHW / self._vae.config.scaling_factor
        return frames.to_frames(self._vae.decode(latents_BCFHW).sample.float())

    def latent_shape(self, *, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """[F, C, H, W] of one clip; a size that the model cannot make is refused.

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
        """The timestep's thousandth; `shift` is the flow models', the schedule has its own."""
        return (NUM_TRAIN_TIMESTEPS * fractions_B).floor() / NUM_TRAIN_TIMESTEPS

    def schedule(self, *, shift: float) -> str:
        """The hash of a at every timestep: betas, SNR shift and zero terminal SNR decide it."""
        alphas_T = self._scheduler.alphas_cumprod.double().contiguous()
        return f"alphas_cumprod {hashlib.sha256(alphas_T.numpy().tobytes()).hexdigest()}"

    def noised(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """x_t = sqrt(a) x0 + sqrt(1 - a) eps: nothing but noise at t = 999."""
        signal_B1111, noise_B1111 = self._shares(levels_B, latents)
        return signal_B1111 * latents + noise_B1111 * noise

    def target(self, latents: Tensor, *, noise: Tensor, levels_B: Tensor) -> Tensor:
        """The velocity sqrt(a) eps - sqrt(1 - a) x0."""
        signal_B1111, noise_B1111 = self._shares(levels_B, latents)
        return signal_B1111 * noise - noise_B1111 * latents

    def predict(self, noisy: Tensor, *, levels_B: Tensor, text_BLD: Tensor) -> Tensor:
        """One forward pass at the levels' timesteps."""
        return self._forward(noisy, _timesteps(levels_B), text_BLD)

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
        """The stock sampler; a clip's seed gives its noise, and the steps' where they draw any."""
        assert len(seeds) == len(text_BLD), "one seed a caption"
        shape = self.latent_shape(num_frames=num_frames, height=height, width=width)
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        latents_BFCHW = randn_tensor(
            (len(seeds), *shape), generator=draws, device=self.device, dtype=self.module.dtype
        )
        scheduler = type(self._scheduler).from_config(self._scheduler.config)
        scheduler.set_timesteps(num_inference_steps, device=self.device)
        if empty_LD is None and guidance_scale > 1.0:
            empty_LD = self._empty_caption_LD
        before: Tensor | None = None  # the multi-step solver's past prediction and timestep
        back: Tensor | None = None
        for timestep in scheduler.timesteps:
            velocity = self._guided(latents_BFCHW, timestep, text_BLD, empty_LD, guidance_scale)
            if isinstance(scheduler, CogVideoXDPMScheduler):
                latents_BFCHW, before = scheduler.step(
                    velocity, before, timestep, back, latents_BFCHW, generator=draws
                )
            else:
                latents_BFCHW = scheduler.step(
                    velocity, timestep, latents_BFCHW, return_dict=False
                )[0]
            latents_BFCHW, back = latents_BFCHW.to(self.module.dtype), timestep
        return latents_BFCHW.float()

    def hash(self) -> str:
        return weights.hash_of(self.module)

    def save(self, folder: Path) -> None:
        weights.publish(self.module, folder)

    def _guided(
        self,
        noisy: Tensor,
        timestep: Tensor,
        text_BLD: Tensor,
        empty_LD: Tensor | None,
        scale: float,
    ) -> Tensor:
        timestep_B = timestep.expand(len(noisy))
        with step_cache.branch(self.module, "caption"):
            velocity = self._forward(noisy, timestep_B, text_BLD)
        if scale <= 1.0 or empty_LD is None:
            return velocity
        with step_cache.branch(self.module, "free"):
            free = self._forward(noisy, timestep_B, empty_LD.expand_as(text_BLD))
        return free + scale * (velocity - free)

    def _forward(self, noisy: Tensor, timestep_B: Tensor, text_BLD: Tensor) -> Tensor:
        dtype = self.module.dtype
        return self.module(
            hidden_states=noisy.to(dtype),
            encoder_hidden_states=text_BLD.to(self.device, dtype),
            timestep=timestep_B.to(self.device),
            image_rotary_emb=self._rotary_embeddings(noisy),
            return_dict=False,
        )[0].float()

    def _rotary_embeddings(self, latents_BFCHW: Tensor) -> tuple[Tensor, Tensor] | None:
        """Cosine and sine for the latents' grid, or None where positions are added (2B)."""
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
        """sqrt(a) and sqrt(1 - a) of each level, shaped to broadcast over BFCHW."""
        alphas = self._scheduler.alphas_cumprod[_timesteps(levels_B).cpu()].double()
        alphas = alphas.view(-1, *(1,) * (latents.ndim - 1))
        return alphas.sqrt().to(latents), (1.0 - alphas).sqrt().to(latents)

    @functools.cached_property
    def _text_pipeline(self) -> CogVideoXPipeline:
        return _stock(self._folder, transformer=None, vae=None, dtype=self._dtype).to(self.device)

    @functools.cached_property
    def _scheduler(self) -> Any:
        others = dict.fromkeys(("transformer", "vae", "text_encoder", "tokenizer"))
        return _stock(self._folder, **others).scheduler

    @functools.cached_property
    def _vae(self) -> AutoencoderKLCogVideoX:
        vae = AutoencoderKLCogVideoX.from_pretrained(
            self._folder / "vae", dtype=self._dtype, use_safetensors=True
        )
        vae.enable_slicing()  # one clip at a time: the same result, a batch's memory less
        return vae.requires_grad_(False).eval().to(self.device)

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
) -> CogVideoX:
    """Open a CogVideoXPipeline folder; only the transformer is read at once."""
    settings = CogVideoXTransformer3DModel.load_config(transformer_folder)
    require_supported(folder, settings)
    text_length = settings.get("max_text_seq_length", 226)
    if max_sequence_length != text_length:
        raise ConfigError(
            f"{folder}: its transformer takes {text_length} text tokens, not "
            f"{max_sequence_length}. Set generator.max_sequence_length={text_length}."
        )
    module = weights.read_transformer(
        CogVideoXTransformer3DModel, transformer_folder, dtype=dtype, device=device
    )
    backbone = CogVideoX(
        folder,
        module=module,
        max_sequence_length=max_sequence_length,
        dtype=dtype,
    )
    _require_velocity(folder, backbone._scheduler.config)
    return backbone


def require_supported(folder: Path, transformer: dict[str, Any]) -> None:
    """Refuse the relatives that share the pipeline's or the transformer's class."""
    in_channels, out_channels = (transformer.get(k, 16) for k in ("in_channels", "out_channels"))
    found = {
        "an image-to-video model (a learned position)": transformer.get(
            "use_learned_positional_embeddings"
        ),
        f"an image-to-video model ({in_channels} channels in, {out_channels} out)": (
            in_channels != out_channels
        ),
        "CogVideoX-1.5 (patches over time)": transformer.get("patch_size_t"),
    }
    for what, is_so in found.items():
        if is_so:
            raise ModelError(f"{folder}: {what}, which is not supported. {SUPPORTED}")
    if dropout := transformer.get("dropout"):
        raise ModelError(
            f"{folder}: its transformer has a dropout of {dropout}, where the reference's errors "
            "are measured once, on the same network. Set dropout to 0 in transformer/config.json."
        )


def _require_velocity(folder: Path, scheduler: Any) -> None:
    predicts, is_zero = scheduler.prediction_type, scheduler.rescale_betas_zero_snr
    if predicts != "v_prediction" or not is_zero:
        raise ModelError(
            f"{folder}: its scheduler says prediction_type {predicts!r}, rescale_betas_zero_snr "
            f"{is_zero}, where v_prediction under zero terminal SNR is needed. Restore "
            "scheduler/scheduler_config.json from the published model."
        )


def _timesteps(levels_B: Tensor) -> Tensor:
    return (NUM_TRAIN_TIMESTEPS * levels_B).round().long()


def _stock(folder: Path, **parts: Any) -> CogVideoXPipeline:
    return CogVideoXPipeline.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, **parts
    )
