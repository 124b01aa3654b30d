"""VLMs of transformers as critics: tiny random models, against transformers' own way."""

import json
import re

import numpy as np
import pytest
import torch

from dualipo.config import Critic, CriticTraining
from dualipo.config.questions import shipped
from dualipo.critic.learning import warm_start
from dualipo.critic.models import vision
from dualipo.critic.models.chat import VISUAL
from dualipo.critic.models.families import FAMILIES
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.vlm import Sampling
from dualipo.errors import ModelError
from tests import pretend
from tests.critic import vlms
from tests.critic.conftest import BOTH, make_clip, make_query, make_tokenizer, shade

SETTINGS = Critic(max_frames=3, max_pixels=1024)
VIDEO = shipped("video")
QUERIES = [
    make_query(),
    make_query(dimension="faithfulness"),
    make_query("point", 3, caption="a longer caption, to force padding"),
]


def make_critic(kind: str, *, settings: Critic = SETTINGS, scale: float = 6) -> TransformersVlm:
    model = vlms.make(kind, scale=scale)
    return TransformersVlm(model, tokenizer=make_tokenizer(), settings=settings)


@pytest.fixture(params=list(FAMILIES))
def critic(request) -> TransformersVlm:
    return make_critic(request.param)


def test_every_family_has_a_tiny_model():
    assert vlms.MAKERS.keys() == FAMILIES.keys()


def test_greedy_paths_are_uncached_argmax(critic):
    drawn = critic.sample(QUERIES, Sampling([[0, 0]] * 3, 0.0, max_new_tokens=10))
    for query, [path, again] in zip(QUERIES, drawn, strict=True):
        ids: list[int] = []
        while len(ids) < 10 and ids[-1:] != [critic.tokens.end]:
            ids.append(int(critic._logits([query], [ids], keep=1).argmax()))
        assert path.token_ids == again.token_ids == tuple(ids)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "llava_onevision"])
@pytest.mark.parametrize("asked", [make_query(), make_query("point")], ids=lambda query: query.kind)
def test_fault_27_a_critic_is_told_the_form_of_an_answer_unless_it_was_trained_on_it(kind, asked):
    critic = make_critic(kind)
    written, hashes = {}, {}
    for reader in ("auto", "exact", "tolerant"):
        critic.settings = SETTINGS.model_copy(update={"reader": reader, "questions": VIDEO})
        ids = critic.write(asked, dict.fromkeys(asked.clip_hashes, (2, 3)))
        written[reader] = critic.tokens.tokenizer.decode([token for token in ids if token >= 0])
        hashes[reader] = critic.hash()
    form = VIDEO.instructions(asked.kind)
    assert VIDEO.example(asked.kind) in form and written["tolerant"].count(form) == 1
    assert written["tolerant"].replace(f"{form}\n\n", "") == written["auto"] == written["exact"]
    assert hashes["tolerant"] != hashes["auto"] == hashes["exact"], "other words, other votes"


def test_clips_matter(critic):
    [query] = QUERIES[:1]
    other = make_query(clips=(make_clip(7), make_clip(8)), clip_hashes=("x", "y"))
    with torch.no_grad():
        first, second = critic.log_probs([query, other], ["A: good"] * 2)[0].tolist()
    assert abs(first - second) > 1e-3


def answer_on_the_device() -> None:
    """Ask every family's critic on the CPU, then on the device; run in a process of its own."""
    for kind in FAMILIES:
        critic, answers = make_critic(kind), ["A: good"] * 3
        with torch.no_grad():
            on_cpu = critic.log_probs(QUERIES, answers)[0]
        critic.module.to(pretend.NAME)
        on_device = critic.log_probs(QUERIES, answers)[0]
        on_device.sum().backward()
        torch.testing.assert_close(on_device.detach().cpu(), on_cpu, rtol=1e-4, atol=1e-3)
        drawn = critic.sample(QUERIES, Sampling([[0, 1]] * 3, 0.7, max_new_tokens=4))
        assert all(path.token_ids for paths in drawn for path in paths)


@pytest.mark.slow
def test_every_critic_answers_on_a_device_as_on_the_cpu():
    assert pretend.ended(answer_on_the_device) == 0


