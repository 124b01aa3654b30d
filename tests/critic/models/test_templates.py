"""Queries as VILA's language models know them: golden strings."""

import pytest

from dualipo.config import Critic
from dualipo.critic import reasoning
from dualipo.critic.models import templates
from dualipo.critic.models.templates import TEMPLATES
from tests.critic.conftest import make_query, marked_tokenizer

# The turn as the models were trained on it, and the token that ends an answer: the first four as
# VILA's conversations have them, the last as Qwen's tokenizers write a chat.
GOLDEN = {
    "vicuna_v1": (
        "A chat between a curious user and an artificial intelligence assistant. The assistant "
        "gives helpful, detailed, and polite answers to the user's questions. USER: {} ASSISTANT:",
        True,
        None,
    ),
    "plain": ("USER: {} ASSISTANT:", True, None),
    "numbered": ("USER: {} ASSISTANT:", True, None),
    "llama_3": (
        "<|start_header_id|>system<|end_header_id|>\n\nYou are a helpful language and vision "
        "assistant. You are able to understand the visual content that the user provides, and "
        "assist the user with a variety of tasks using natural language.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        True,
        None,
    ),
    "hermes-2": (
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n{}<|im_end|>"
        "<|im_start|>assistant\n",
        False,
        "<|im_end|>",
    ),
    "chatml": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}"
        "<|im_end|>\n<|im_start|>assistant\n",
        False,
        "<|im_end|>",
    ),
}


# NVILA's name for Qwen2's template, without the full stop; and VILA's short name of Vicuna's.
GOLDEN["qwen2"] = (GOLDEN["chatml"][0].replace("assistant.", "assistant"), False, "<|im_end|>")
GOLDEN["v1"] = GOLDEN["vicuna_v1"]


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_a_template_writes_the_turn_that_its_models_know(name):
    turn, begins, end = GOLDEN[name]
    query = make_query(question="Which is better?")
    parts = templates.prompt(query, num_frames=[2, 1], style=TEMPLATES[name], settings=Critic())
    written = "".join(part if isinstance(part, str) else "<image>" for part in parts)
    asked = f"{reasoning.fence(query.caption)}\nWhich is better?"
    clips = "Video A:\n<image>\n<image>\nVideo B:\n<image>\n"
    if name == "numbered":
        clips = "Video A:\nA1: <image>\nA2: <image>\nVideo B:\nB1: <image>\n"
    assert written == turn.replace("{}", f"{clips}{asked}")
    assert (TEMPLATES[name].begins, TEMPLATES[name].end) == (begins, end)


def test_what_a_tokenizer_knows_names_the_template():
    assert templates.guess(marked_tokenizer()) == "vicuna_v1"
    assert templates.guess(marked_tokenizer("<|start_header_id|>")) == "llama_3"
    assert templates.guess(marked_tokenizer("<|im_start|>")) == "chatml"
