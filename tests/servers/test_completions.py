"""The code bounds what a server reports by what can be true."""

import math

import pytest

from dualipo.servers import completions


@pytest.mark.parametrize("listed", [{"good": 0.9999}, {"good": 0.9, "bad": 0.06}])
def test_options_that_are_not_listed_share_what_is_left(listed: dict[str, float]) -> None:
    token = {
        "top_logprobs": [
            {"token": text, "logprob": math.log(share)} for text, share in listed.items()
        ]
    }
    found = completions.option_log_probs(token, ("good", "normal", "bad"))
    for option in ("good", "normal", "bad"):
        most = 1 - sum(listed.values())
        assert math.exp(found[option]) == pytest.approx(listed.get(option, most))


def test_an_option_that_is_not_listed_is_no_likelier_than_the_last_one() -> None:
    token = {"top_logprobs": [{"token": "A", "logprob": -0.5}, {"token": "tie", "logprob": -4.0}]}
    assert completions.option_log_probs(token, ("A", "B"))["B"] == -4.0


def test_a_text_in_parts_is_one_text_without_its_thoughts() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "<verdict>B</verdict>"}]},
        {"type": "text", "text": "A: whole.\n"},
        {"type": "text", "text": "B: torn.\n<verdict>A</verdict>"},
    ]
    whole, *broken = (
        completions.choices_of({"choices": [{"message": {"content": content}}]})
        for content in (parts, [], parts[:1], [{"type": "text", "text": 1}], ["A"], [None])
    )
    assert completions.text_of(whole[0]) == "A: whole.\nB: torn.\n<verdict>A</verdict>"
    assert broken == [[]] * 5