def test_a_saved_critic_answers_the_same(critic, tmp_path):
    (tmp_path / "p.json").write_text(json.dumps({"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}))
    critic.preprocessor = tmp_path / "p.json"
    critic.scaling = vision.scaling_of(critic.preprocessor, vision.CLIP)
    critic.save(tmp_path / "saved")
    (tmp_path / "saved" / "processor_config.json").write_text("{}")
    again = TransformersVlm.load(tmp_path / "saved", settings=SETTINGS)
    again.save(tmp_path / "again")  # with what servers read
    assert (tmp_path / "again" / "processor_config.json").is_file()
    assert again.hash() == critic.hash() and again.scaling == critic.scaling
    with torch.no_grad():
        before, after = (c.log_probs(QUERIES, ["A: good"] * 3)[0] for c in (critic, again))
    assert torch.equal(before, after)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen2_vl", "qwen3_vl"])
def test_qwen_sees_and_places_a_video_as_transformers_does(kind):
    critic = make_critic(kind)
    model, config = critic.llm, critic.llm.config
    clip = make_clip(0, num_frames=3, size=48)[:, :, :32]  # not square, an odd number of frames
    query = make_query("point", clips=(clip,))
    frames = vision.pixels(
        clip, clip_hash="x", size=critic._size(clip), scaling=critic.scaling, settings=SETTINGS
    )
    shown, grid = vision.patches(frames, patch=4, merge=2, pair=2)
    [row] = critic._prompts([query], critic.embed_clips([query]), room=0)
    assert row.count(VISUAL) == grid[0] * grid[1] * grid[2] // 4
    ids = torch.tensor([[config.video_token_id if i == VISUAL else i for i in row]])
    with torch.no_grad():
        theirs = model(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            pixel_values_videos=shown,
            video_grid_thw=torch.tensor([grid]),
            mm_token_type_ids=torch.tensor([[2 if i == VISUAL else 0 for i in row]]),
        ).logits
        ours = critic._logits([query], [[]], keep=len(row))
    assert torch.allclose(ours, theirs, atol=2e-4)


def test_text_begins_after_the_last_position_of_a_long_clip():
    # The models were trained so; transformers 5.3 and later has it otherwise.
    critic = make_critic("qwen2_5_vl", settings=Critic(max_frames=16, max_pixels=1024))
    interval = critic.llm.config.vision_config.tokens_per_second
    query = make_query("point", clips=(make_clip(0, num_frames=16, size=16),))
    [row] = critic._prompts([query], critic.embed_clips([query]), room=0)
    ids = torch.tensor([row])
    positions_3L = critic.positions([query], ids, torch.ones_like(ids))[:, 0]
    visual = ids[0] == VISUAL
    last = int(visual.nonzero()[-1])
    begin = int(positions_3L[0, visual].min())
    assert positions_3L[0, visual].max() == begin + 7 * interval  # eight pairs of frames
    assert positions_3L[:, last + 1].tolist() == [begin + 7 * interval + 1] * 3


# The token that holds a visual token's place, and how a clip's frames are handed over.
SHOWN = {
    "smolvlm": ("image_token_id", lambda frames: {"pixel_values": frames[None]}),
    "llava_onevision": ("video_token_id", lambda frames: {"pixel_values_videos": frames[None]}),
    "internvl": ("image_token_id", lambda frames: {"pixel_values": frames}),
}


@pytest.mark.parametrize("kind", SHOWN)
def test_the_others_answer_a_video_as_transformers_does(kind):
    critic = make_critic(kind)
    query = make_query("point", clips=(make_clip(0, num_frames=3, size=48),))
    frames = vision.pixels(
        query.clips[0],
        clip_hash="x",
        size=critic._size(query.clips[0]),
        scaling=critic.scaling,
        settings=SETTINGS,
    )
    place, shown = SHOWN[kind]
    with torch.no_grad():
        [row] = critic._prompts([query], critic.embed_clips([query]), room=0)
        placed = getattr(critic.llm.config, place)
        ids = torch.tensor([[placed if i == VISUAL else i for i in row]])
        mask = torch.ones_like(ids)
        theirs = critic.llm(input_ids=ids, attention_mask=mask, **shown(frames)).logits
        ours = critic._logits([query], [[]], keep=len(row))
    assert VISUAL in row and torch.allclose(ours, theirs, atol=2e-4)


@pytest.mark.slow
def test_it_learns_the_grammar(tmp_path):
    critic = make_critic("qwen2_5_vl", scale=1)
    result = warm_start.supervise(
        critic,
        warm_start.traces(BOTH),
        clips=shade,
        settings=CriticTraining(learning_rate=1e-2, max_train_steps=12, train_batch_size=4),
        checkpoint_folder=tmp_path,
        seed=0,
    )
    assert result.metrics["loss"] < 4.0 < np.log(vlms.VOCABULARY)


def test_the_vision_tower_learns_only_where_asked(critic, tmp_path):
    critic.save(tmp_path)
    for tuned in (False, True):
        settings = SETTINGS.model_copy(update={"tune_vision_tower": tuned})
        again = TransformersVlm.load(tmp_path, settings=settings)
        again.log_probs(QUERIES[:1], ["A: good"])[0].sum().backward()
        moved = {n: weight.grad is not None for n, weight in again.llm.named_parameters()}
        tower = [name for name in moved if again.family.is_tower(name)]
        assert any(moved[name] for name in tower) == tuned
        projector = [name for name in moved if re.search(r"merger|projector|connector", name)]
        assert any(".patch_embed" in name for name in tower)
        assert all(moved[name] for name in projector) and not {*projector} & {*tower}


def test_an_unknown_family_is_named_with_what_is_known(tmp_path):
    critic = make_critic("smolvlm")
    critic.save(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    with pytest.raises(ModelError, match=r"'whisper' is unknown. Use one of: qwen2_vl"):
        TransformersVlm.load(tmp_path, settings=SETTINGS)
