"""Tests CogVideoX's tiny autoencoder: its shapes, its narrow start, and its loss's weights."""

import torch

from dualipo.pretraining import cogvideox_vae, settings, vae
from dualipo.world.corpus import real_clip


def test_nine_frames_are_three_and_the_posterior_begins_narrow():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = cogvideox_vae.build()
    clips_BCFHW = vae.to_tensor([real_clip(0).frames_FHW3])
    with torch.no_grad():
        posterior = model.encode(clips_BCFHW).latent_dist
        decoded = model.decode(posterior.mode()).sample
    assert posterior.mode().shape == (1, settings.COG_VAE_CHANNELS, 3, 8, 8)
    torch.testing.assert_close(
        posterior.std, torch.full_like(posterior.std, settings.VAE_LATENT_NOISE)
    )
    assert decoded.shape == clips_BCFHW.shape


def test_scaled_latents_of_real_clips_have_a_mean_square_of_one():
    model = cogvideox_vae.build()
    cogvideox_vae.set_scale(model, num_clips=2)
    seeds = [cogvideox_vae.derive(settings.SEED, "scale", n) for n in range(2)]
    clips_BCFHW = vae.to_tensor([real_clip(seed).frames_FHW3 for seed in seeds])
    with torch.no_grad():
        latents = model.encode(clips_BCFHW).latent_dist.mode() * model.config.scaling_factor
    torch.testing.assert_close(latents.square().mean(), torch.tensor(1.0), rtol=1e-3, atol=0)


def test_the_figure_counts_more_than_the_background():
    clips_BCFHW = torch.full((1, 3, 2, 4, 4), -1.0)
    clips_BCFHW[0, 0, 1, 2, 3] = 1.0  # one red pixel in the second frame
    weights_B1FHW = cogvideox_vae.weights(clips_BCFHW)
    assert weights_B1FHW[0, 0, 1, 2, 3] == 1 + settings.COG_VAE_FOREGROUND
    assert weights_B1FHW.sum() == weights_B1FHW.numel() + settings.COG_VAE_FOREGROUND
