"""Several addresses share the requests; one that fails rests until it answers again."""

from collections import Counter
from contextlib import ExitStack

import httpx
import pytest

from dualipo.config import Server
from dualipo.servers import completions
from dualipo.servers.endpoint import Endpoint, Failure
from dualipo.servers.pool import REST, Pool
from tests.servers import loopback

ADDRESSES = [httpx.URL(f"http://host{n}/v1") for n in range(3)]


def test_a_request_goes_to_the_address_with_the_fewest_under_way() -> None:
    pool = Pool(ADDRESSES, is_up=lambda address: True)
    with ExitStack() as stack:
        taken = [stack.enter_context(pool.taken()) for _ in range(6)]
        assert Counter(taken) == {0: 2, 1: 2, 2: 2}
    with pool.taken() as number:
        assert number == 0


def test_an_address_that_failed_rests_until_it_answers_a_knock() -> None:
    clock, up, knocked = [1.0], {"host0": False}, []

    def is_up(address: httpx.URL) -> bool:
        knocked.append(address.host)
        return up[address.host]

    pool = Pool(ADDRESSES[:2], is_up=is_up, now=lambda: clock[0])
    pool.rest(0)
    for later, expected in ((0.0, 1), (REST + 1, 1), (REST + 1, 0)):
        clock[0] += later
        with pool.taken() as number:
            assert number == expected
        up["host0"] = bool(knocked)
    assert knocked == ["host0", "host0"], "it is asked once each time it has rested"
    pool.rest(0)
    pool.rest(1)
    with pool.taken() as number:
        assert number == 0, "where all rest, all are tried"


def test_fault_64_a_server_that_dies_leaves_its_requests_to_the_others() -> None:
    with loopback.serving(loopback.brighter) as gone:
        dead = gone.url
    waits: list[float] = []
    with loopback.serving(lambda body, count: "hello") as alive:
        settings = Server(base_url=dead, max_retries=0)
        endpoint = Endpoint(settings, settings_name="critic.server", others=[alive.url])
        answers = [
            endpoint.post("/chat/completions", {"n": 1}, sleep=waits.append) for _ in range(4)
        ]
        alive.models = ["m"]
        [absent] = endpoint.refusals("m", setting="x")
    assert not any(isinstance(answer, Failure) for answer in answers) and waits == []
    assert len(alive.requests) == 4 and "cannot be reached" in str(absent)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 3}, {"prompt tokens": 7, "answer tokens": 3}),
        ({"completion_tokens_details": {"reasoning_tokens": 5}}, {"thought tokens": 5}),
        ({"prompt_tokens": True, "completion_tokens": -3}, {}),
        ([1], {}),
        (None, {}),
    ],
)
def test_tokens_are_counted_as_the_server_counts_them(usage, counted) -> None:
    assert completions.usage_of({"choices": [], "usage": usage}) == counted


def test_the_tokens_of_a_thought_are_counted_where_tokens_are_reported() -> None:
    tokens = [{"token": text, "logprob": -1.0} for text in ("<think>", "so", "</think>", "A")]
    choice = {"message": {"content": "<think>so</think>A"}, "logprobs": {"content": tokens}}
    assert completions.usage_of({"choices": [choice, choice]}) == {"thought tokens": 6}
