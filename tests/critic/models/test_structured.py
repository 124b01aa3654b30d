"""Forms of answer that a server enforces, and frames as they are sent."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from dualipo.config import Critic
from dualipo.critic import judge, reasoning
from dualipo.critic.asks import Item
from dualipo.critic.models import structured
from dualipo.critic.models.sent_frames import url_of
from dualipo.critic.models.served import ServedCritic
from dualipo.records import GRADES
from tests.critic.conftest import seed_of, shade
from tests.servers import loopback


def settings(url: str = "http://127.0.0.1/v1", **server) -> Critic:
    tree = {"base_url": url, "max_retries": 0, **server}
    return Critic.model_validate({"backend": "server", "server": tree, "max_frames": 2})


def obedient(body, count):
    """Answer in the form that is asked for, and prefer the brighter clip."""
    said = loopback.brighter(body, count)
    if choices := body.get("guided_choice"):
        tag = said[said.index("<") :]
        return next(choice for choice in choices if choice.endswith(tag))
    if "response_format" not in body:
        return said
    label = said[said.index(">") + 1 : said.rindex("<")]
    clip = {"evidence": "it is light", "grade": "normal"}
    if "<grade>" in said:
        text = json.dumps(clip | {"grade": label})
    else:
        text = json.dumps({"A": clip, "B": clip, "verdict": label})
    return split(loopback.completion(text, body), text, label)


def split(answer, text, label):
    """Give the label a token of its own, with its alternatives."""
    before, after = text.rsplit(f'"{label}"', 1)
    top = [{"token": "good", "logprob": -0.2}, {"token": "bad", "logprob": -1.8}]
    tokens = [
        {"token": token, "logprob": -0.1, "top_logprobs": top}
        for token in (f'{before}"', label, f'"{after}')
    ]
    choices = [choice | {"logprobs": {"content": tokens}} for choice in answer["choices"]]
    usage = {"prompt_tokens": 900, "completion_tokens": 40}
    return answer | {"choices": choices, "usage": usage}


@pytest.mark.parametrize("form", ["response_format", "guided_choice"])
def test_an_answer_of_an_enforced_form_is_read_and_its_label_weighed(form: str) -> None:
    with loopback.serving(obedient) as server:
        asked = settings(server.url, structured=form)
        critic = ServedCritic("m", settings=asked)
        pair, clip = Item("p", "a lamp", ("shade200", "shade40")), Item("c", "x", ("shade230",))
        told = {"clips": shade, "settings": asked, "seed_of": seed_of}
        votes = judge.confirm(critic, [pair], **told)
        scored = judge.score(critic, [clip], **told)
    assert {vote.outcome for vote in votes} == {"a"} and {v.outcome for v in scored} == {"good"}
    assert all(form in body for _, _, body in server.requests)
    if form == "response_format":
        assert votes[0].reasoning.startswith("A: it is light Grade: normal\nB: it is light")
        good, bad = np.exp([-0.2, -1.8])
        normal = 1 - good - bad  # the server lists no more, so it is at most what they leave
        mean = (0.9 * good + 0.2 * normal + 0.05 * bad) / (good + normal + bad)
        assert scored[0].score == pytest.approx(mean)
        system = server.requests[0][2]["messages"][0]["content"]
        assert system.endswith("one JSON object with the keys A, B and verdict.")
        assert critic.usage["prompt tokens"] == 900 * len(server.requests)
    assert critic.usage["requests"] == len(server.requests)


@pytest.mark.parametrize("kind", ["pair", "point"])
def test_what_is_enforced_is_in_the_grammar(kind) -> None:
    wanted = structured.wanted("guided_choice", kind)
    assert wanted["structured_outputs"] == {"choice": wanted["guided_choice"]}
    for text in wanted["guided_choice"]:
        assert reasoning.parse(text, kind, truncated=False).why is None
    for broken in ("", "[]", "{}", '{"A": 1, "B": 2, "verdict": "A"}', '{"verdict": "C"}', "A"):
        assert structured.in_grammar(broken, kind) == broken
    assert structured.wanted("none", kind) == {}
    schema = structured.wanted("response_format", kind)["response_format"]["json_schema"]
    assert schema["strict"] and list(GRADES) in [
        value["enum"] for value in schema["schema"]["properties"].values() if "enum" in value
    ] + [structured._CLIP["grade"]["enum"]]


def test_frames_are_scaled_to_max_pixels_and_sent_in_the_format_that_is_asked_for() -> None:
    frame = np.zeros((480, 832, 3), np.uint8) + np.arange(832, dtype=np.uint8)[:, None]
    sent = {}
    for name in ("png", "jpeg"):
        url = url_of(frame, settings=settings(image_format=name))
        head, _, encoded = url.partition("base64,")
        assert head == f"data:image/{name};"
        picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
        assert picture.width * picture.height <= Critic().max_pixels < 1.03 * 417 * 241
        assert picture.width / picture.height == pytest.approx(832 / 480, rel=0.01)
        sent[name] = picture.format
    assert sent == {"png": "PNG", "jpeg": "JPEG"}
    small = np.zeros((20, 30, 3), np.uint8)
    encoded = url_of(small, settings=settings()).partition("base64,")[2]
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (30, 20)
