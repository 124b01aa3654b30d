"""Tests that the autoencoder starts as a linear codec, nearly as good as principal components."""

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import patchify

from dualipo.pretraining import settings, vae
from dualipo.world.corpus import web_clip


@pytest.mark.slow
def test_it_starts_as_the_principal_components():
    torch.manual_seed(0)
    model = vae.build()
    clips_BCFHW = vae.to_tensor([web_clip(seed).frames_FHW3 for seed in range(48)])
    vae.start_from_principal_components(model, clips_BCFHW)
    with torch.no_grad():
        decoded = model.decode(model.encode(clips_BCFHW).latent_dist.mode()).sample
    patches_NP = patchify(clips_BCFHW, vae.PATCH).permute(0, 2, 3, 4, 1).flatten(0, 3)
    centred_NP = patches_NP - patches_NP.mean(dim=0)
    values_P = torch.linalg.eigvalsh(centred_NP.T @ centred_NP / len(centred_NP))
    best_possible = float(values_P[: -settings.VAE_CHANNELS].sum() / len(values_P))
    reached = float((decoded - clips_BCFHW).square().mean())
    assert best_possible < reached < 3 * best_possible


def test_clips_become_tensors_between_minus_one_and_one():
    frames = web_clip(0).frames_FHW3
    tensor_BCFHW = vae.to_tensor([frames])
    assert tensor_BCFHW.shape == (1, 3, *frames.shape[:3])
    assert torch.equal(((tensor_BCFHW[0].permute(1, 2, 3, 0) + 1) * 127.5).round().byte(),
                       torch.from_numpy(frames))  # fmt: skip
