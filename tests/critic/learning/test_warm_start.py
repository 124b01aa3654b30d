from dualipo.critic import judge, reasoning
from dualipo.critic.asks import Item
from dualipo.critic.learning import warm_start
from dualipo.critic.trust import forced_choice
from dualipo.records import DIMENSIONS
from tests.critic.conftest import BOTH, SETTINGS, Scripted, brightest, pair, point, seed_of, shade


def test_traces_end_in_the_humans_label_and_stand_in_both_orders():
    traces = warm_start.traces([*BOTH, pair(2, "tie"), point(0), point(1, "bad")])
    outcomes = [reasoning.parse(t.response, t.ask.kind, truncated=False).outcome for t in traces]
    assert outcomes == ["a", "b", "b", "a", "tie", "tie", "good", "bad"]
    assert traces[1].ask.clip_hashes == traces[0].ask.clip_hashes[::-1]
    assert traces[0].response.startswith("A: light Grade: good\nB: dark")


def test_traces_leave_out_what_cannot_be_asked_and_grades_that_contradict():
    traces = warm_start.traces(
        [pair(0, "a", "overall"), pair(1, "abstain"), pair(2, grade_a="bad", grade_b="good")]
    )
    assert [t.response for t in traces][:1] == ["A: light\nB: dark\n<verdict>A</verdict>"]
    assert len(traces) == 2


def test_the_beginning_of_a_seed_is_about_every_dimension():
    motion = [pair(n) for n in range(4)]
    rest = [pair(n, "b", d) for n in range(2) for d in ("consistency", "faithfulness")]
    turned = warm_start.in_turn([*motion, *rest])
    assert {label.dimension for label in turned[:3]} == set(DIMENSIONS)
    assert [label for label in turned if label.dimension == "motion"] == motion
    assert len(turned) == 8 and warm_start.in_turn(turned) == turned


def test_self_sampled_pairs_have_the_humans_verdict_as_winner():
    def half(query, seed):
        shown = brightest(query, seed)
        return shown if seed % 2 or query.kind == "point" else reasoning.swap(shown)

    critic = Scripted(half)
    traces = warm_start.traces([*BOTH, point(0)])
    own_pairs = warm_start.self_sampled(
        critic, traces, clips=shade, num_paths=8, settings=SETTINGS, seed_of=seed_of
    )
    assert len(own_pairs) == 4  # the point's paths all agree
    for own in own_pairs:  # as texts, so that they can be learnt with the clips exchanged
        right = "a" if own.ask.clip_hashes == traces[0].ask.clip_hashes else "b"
        outcomes = [
            reasoning.parse(text, "pair", truncated=False).outcome
            for text in (own.winner, own.loser)
        ]
        assert outcomes == [right, reasoning.swap_verdict(right)]


def test_a_fine_tuned_critic_judges_and_chooses(taught):
    items = [Item("x", "a lamp", ("shade230", "shade20"), ("motion",))]
    votes = judge.confirm(taught, items, clips=shade, settings=SETTINGS, seed_of=seed_of)
    assert {vote.outcome for vote in votes} == {"a"}
    margins = forced_choice.margins(taught, items, clips=shade, settings=SETTINGS)
    assert forced_choice.accuracy(margins, {("x", "motion"): "a"}) == 1.0
    shades = {"good": "shade230", "normal": "shade120", "bad": "shade20"}
    single = [Item(grade, "a lamp", (clip,), ("motion",)) for grade, clip in shades.items()]
    grades = forced_choice.grades(taught, single, clips=shade, settings=SETTINGS)
    assert grades == {(grade, "motion"): grade for grade in shades}
