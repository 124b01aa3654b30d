"""Tests the embedded generators' tokenizer, a tiny training, and the pipelines that ship."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dualipo.config import Generator
from dualipo.errors import ConfigError, ModelError
from dualipo.generator import backbone
from dualipo.generator.sample import sample
from dualipo.pretraining import cogvideox_vae, gates, generator, settings, text, vae
from dualipo.rounds.run import EMBEDDED, model_folder
from dualipo.world.corpus import caption


def test_every_word_of_the_grammar_is_one_piece_and_other_text_is_readable():
    tokenizer = text.build_tokenizer()
    spoken = caption(7)
    assert len(tokenizer.tokenize(spoken)) == len(spoken.split())
    assert tokenizer.unk_token not in tokenizer.tokenize("A zebra, running (1999)!")
    longest = max(len(tokenizer(caption(seed)).input_ids) for seed in range(300))
    assert longest <= settings.TEXT_LENGTH


@pytest.fixture(scope="module")
def weights() -> Path:
    return model_folder(EMBEDDED, "generator").parent


def test_the_shipped_weights_fit_and_name_no_folder_of_their_makers(weights):
    others = [settings.VARIANTS[name].folder for name in ("large", "cogvideox")]
    sizes = {"first": 0, "others": 0}
    for path in weights.rglob("*.safetensors"):
        is_other = path.relative_to(weights).parts[0] in others
        sizes["others" if is_other else "first"] += path.stat().st_size
    assert sizes["first"] < 20e6 and sizes["others"] < 30e6
    for path in weights.rglob("*.json"):
        assert json.loads(path.read_text()) is not None
        assert not re.search(r'"/\w', path.read_text())


def num_parameters(name: str) -> dict[str, int]:
    """Count the parameters of each part of a variant."""
    variant = settings.VARIANTS[name]
    auto = cogvideox_vae.build() if variant.family == "cogvideox" else vae.build()
    built = generator.FAMILIES[variant.family].build(auto, text.build_tokenizer(), variant)
    parts = {"transformer": built.transformer, "text": built.text_encoder, "vae": built.vae}
    return {name: sum(w.numel() for w in part.parameters()) for name, part in parts.items()}


@pytest.mark.slow
def test_the_larger_wan_has_three_times_the_parameters_and_both_others_fit():
    with torch.random.fork_rng():
        small, large, cog = (num_parameters(name) for name in ("small", "large", "cogvideox"))
    assert large["transformer"] >= 3 * small["transformer"]
    assert 2 * sum((*large.values(), *cog.values())) < 29.95e6  # half precision; and headers


def tiny(name: str) -> settings.Variant:
    brief = {"max_train_steps": 2, "train_batch_size": 2, "lr_warmup_steps": 0}
    variant = settings.VARIANTS[name]
    training = variant.training.model_copy(update=brief)
    return replace(variant, width=32, heads=1, layers=1, ffn=128, training=training)


@pytest.fixture
def few_clips(monkeypatch):
    monkeypatch.setattr(settings, "NUM_LATENT_SHARDS", 1)
    monkeypatch.setattr(settings, "CLIPS_PER_SHARD", 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["large", "cogvideox"])
def test_a_variant_is_made_of_its_autoencoder_and_passes_through_the_gates(
    name, weights, few_clips, tmp_path, monkeypatch
):
    variant, work = tiny(name), tmp_path / "work"
    folder = tmp_path / variant.folder
    if variant.family == "cogvideox":
        auto = cogvideox_vae.build()
        cogvideox_vae.set_scale(auto, num_clips=2)
        auto.half().save_pretrained(tmp_path / variant.vae_folder)
    else:
        (tmp_path / "generator").symlink_to(weights / "generator")
    losses: list[float] = []
    with torch.random.fork_rng():
        generator.pretrain(
            folder, work, variant=variant, on_step=lambda _, of: losses.append(of["loss"])
        )
        generator.pretrain(folder, work, variant=variant)  # goes on from its end: nothing changes
    assert len(losses) == 2
    names = sorted(p.name for p in folder.iterdir())
    assert names == sorted(p.name for p in (weights / "generator").iterdir())
    assert '"/' not in "".join(p.read_text() for p in folder.rglob("*config.json"))
    if variant.family == "cogvideox":
        cogvideox_vae.build().half().save_pretrained(tmp_path / variant.vae_folder)
        with torch.random.fork_rng(), pytest.raises(ConfigError, match="another autoencoder"):
            generator.pretrain(folder, work, variant=variant)
    monkeypatch.setattr(gates, "NUM_CLIPS", 2)
    brief = Generator(num_inference_steps=2, guidance_scale=1.0, sample_batch_size=8)
    measured, totals = gates.measure(folder, sampling=brief, num_prompts=1)
    assert measured["num_parameters"] < 200_000 and len(totals["0"]) == 8
    assert not measured["passed"]["base"]


@pytest.mark.slow
@pytest.mark.parametrize("name", settings.VARIANTS)
def test_pretraining_embeds_captions_as_sampling_does(name, weights, tmp_path):
    variant = tiny(name)
    auto = cogvideox_vae.build() if name == "cogvideox" else vae.build()
    auto.save_pretrained(tmp_path / "vae")
    with torch.random.fork_rng():
        pipeline, model = generator.untrained(tmp_path / "vae", tmp_path, variant)
    captions = ["a red circle", ""]
    tokens = pipeline.tokenizer(
        captions, padding="max_length", max_length=settings.TEXT_LENGTH, return_tensors="pt"
    )
    embed = generator.FAMILIES[variant.family].embed
    with torch.no_grad():
        text_BLD = embed(pipeline.text_encoder, tokens.input_ids, tokens.attention_mask)
    torch.testing.assert_close(text_BLD, model.encode_text(captions))
    same = zip(model.module.parameters(), pipeline.transformer.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in same)


def test_a_recipe_names_what_ships_and_hears_what_does():
    assert model_folder(EMBEDDED, "generator").name == "generator"
    with pytest.raises(ModelError, match=r"embedded-huge: no generator.*Choose embedded"):
        model_folder("embedded-huge", "generator")


def test_the_shipped_generator_shows_the_colour_that_is_asked_for(weights):
    model = backbone.load(weights / "generator", max_sequence_length=settings.TEXT_LENGTH)
    captions = [
        f"a big {colour} circle stays still on a black background" for colour in ("red", "blue")
    ]
    steps = Generator(num_inference_steps=6)
    sampled = sample(model, captions=captions, seeds=[1, 2], settings=steps)
    red, blue = sampled.frames_NFHW3.float().amax(dim=(1, 2, 3))
    assert red[0] > 1.5 * red[2] and blue[2] > 1.5 * blue[0]
    assert torch.isfinite(sampled.latents).all()
