"""Tests what a VILA folder's config.json changes: the fold, the turns, the layer, the refusals.

The expected values are those of VILA's own code: its grids, its chat templates, and the tokens at
which `infer_stop_tokens` lets an answer end.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import InternVLVisionModel

from dualipo.config import Critic
from dualipo.critic.models import templates, towers
from dualipo.critic.models.projector import MmProjector
from dualipo.critic.models.tokens import Tokens
from dualipo.critic.models.vila import PARTS, Vila
from dualipo.errors import ModelError
from tests.critic.conftest import QUERIES, answers, make_vila, marked_tokenizer
from tests.critic.models.test_towers import vila_40b

__all__ = ["vila_40b"]

SETTINGS = Critic(max_frames=3)
NVILA = {"model_type": "llava_llama", "dynamic_s2": False, "num_time_tokens": 0}
PUBLISHED = {f"{part}_cfg": {} for part in PARTS}  # such a folder is written back as it was
# Qwen2's template as NVILA's folders have it: no full stop after the system's words.
QWEN2 = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant<|im_end|>\\n' }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def folder_with(tmp_path: Path, settings: dict[str, Any], **others: Any) -> Path:
    make_vila(settings=SETTINGS, **others).save(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text(json.dumps(settings))
    return tmp_path / "model"


@pytest.mark.parametrize("grid", [4, 5])
def test_nvila_folds_a_numbered_grid_by_rows_and_vila_1_5_by_columns(
    tmp_path: Path, grid: int
) -> None:
    MmProjector(1, 8).save(tmp_path)
    numbers = torch.arange(1.0, grid * grid + 1).reshape(1, -1, 1)
    side, folded = -(-grid // 2), {}
    for is_nvila in (False, True):
        projector = MmProjector.load(tmp_path, dtype=torch.float32, is_nvila=is_nvila)
        folded[is_nvila] = projector.layers[0](numbers)[0]

    def cell(row: int, column: int) -> float:
        return row * grid + column + 1.0 if row < grid and column < grid else 0.0

    def block(row: int, column: int) -> list[float]:
        return [cell(2 * row + i, 2 * column + j) for i in (0, 1) for j in (0, 1)]

    rows = [block(row, column) for row in range(side) for column in range(side)]
    columns = [block(row, column) for column in range(side) for row in range(side)]
    assert folded[True].tolist() == rows
    assert folded[False].tolist() == columns


@pytest.mark.parametrize("published", [{}, PUBLISHED])
def test_an_nvila_folder_stays_by_rows_when_it_is_saved(
    tmp_path: Path, published: dict[str, Any]
) -> None:
    folder = folder_with(tmp_path, NVILA | published)
    critic = Vila.load(folder, settings=SETTINGS)
    (folder / "config.json").write_text(json.dumps({"model_type": "llava_llama"}))
    by_columns = Vila.load(folder, settings=SETTINGS)
    clip = critic.embed_clips(QUERIES)["clip0"]
    other = by_columns.embed_clips(QUERIES)["clip0"]
    side = round(clip.shape[1] ** 0.5)
    assert not torch.equal(clip, other)
    transposed = other.unflatten(1, (side, side)).transpose(1, 2).flatten(1, 2)
    torch.testing.assert_close(clip, transposed)
    critic.save(tmp_path / "again")
    again = Vila.load(tmp_path / "again", settings=SETTINGS)
    assert torch.equal(answers(again), answers(critic))


def test_nvila_s_turns_are_those_of_its_tokenizer(tmp_path: Path) -> None:
    tokenizer = marked_tokenizer("<|im_start|>", "<|im_end|>")
    tokenizer.chat_template = QWEN2
    critic = Vila.load(folder_with(tmp_path, NVILA, tokenizer=tokenizer), settings=SETTINGS)
    chat = [{"role": "user", "content": "a question"}]
    written = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert f"{critic.style.before}a question{critic.style.after}" == written
    assert "You are a helpful assistant<|im_end|>" in critic.style.before
    assert critic.style.end == "<|im_end|>" and not critic.style.begins
    named = templates.TEMPLATES["qwen2"]
    assert (named.before, named.after) == (critic.style.before, critic.style.after)
    critic.save(tmp_path / "again")
    assert Vila.load(tmp_path / "again", settings=SETTINGS).style == critic.style


def test_a_chat_template_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    for number, template in enumerate(
        ("no turns", "{{ 1 / 0 }}", "{% for %}", "{{ messages[9].x }}")
    ):
        tokenizer = marked_tokenizer("<|im_start|>", "<|im_end|>")
        tokenizer.chat_template = template
        folder = folder_with(tmp_path / str(number), NVILA, tokenizer=tokenizer)
        with pytest.raises(ModelError, match="chat template cannot be used"):
            Vila.load(folder, settings=SETTINGS)


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("llama_3", {"</s>", "<|eot_id|>", "<|end_of_text|>"}),
        ("hermes-2", {"</s>", "<|im_end|>"}),
        ("qwen2", {"</s>", "<|im_end|>"}),
        ("vicuna_v1", {"</s>"}),
    ],
)
def test_every_token_at_which_vila_stops_ends_an_answer(name: str, ends: set[str]) -> None:
    tokenizer = marked_tokenizer("<|eot_id|>", "<|end_of_text|>", "<|im_end|>")
    style = templates.TEMPLATES[name]
    tokens = Tokens(tokenizer, end=style.end, also_ends=style.also_ends)
    assert {tokenizer.convert_ids_to_tokens(end) for end in tokens.ends} == ends


def test_vila_40b_s_release_takes_the_last_layer(
    vila_40b: tuple[Path, InternVLVisionModel], tmp_path: Path
) -> None:
    folder, tower = vila_40b
    said = {"mm_vision_select_layer": -1, "mm_vision_select_feature": "patch"}
    (folder / "config.json").write_text(json.dumps({"model_type": "llava_llama"} | said))
    critic = Vila.load(folder, settings=SETTINGS)
    pixels = torch.randn(2, 3, 40, 40)
    with torch.no_grad():
        last = tower.encoder(tower.embeddings(pixels)).last_hidden_state[:, 1:]
        seen = towers.features(critic.module.vision_tower, pixels, layer=critic.select_layer)
    torch.testing.assert_close(seen, last, atol=1e-5, rtol=1e-5)
    critic.save(tmp_path / "again")
    again = Vila.load(tmp_path / "again", settings=SETTINGS)
    assert again.select_layer == -1 and torch.equal(answers(again), answers(critic))


POOLING = '{"_target_": "llava.model.encoders.TSPVideoEncoder", "pool_sizes": [[8, 1, 1]]}'


@pytest.mark.parametrize(
    ("said", "fact"),
    [
        ({"video_encoder": POOLING}, "its video_encoder is TSPVideoEncoder"),
        ({"video_encoder": json.loads(POOLING)}, "its video_encoder is TSPVideoEncoder"),
        ({"video_encoder": {"end_tokens": None}}, "BasicVideoEncoder with the tokens"),
        ({"image_aspect_ratio": "dynamic_s2", "video_max_tiles": 4}, "into tiles"),
        ({"mm_vision_select_layer": -1}, "known is layer -2"),
        ({"mm_vision_select_feature": "patch"}, "known of a siglip_vision_model is 'cls_patch'"),
    ],
)
def test_what_a_folder_asks_for_and_is_not_built_is_refused(
    tmp_path: Path, said: dict[str, Any], fact: str
) -> None:
    folder = folder_with(tmp_path, NVILA | said)
    with pytest.raises(ModelError, match=fact):
        Vila.load(folder, settings=SETTINGS)


def test_nvila_s_usual_settings_are_taken_and_further_weights_are_not(tmp_path: Path) -> None:
    basic = '{"_target_": "llava.model.encoders.BasicVideoEncoder"}'
    usual = {"video_encoder": basic, "image_aspect_ratio": "dynamic_s2", "video_max_tiles": 1}
    usual |= {"mm_vision_select_layer": -2, "mm_vision_select_feature": "cls_patch"}
    folder = folder_with(tmp_path, NVILA | usual)
    Vila.load(folder, settings=SETTINGS)
    (folder / "region_extractor").mkdir()
    (folder / "region_extractor" / "model.safetensors").touch()
    with pytest.raises(ModelError, match="weights of another part"):
        Vila.load(folder, settings=SETTINGS)
