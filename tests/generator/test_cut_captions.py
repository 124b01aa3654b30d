"""A caption that is longer than the text encoder reads is found, so that a run can say so."""

from pathlib import Path

import pytest
import torch

from dualipo.generator import backbone


@pytest.mark.parametrize("family", ["pipeline_folder", "cog_folder"])
def test_fault_95_a_caption_is_cut_where_more_words_change_nothing(
    family: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(family)
    generator = backbone.load(folder, max_sequence_length=8)
    captions = [" ".join(["red"] * num) for num in range(1, 14)]
    texts_BLD = generator.encode_text(captions)
    cut = set(generator.cut_captions(captions))
    assert cut and captions[0] not in cut
    for shorter, longer, caption in zip(texts_BLD, texts_BLD[1:], captions, strict=False):
        assert torch.equal(shorter, longer) <= (caption in cut or f"{caption} red" in cut)
    assert torch.equal(texts_BLD[-1], texts_BLD[-2]) and captions[-1] in cut
    assert generator.cut_captions([]) == []
