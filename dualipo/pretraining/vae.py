"""Trains the embedded autoencoder: a tiny `AutoencoderKLWan`, on the web corpus' pixels.

It starts as the principal components of the frames' 8x8 patches, because Wan's autoencoder can hold
a linear codec exactly up to one normalisation. From a random start, the small bright figures of the
world drown in the background's variance for thousands of steps. Noise on the latent stands in for
the KL term. One scale serves all channels, so that small components do not get unit variance and
the generator need not model them at full size.

Legend: B batch, C channels, F frames, H, W pixels, P values of a patch, K components.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify
from torch import Tensor

from dualipo.config import Optimizer
from dualipo.pretraining import settings
from dualipo.seeds import derive
from dualipo.training.loop import Metrics, Objective, train
from dualipo.world.corpus import real_clip, web_clip

PATCH = 8
CONSTANT_CHANNEL = 24.0


def build() -> AutoencoderKLWan:
    """Build the untrained autoencoder."""
    return AutoencoderKLWan(
        base_dim=settings.VAE_BASE,
        z_dim=settings.VAE_CHANNELS,
        dim_mult=[1],
        num_res_blocks=1,
        temperal_downsample=[],
        latents_mean=[0.0] * settings.VAE_CHANNELS,
        latents_std=[1.0] * settings.VAE_CHANNELS,
        in_channels=3 * PATCH * PATCH,
        out_channels=3 * PATCH * PATCH,
        patch_size=PATCH,
        scale_factor_temporal=1,
        scale_factor_spatial=PATCH,
    )


@torch.no_grad()
def start_from_principal_components(vae: AutoencoderKLWan, clips_BCFHW: Tensor) -> None:
    """Make `vae` the linear codec of the clips' patches, up to its last layers' RMS norm.

    A component travels as a pair (+x, -x), because silu(x) - silu(-x) = x. One constant channel,
    far larger than the components, turns the norm into a division by a constant.
    """
    patches_NP = patchify(clips_BCFHW, PATCH).permute(0, 2, 3, 4, 1).flatten(0, 3)
    mean_P = patches_NP.mean(dim=0)
    _, basis_PP = torch.linalg.eigh((patches_NP - mean_P).T @ (patches_NP - mean_P))
    basis_PK = basis_PP.flip(1)[:, : settings.VAE_CHANNELS]
    paired_P2K = torch.cat((basis_PK, -basis_PK), dim=1)
    for name, weight in vae.named_parameters():
        if name.endswith((".conv2.weight", ".proj.weight")):  # every residual branch begins silent
            weight.zero_()
    _write_linear(vae.encoder.conv_in, paired_P2K.T, -(mean_P @ paired_P2K))
    signs_K2K = torch.cat((torch.eye(settings.VAE_CHANNELS), -torch.eye(settings.VAE_CHANNELS)), 1)
    _write_linear(vae.encoder.conv_out, signs_K2K * _gain(), torch.zeros(settings.VAE_CHANNELS))
    for conv in (vae.quant_conv, vae.post_quant_conv):
        _write_linear(conv, torch.eye(conv.in_channels), torch.zeros(conv.in_channels))
    _write_linear(vae.decoder.conv_in, signs_K2K.T, torch.zeros(2 * settings.VAE_CHANNELS))
    _write_linear(vae.decoder.conv_out, paired_P2K * _gain(), mean_P)
    for conv in (vae.encoder.conv_in, vae.decoder.conv_in):
        conv.bias[-1] = CONSTANT_CHANNEL


def _gain() -> float:
    """Return the factor that undoes the RMS norm while the constant channel outweighs the rest."""
    return CONSTANT_CHANNEL / settings.VAE_BASE**0.5


def _write_linear(conv: Any, weight_OI: Tensor, bias_O: Tensor) -> None:
    """Write a linear map into a causal convolution's last centre tap; the rest is small noise."""
    num_out, num_in = weight_OI.shape
    conv.weight.mul_(0.02)
    conv.bias.zero_()
    taps = conv.weight.shape[-3:]
    conv.weight[:num_out, :num_in, -1, taps[1] // 2, taps[2] // 2] += weight_OI
    conv.bias[:num_out] = bias_O


class Reconstruction(Objective):
    """The squared pixel error of decode(encode(clip) + noise)."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        self.vae = vae

    def loss(self, micro_batch: dict[str, Tensor], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the mean squared error, in squared units of [-1, 1]."""
        clips_BCFHW = micro_batch["clips"]
        latents_BCFHW = self.vae.encode(clips_BCFHW).latent_dist.mode()
        noise_BCFHW = settings.VAE_LATENT_NOISE * torch.randn_like(latents_BCFHW)
        error_BCFHW = self.vae.decode(latents_BCFHW + noise_BCFHW).sample.float() - clips_BCFHW
        squared = error_BCFHW.square().mean()
        return squared, {}


def to_tensor(frames: list[np.ndarray]) -> Tensor:
    """Stack uint8 [F, H, W, 3] clips into float [B, 3, F, H, W] in [-1, 1]."""
    return torch.from_numpy(np.stack(frames)).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def _batch(step: int, stage: str, size: int) -> dict[str, Tensor]:
    seeds = [derive(settings.SEED, stage, step, item) for item in range(size)]
    return {"clips": to_tensor([web_clip(seed).frames_FHW3 for seed in seeds])}


def pretrain(folder: Path, work: Path, *, on_step: Any = None) -> None:
    """Train the autoencoder, then its decoder alone, and save it to `folder`.

    The second stage makes frames crisper and leaves the latents alone. `work` holds checkpoints.
    """
    torch.manual_seed(derive(settings.SEED, "vae weights") % 2**32)
    vae = build()
    start = [web_clip(derive(settings.SEED, "start", item)).frames_FHW3 for item in range(512)]
    start_from_principal_components(vae, to_tensor(start))
    _train(vae, settings.VAE_TRAINING, work / "vae", on_step)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    _train(vae, settings.DECODER_TRAINING, work / "decoder", on_step)
    _set_scale(vae)
    vae.to(torch.float16).save_pretrained(folder)


def _train(vae: AutoencoderKLWan, optimizer: Optimizer, folder: Path, on_step: Any) -> None:
    train(
        vae,
        Reconstruction(vae),
        batches=lambda step: _batch(step, folder.name, optimizer.train_batch_size),
        settings=optimizer,
        checkpoint_folder=folder,
        seed=settings.SEED,
        on_step=on_step,
    )


@torch.no_grad()
def _set_scale(vae: AutoencoderKLWan) -> None:
    """Record one mean and one scale for all channels, measured on real clips."""
    clips = [real_clip(derive(settings.SEED, "scale", item)).frames_FHW3 for item in range(256)]
    latents_BCFHW = vae.eval().encode(to_tensor(clips)).latent_dist.mode()
    num_channels = settings.VAE_CHANNELS
    mean_C = latents_BCFHW.mean(dim=(0, 2, 3, 4))
    scale = float((latents_BCFHW - mean_C[:, None, None, None]).square().mean().sqrt())
    vae.register_to_config(
        latents_mean=[round(float(mean), 5) for mean in mean_C],
        latents_std=[round(scale, 5)] * num_channels,
    )
