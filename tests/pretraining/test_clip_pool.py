"""Tests that a pool's clips are made once, with the measurement that describes them."""

import numpy as np
import pytest
import torch

from dualipo.pretraining import settings
from dualipo.pretraining.clip_pool import DRAWN, ClipPool, Kind
from dualipo.pretraining.lineages import Lineage
from dualipo.world.measurement import measure
from tests.pretraining.conftest import GENERATOR


def test_clips_of_a_draw_share_the_prompt_and_carry_their_measurement(drawn):
    first, second = drawn.draw(np.random.default_rng(0), 2)
    assert first.asked == second.asked
    assert not np.array_equal(first.frames_FHW3, second.frames_FHW3)
    for clip in (first, second):
        assert clip.frames_FHW3.shape == (9, 32, 32, 3)
        assert repr(clip.measurement) == repr(measure(clip.frames_FHW3))


def test_a_shard_is_a_pure_function_of_its_kind_and_number(tmp_path):
    pools = [
        ClipPool(GENERATOR, tmp_path / name, kinds=(DRAWN,), shards_per_kind=1)
        for name in ("first", "second")
    ]
    shards = [path.read_bytes() for path in sorted(tmp_path.rglob("*.safetensors"))]
    assert len(shards) == 2 and shards[0] == shards[1]
    clips = [pool.draw(np.random.default_rng(1), 1)[0] for pool in pools]
    np.testing.assert_array_equal(clips[0].frames_FHW3, clips[1].frames_FHW3)


@pytest.mark.slow
def test_a_lineage_is_aligned_once_and_its_clips_differ_from_the_bases(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "PROMPTS_PER_CLIP_SHARD", 2)
    monkeypatch.setattr(settings, "LINEAGE_PROMPTS", 4)
    monkeypatch.setattr(settings, "LINEAGE_REAL_CLIPS", 8)
    monkeypatch.setattr(settings, "LINEAGE_MIN_GAP", 0.0)
    short = {"max_train_steps": 2, "train_batch_size": 2, "real_batch_size": 2}
    monkeypatch.setattr(settings, "LINEAGE_ALIGN", settings.LINEAGE_ALIGN.model_copy(update=short))
    said: list[str] = []
    kinds = (Kind("generator", 7, 0), Kind("generator", 7, 1))
    pool = ClipPool(GENERATOR, tmp_path, kinds=kinds, shards_per_kind=1, say=said.append)
    assert [line.split(":")[0] for line in said] == [
        "lineage-7-round-0-guidance-1-00.safetensors",
        "lineage 7, round 0",
        "lineage 7, round 1",
        "lineage-7-round-1-guidance-1-00.safetensors",
    ]
    assert pool.draw(np.random.default_rng(0), 2)[0].asked.figures
    base, aligned = (Lineage(GENERATOR, tmp_path, 7).load(r).module for r in (0, 1))
    assert len(said) == 4, "nothing is made again"
    changed = [
        not torch.equal(before, after)
        for before, after in zip(base.parameters(), aligned.parameters(), strict=True)
    ]
    assert any(changed)
