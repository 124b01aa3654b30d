"""The embedded generator's words, and the pipeline that ships."""

import json
import re
from pathlib import Path

import pytest
import torch

from dualipo.config import Generator
from dualipo.generator import backbone
from dualipo.generator.sample import sample
from dualipo.pretraining import settings, text
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


def test_the_shipped_weights_fit_twenty_megabytes_and_name_no_folder_of_their_makers(weights):
    assert sum(p.stat().st_size for p in weights.rglob("*.safetensors")) < 20e6
    for path in weights.rglob("*.json"):
        assert json.loads(path.read_text()) is not None
        assert not re.search(r'"/\w', path.read_text())


def test_the_shipped_generator_shows_the_colour_that_is_asked_for(weights):
    model = backbone.load(weights / "generator", max_sequence_length=settings.TEXT_LENGTH)
    captions = [
        f"a big {colour} circle stays still on a black background" for colour in ("red", "blue")
    ]
    made = sample(model, captions=captions, seeds=[1, 2], settings=Generator(num_inference_steps=6))
    red, blue = made.frames_NFHW3.float().amax(dim=(1, 2, 3))
    assert red[0] > 1.5 * red[2] and blue[2] > 1.5 * blue[0]
    assert torch.isfinite(made.latents).all()
