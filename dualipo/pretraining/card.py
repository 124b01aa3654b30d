"""Writes the card that ships beside the embedded weights: how they were made and what they achieve.

Every figure in it comes from `gates.measure` and from `settings`.
"""

from typing import Any

from dualipo.pretraining import settings

_STAGES = {
    "autoencoder": settings.VAE_TRAINING,
    "its decoder alone": settings.DECODER_TRAINING,
    "generator": settings.GENERATOR_TRAINING,
    "critic's vision tower": settings.TOWER_TRAINING,
    "critic": settings.CRITIC_TRAINING,
    "critic, on generators' clips": settings.FAMILIAR_TRAINING,
}
_OTHERS = {  # by folder: a description, and the stages that only this generator has
    "generator-large": (
        "diffusers' `WanPipeline` layout, larger, on the same autoencoder and corpus.",
        {"large generator": settings.VARIANTS["large"].training},
    ),
    "generator-cogvideox": (
        "diffusers' `CogVideoXPipeline` layout, on the same corpus.",
        {
            "CogVideoX's autoencoder": settings.COG_VAE_TRAINING,
            "CogVideoX generator": settings.VARIANTS["cogvideox"].training,
        },
    ),
}
_OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon"}


def weights_card(measured: dict[str, dict[str, Any]]) -> str:
    """Return the card in markdown; the keys of `measured` are the generators' folders."""
    others = {folder: _OTHERS[folder] for folder in measured if folder in _OTHERS}
    trainings = _STAGES | {name: o for _, own in others.values() for name, o in own.items()}
    stages = "\n".join(
        f"| {name} | {optimizer.max_train_steps} | {optimizer.train_batch_size} "
        f"| {_OPTIMIZERS[optimizer.optimizer]} | {optimizer.learning_rate:g} |"
        for name, optimizer in trainings.items()
    )
    more = "".join(f"- `{folder}/`: {text}\n" for folder, (text, _) in others.items())
    gates = "".join(_gates(folder, results) for folder, results in measured.items())
    return f"""# The embedded models

Small models of the embedded world, made by `dualipo pretrain vae|generator|critic` from seed
{settings.SEED} and nothing else. They show the method; they are of no use outside the world.

- `generator/`: diffusers' `WanPipeline` layout, pretrained on the world's web corpus, in which half
  of the clips have a defect and a quarter of the captions are wrong in one attribute.
{more}- `critic/`: VILA's layout, pretrained to read what is measured in each frame and to describe
  one clip or two in words. Its clips are drawn, or made by the generator and by what
  {settings.LINEAGE_ROUNDS} rounds of alignment make of it, in {settings.NUM_LINEAGES} lineages
  whose seeds no recipe uses. **Readings and descriptions came from the world's measurement, which
  the oracle uses too.** The lineages were aligned on pairs that the oracle orders, and of these the
  critic saw clips alone. It was never shown a preference, a grade or a verdict.

| stage | steps | batch | optimizer | learning rate |
|---|---|---|---|---|
{stages}

## Gates (measured by `dualipo pretrain gates`)

Clips are sampled as the recipes do it: guidance {settings.SAMPLING.guidance_scale}, \
{settings.SAMPLING.num_inference_steps} steps. Intervals are 95 % paired bootstraps over prompts.
{gates}"""


def _gates(folder: str, measured: dict[str, Any]) -> str:
    passed = measured["passed"]
    compared = ""
    if "beyond_small" in measured:
        gain = measured["beyond_small"]
        compared = (
            f" Its base beyond the small one's: {gain['mean']:+.3f}\n({gain['low']:+.3f} to "
            f"{gain['high']:+.3f}; above 0: {_yes_or_no(passed['better than small'])})."
        )
    return f"""
`{folder}/`, {measured["num_parameters"] / 1e6:.1f}M parameters in its transformer:

| gate | {" | ".join(measured["base"])} | passed |
|---|---|---|---|---|
| clean clips through the autoencoder, at least 0.9 | {_row(measured["reconstruction"])} \
| {_yes_or_no(passed["reconstruction"])} |
| base generator's mean, 0.3 to 0.8 | {_row(measured["base"])} | {_yes_or_no(passed["base"])} |

The best of eight candidates beats the worst by {measured["best_minus_worst_of_eight"]:.3f} on
average (0.2 or more: {_yes_or_no(passed["spread"])}).{compared}
"""


def _row(parts: dict[str, float]) -> str:
    return " | ".join(f"{value:.3f}" for value in parts.values())


def _yes_or_no(passed: bool) -> str:
    return "yes" if passed else "**no**"
