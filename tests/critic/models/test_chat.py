"""The base of VILA and transformers' VLMs: a LoRA that is merged, and labels' probabilities."""

import pytest
import torch

from dualipo.config import Critic, CriticTraining
from dualipo.critic import judge, reasoning
from dualipo.critic.asks import Ask, Item, load_queries
from dualipo.critic.learning import warm_start
from dualipo.critic.models.families import FAMILIES
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.models.vila import Vila
from dualipo.critic.vlm import Sampling
from tests.critic import vlms
from tests.critic.conftest import (
    BOTH,
    SETTINGS,
    make_query,
    make_tokenizer,
    make_vila,
    seed_of,
    shade,
)

LORA = Critic(max_frames=1, max_pixels=1024, rank=4, lora_alpha=8)
QUERIES = [make_query(clip_hashes=("a", "b")), make_query("point", 3)]


@pytest.fixture(params=["vila", *FAMILIES])
def folder(request, tmp_path):
    """Save an untrained critic of each kind."""
    critic = (
        make_vila(settings=LORA, scale=1)
        if request.param == "vila"
        else TransformersVlm(
            vlms.make(request.param, scale=1), tokenizer=make_tokenizer(), settings=LORA
        )
    )
    critic.save(tmp_path / request.param)
    return tmp_path / request.param


def log_probs(critic) -> torch.Tensor:
    with torch.no_grad():
        return critic.log_probs(QUERIES, ["A: good"] * 2)[0]


def test_a_lora_begins_as_nothing_and_is_saved_as_whole_weights(folder, tmp_path):
    kind = Vila if folder.name == "vila" else TransformersVlm
    critic, before = (kind.load(folder, settings=LORA) for _ in range(2))
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
    after = kind.load(tmp_path / "saved", settings=LORA)
    assert after.module.state_dict().keys() == before.module.state_dict().keys()
    assert torch.allclose(log_probs(after), learnt, atol=1e-4) and after.hash() == critic.hash()


def test_answers_behind_one_prompt_are_as_likely_as_each_alone(folder):
    kind = Vila if folder.name == "vila" else TransformersVlm
    critic = kind.load(folder, settings=LORA)
    critic.module.double()
    answers = [["A: good", "A: a much longer answer", ""], ["good", "bad", "B: normal, bad, bad"]]
    found = critic.log_probs_of_each(QUERIES, answers)
    for query, own, found_P in zip(QUERIES, answers, found, strict=True):
        with torch.no_grad():
            alone = torch.cat([critic.log_probs([query], [answer])[0] for answer in own])
        assert torch.allclose(found_P, alone, atol=1e-9)


def test_label_probabilities_read_while_sampling_are_those_asked_afterwards(taught):
    taught.module.double()
    asks = [Ask("x", "point", "a lamp", "motion", (f"shade{n}",)) for n in (20, 120, 230)]
    shown = load_queries(asks, shade)
    sampling = Sampling([[1, 2]] * 3, 0.8, max_new_tokens=40, choice=reasoning.GRADE_CHOICE)
    drawn = taught.sample(shown, sampling)
    for query, paths in zip(shown, drawn, strict=True):
        for path in paths:
            prefix = path.text[: path.text.index("<grade>")] + "<grade>"
            options = reasoning.GRADE_CHOICE.options
            asked = taught.choice_log_probs([query], [prefix], options)[0].tolist()
            read = [path.choice_log_probs[option] for option in options]
            assert (read[0], read[2]) == pytest.approx((asked[0], asked[2]), abs=1e-9)
            assert asked[1] < read[1] < asked[1] + 0.01  # "normal" is two tokens, the first is read
    votes = judge.score(
        taught,
        [Item(f"c{n}", "a lamp", (f"shade{n}",), ("motion",)) for n in (20, 120, 230)],
        clips=shade,
        settings=SETTINGS,
        seed_of=seed_of,
    )
    scores = judge.expected_scores(votes)
    assert scores["c230", "motion"] > scores["c120", "motion"] > scores["c20", "motion"]
