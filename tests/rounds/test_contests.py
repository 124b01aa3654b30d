"""Each prompt's best meets its worst, or the prompt is counted with a reason."""

from dualipo.config import WORLD
from dualipo.records import DIMENSIONS, Candidate
from dualipo.rounds import contests

CLIPS = {"a0": "x", "a1": "y", "b0": "same", "b1": "same", "c0": "z", "c1": "w"}
SCORES = {"a0": 0.2, "a1": 0.9, "b0": 0.2, "b1": 0.9}  # the critic could not read c's clips


def test_contests_name_both_candidates_and_the_rest_is_counted() -> None:
    candidates = [
        Candidate(name, name[0], f"caption {name[0]}", int(name[1]), 0, 0, clip, "base", 0)
        for name, clip in CLIPS.items()
    ]
    expected = {(name, d): score for name, score in SCORES.items() for d in DIMENSIONS}
    chosen = contests.choose(candidates, expected)
    [contest] = chosen.chosen
    assert (contest.top, contest.bottom, contest.prompt.caption) == ("a1", "a0", "caption a")
    assert chosen.dropped == {"no contrast": 1, "unreadable": 1}
    [item] = contests.items_of(chosen, candidates, WORLD)
    assert (item.item_id, item.clip_hashes) == (contest.contest_id, ("y", "x"))
