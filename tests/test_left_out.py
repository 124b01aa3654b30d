"""Left-out things are counted, and the first three are shown."""

from dualipo import left_out
from dualipo.event_parts import LeftOut


def test_units_add_up_and_keep_the_first_three_examples() -> None:
    units = [{"refused": ["a", "b"], "folded": []}, {"refused": ["b", "c", "d"]}, {}]
    events = [event for unit in units for event in left_out.events_of(unit)]
    assert len(events) == 2
    total = left_out.together(events)
    assert total == {"refused": LeftOut(num=5, examples=["a", "b", "c"])}
    assert left_out.in_words(total) == ["5 refused: a; b; c"]


def test_an_example_is_one_short_line_that_prints() -> None:
    shown = left_out.shorten("a\nb\u202e\ud800" + "x" * 200)
    assert shown.startswith("a<U+000A>b<U+202E><U+D800>x") and len(shown) == 80
    shown.encode()
