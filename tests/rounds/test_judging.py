"""A critic that must not go on judging stops its stage."""

import shutil

from dualipo.progress import PlainProgress
from dualipo.rounds import judging, sampling
from dualipo.rounds.loop import opened
from dualipo.store.ledger import Unit
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


def stops(harness: Harness, override: str, said: str) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, "critic.max_abstain_rate=0.3", override)
        for _ in range(2):  # a resumed run judges its votes as the first did
            assert harnesses.ended(settings) == 1
            assert said in harnesses.log(path)
        with harnesses.ledger_of(path) as ledger:
            assert ledger.votes(0, 0, "point") and not ledger.votes(0, 0, "pair")


def test_fault_27_a_critic_that_cannot_be_read_stops_the_stage(harness: Harness) -> None:
    stops(harness, "critic.max_new_tokens=8", "could not be read")


def test_fault_31_a_critic_without_an_opinion_stops_the_stage(harness: Harness) -> None:
    stops(harness, "critic.min_entropy=99", "It has collapsed")


def test_fault_31_a_critic_of_one_place_stops_before_anything_is_preferred(
    harness: Harness,
) -> None:
    with harnesses.elsewhere(harness) as path:
        assert harnesses.ended(harness.recipe(path, "critic.max_position_share=0.501")) == 1
        assert "times it prefers the" in harnesses.log(path)
        with harnesses.ledger_of(path) as ledger:
            assert ledger.votes(0, 0, "pair") and not ledger.is_done(Unit(0, 0, "judged"))


def test_contests_are_chosen_once_an_attempt(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        shutil.copytree(harness.path, path)

        def body() -> None:
            with opened(harness.recipe(path), PlainProgress()) as run:
                candidates = sampling.sample_candidates(run, 0, sampling.choose_prompts(run, 0))
                first, again = (judging.contests_of(run, 0, 0, candidates) for _ in range(2))
                assert first is again and first.chosen
                assert judging.contests_of(run, 0, 1, candidates) is not first

        assert harnesses.in_child(body, path=path) == 0, harnesses.log(path)
