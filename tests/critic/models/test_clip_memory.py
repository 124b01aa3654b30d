"""A clip is looked at once while the weights rest, and anew once they change."""

import pytest
import torch

from dualipo.config import Critic
from tests.critic.conftest import make_query, make_vila


def test_a_critic_that_learns_looks_again(vila):
    query = make_query()
    with torch.no_grad():
        before = vila.embed_clips([query])["clip0"]
        vila.module.mm_projector.layers[2].bias.add_(1.0)
        assert not torch.equal(vila.embed_clips([query])["clip0"], before)
    vila.freeze()
    with pytest.raises(RuntimeError, match="does not require grad"):
        vila.log_probs([query], ["A"])[0].sum().backward()


def test_a_critic_at_rest_looks_once_until_it_learns(vila):
    looks = []
    vila.module.vision_tower.register_forward_hook(lambda *_: looks.append(1))
    query = make_query("point")
    vila.rest()
    with torch.no_grad():
        before = [vila.embed_clips([query])["clip0"] for _ in range(2)][1]
        assert len(looks) == 1
        with vila.learning():
            vila.module.mm_projector.layers[2].bias.add_(1.0)
            vila.embed_clips([query])
        after = [vila.embed_clips([query])["clip0"] for _ in range(2)][1]
    assert len(looks) == 3 and not torch.equal(after, before)


def test_a_clip_looks_the_same_whatever_else_is_asked_and_remembered():
    small = make_vila(settings=Critic(max_frames=3, clip_memory_mb=0))
    small.freeze()
    queries = [make_query(seed=n) for n in range(3)]
    with torch.no_grad():
        alone = [small.embed_clips([query]) for query in queries]
        together = small.embed_clips(queries)
    assert all(torch.equal(together[name], seen[name]) for seen in alone for name in seen)
