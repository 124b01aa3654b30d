"""Trains the embedded CogVideoX's autoencoder, a tiny `AutoencoderKLCogVideoX`, on web clips.

It is a variational autoencoder (Kingma and Welling, 2014) that compresses time by four after the
first frame. Pixels that differ from the clip's median colour count several times, because the
figures are small and a plain mean over pixels would learn them last. Perceptual and adversarial
losses are left out.

Legend: B batch, C channels, F frames, H, W pixels.
"""

import math
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLCogVideoX
from torch import Tensor

from dualipo.pretraining import settings
from dualipo.pretraining.vae import to_tensor
from dualipo.seeds import derive
from dualipo.training.loop import Metrics, Objective, train
from dualipo.world.corpus import real_clip, web_clip

STAGE = "vae-cogvideox"
FOREGROUND = 0.1  # from the median, in units of [-1, 1]


def build() -> AutoencoderKLCogVideoX:
    """Build the untrained autoencoder; its posterior begins as narrow as Wan's latent noise."""
    num_blocks, channels = len(settings.COG_VAE_BLOCKS), settings.COG_VAE_CHANNELS
    vae = AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * num_blocks,
        up_block_types=("CogVideoXUpBlock3D",) * num_blocks,
        block_out_channels=settings.COG_VAE_BLOCKS,
        latent_channels=channels,
        layers_per_block=1,
        norm_num_groups=settings.COG_VAE_GROUPS,
        sample_height=settings.FRAME_SIZE,
        sample_width=settings.FRAME_SIZE,
        scaling_factor=1.0,
    )
    with torch.no_grad():
        vae.encoder.conv_out.conv.weight[channels:].zero_()
        vae.encoder.conv_out.conv.bias[channels:] = 2 * math.log(settings.VAE_LATENT_NOISE)
    return vae


class Variational(Objective):
    """The weighted squared error of decode(sampled latent), and the posterior's KL divergence."""

    def __init__(self, vae: AutoencoderKLCogVideoX) -> None:
        self.vae = vae

    def loss(self, micro_batch: dict[str, Tensor], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the loss in squared units of [-1, 1]; the KL term is a mean over the latent."""
        clips_BCFHW = micro_batch["clips"]
        posterior = self.vae.encode(clips_BCFHW).latent_dist
        decoded_BCFHW = self.vae.decode(posterior.sample()).sample.float()
        squared_BCFHW = (decoded_BCFHW - clips_BCFHW).square()
        error = (weights(clips_BCFHW) * squared_BCFHW).mean()
        divergence = 0.5 * (posterior.mean.square() + posterior.var - 1 - posterior.logvar).mean()
        logged = {"squared": float(squared_BCFHW.detach().mean()), "kl": float(divergence.detach())}
        return error + settings.COG_VAE_KL * divergence, logged


def weights(clips_BCFHW: Tensor) -> Tensor:
    """Weigh each pixel: 1 for the clip's median colour, more for any other. Return B1FHW."""
    median_BC = clips_BCFHW.flatten(2).median(dim=2).values
    far_B1FHW = (clips_BCFHW - median_BC[..., None, None, None]).abs().amax(1, keepdim=True)
    return 1.0 + settings.COG_VAE_FOREGROUND * (far_B1FHW > FOREGROUND)


def _batch(step: int) -> dict[str, Tensor]:
    size = settings.COG_VAE_TRAINING.train_batch_size
    seeds = [derive(settings.SEED, STAGE, step, item) for item in range(size)]
    return {"clips": to_tensor([web_clip(seed).frames_FHW3 for seed in seeds])}


def pretrain(folder: Path, work: Path, *, device: str = "cpu", on_step: Any = None) -> None:
    """Train the autoencoder and save it to `folder`; `work` holds checkpoints."""
    torch.manual_seed(derive(settings.SEED, STAGE, "weights") % 2**32)
    vae = build().to(device)
    train(
        vae,
        Variational(vae),
        batches=lambda step: {name: part.to(device) for name, part in _batch(step).items()},
        settings=settings.COG_VAE_TRAINING,
        checkpoint_folder=work / STAGE,
        seed=settings.SEED,
        on_step=on_step,
    )
    set_scale(vae)
    vae.to("cpu", torch.float16).save_pretrained(folder)


@torch.no_grad()
def set_scale(vae: AutoencoderKLCogVideoX, *, num_clips: int = 256) -> None:
    """Set the factor that scales the latents of real clips to a mean square of 1."""
    vae.eval()
    squares = []
    for start in range(0, num_clips, 32):
        numbers = range(start, min(start + 32, num_clips))
        clips = [real_clip(derive(settings.SEED, "scale", n)).frames_FHW3 for n in numbers]
        latents = vae.encode(to_tensor(clips).to(vae.device)).latent_dist.mode()
        squares.append(latents.square().flatten(1).mean(1))
    factor = float(torch.cat(squares).mean().rsqrt())
    vae.register_to_config(scaling_factor=round(factor, 5))
