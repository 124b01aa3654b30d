"""A language model words reasons anew; it never changes what a person decided."""

import pytest

from dualipo.config import Rewriter
from dualipo.critic import reasoning
from dualipo.critic.learning import rewriting, warm_start
from dualipo.errors import StageError
from tests.critic.conftest import BOTH, point
from tests.servers import loopback

TRACES = warm_start.traces([*BOTH, point(0), point(1, "bad")])
CLEAR = "A: It is bright. Grade: good\nB: It is dark. Grade: bad\n<verdict>A</verdict>"


def settings(server, **changes) -> Rewriter:
    return Rewriter(model="writer", base_url=server.url, max_retries=0, **changes)


def say(body, count):
    """Reword A's win and good grades, turn B's win, fail on bad grades."""
    request = body["messages"][1]["content"]
    if "<verdict>" in request:
        return CLEAR
    return "It glows.\n<grade>good</grade>" if "good</grade>" in request else loopback.failing(500)


def test_fault_64_words_are_kept_only_with_the_persons_own_label():
    with loopback.serving(say) as server:
        rewritten, fates = rewriting.rewrite(TRACES, settings=settings(server))
    assert fates == {"rewritten": 2, "another label": 1, "no answer": 1}
    assert len(server.requests) == 4  # a pair is asked about once
    assert [trace.ask for trace in rewritten] == [trace.ask for trace in TRACES]
    assert rewritten[0].response == CLEAR and rewritten[1].response == reasoning.swap(CLEAR)
    assert rewritten[4].response == "It glows.\n<grade>good</grade>"
    assert [rewritten[n].response for n in (2, 3, 5)] == [TRACES[n].response for n in (2, 3, 5)]
    for before, after in zip(TRACES, rewritten, strict=True):
        kind = before.ask.kind
        outcomes = {
            reasoning.parse(t.response, kind, truncated=False).outcome for t in (before, after)
        }
        assert len(outcomes) == 1


def test_a_writer_that_refuses_ends_the_stage():
    with (
        loopback.serving(lambda body, count: loopback.failing(404)) as server,
        pytest.raises(StageError, match="refuses"),
    ):
        rewriting.rewrite(TRACES, settings=settings(server))
