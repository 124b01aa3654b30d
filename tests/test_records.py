"""A pair's id is made in one place and looked up, never taken apart."""

from dualipo.records import Candidate, pair_id, pairs_by_id


def test_pairs_are_found_by_id_in_both_orders_within_a_prompt() -> None:
    candidates = [
        Candidate(name, name[0], "a caption", 0, 0, 0, name, "base", 0)
        for name in ("p:0", "p:1", "q:0")  # a colon in an id changes nothing
    ]
    first, second, _ = candidates
    assert pairs_by_id(candidates) == {
        pair_id("p:0", "p:1"): (first, second),
        pair_id("p:1", "p:0"): (second, first),
    }
