"""The base of VILA and transformers' VLMs: what is remembered, and a LoRA that is merged."""

import pytest
import torch

from dualipo.config import Critic, CriticTraining
from dualipo.critic.learning import warm_start
from dualipo.critic.models.families import FAMILIES
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.models.vila import Vila
from tests.critic import vlms
from tests.critic.conftest import BOTH, make_query, make_tokenizer, make_vila, shade

SETTINGS = Critic(max_frames=1, max_pixels=1024, rank=4, lora_alpha=8)
QUERIES = [make_query(clip_hashes=("a", "b")), make_query("point", 3)]


@pytest.fixture(params=["vila", *FAMILIES])
def folder(request, tmp_path):
    """Save an untrained critic of each kind."""
    critic = (
        make_vila(settings=SETTINGS, scale=1)
        if request.param == "vila"
        else TransformersVlm(
            vlms.make(request.param, scale=1), tokenizer=make_tokenizer(), settings=SETTINGS
        )
    )
    critic.save(tmp_path / request.param)
    return tmp_path / request.param


def log_probs(critic) -> torch.Tensor:
    with torch.no_grad():
        return critic.log_probs(QUERIES, ["A: good"] * 2)[0]


def test_a_lora_begins_as_nothing_and_is_saved_as_whole_weights(folder, tmp_path):
    kind = Vila if folder.name == "vila" else TransformersVlm
    critic, before = (kind.load(folder, settings=SETTINGS) for _ in range(2))
    critic.adapt(seed=0)
    assert torch.equal(log_probs(critic), log_probs(before))
    trained = {n for n, weight in critic.module.named_parameters() if weight.requires_grad}
    language = {n for n in trained if "language_model" in n or "text_model" in n or "llm." in n}
    assert language and all(".lora_" in name for name in language) and trained > language
    warm_start.supervise(
        critic,
        warm_start.traces(BOTH),
        clips=shade,
        settings=CriticTraining(learning_rate=1e-2, max_train_steps=2, train_batch_size=4),
        checkpoint_folder=tmp_path / "steps",
        seed=0,
    )
    learnt = log_probs(critic)
    assert not torch.allclose(learnt, log_probs(before))
    critic.save(tmp_path / "saved")
    after = kind.load(tmp_path / "saved", settings=SETTINGS)
    assert after.module.state_dict().keys() == before.module.state_dict().keys()
    assert torch.allclose(log_probs(after), learnt, atol=1e-4) and after.hash() == critic.hash()
