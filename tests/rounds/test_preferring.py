"""A run's preferences: pairs that votes confirmed, and Diffusion-KTO's labelled clips.

The KTO run needs pointwise labels alone, from scores to the next round's generator.
"""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dualipo import config
from dualipo.events import AlignEvent, ConfirmEvent, PreferEvent, ScoreEvent
from dualipo.records import Pair, Point
from dualipo.rounds import closing, preferring
from dualipo.rounds.planning import plan
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness
from tests.rounds.stopped import Stopped, stopped

KTO = (
    "align.loss_type=kto",
    "align.gradient_accumulation_steps=2",
    "align.rank=2",
    "align.reference=base",
    "refresh.force_rounds=[0]",
)


ONE_ROUND = ("rounds=1", "refresh.force_rounds=[]")


def pairs(path: Path) -> list[Pair]:
    table = path / "rounds" / "000" / "attempt-0" / "preferences.parquet"
    return tables.read_records(table, record_type=Pair)


def test_coin_flips_turn_pairs_around_and_change_nothing_else(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, *ONE_ROUND, "verdicts=coin_flip")
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        flipped, judged = pairs(path), pairs(harness.path)
        kept, expected = (harnesses.events(p, PreferEvent)[0] for p in (path, harness.path))
    assert kept == expected
    for coin, critic in zip(flipped, judged, strict=True):
        sides = (coin.video_a, coin.votes_a), (coin.video_b, coin.votes_b)
        assert Counter(sides) == Counter(
            [(critic.video_a, critic.votes_a), (critic.video_b, critic.votes_b)]
        )
        assert {coin.video_a, coin.video_b} == {critic.video_a, critic.video_b}


def test_every_prompt_is_kept_or_counted(harness: Harness) -> None:
    for event in harnesses.events(harness.path, PreferEvent):
        assert event.kept + sum(event.dropped.values()) == event.num_prompts == 8
        assert event.kept > 0


def test_what_the_votes_agree_on_is_recorded(harness: Harness) -> None:
    for event in harnesses.events(harness.path, ConfirmEvent):
        assert 0 < event.mean_entropy <= math.log(3)
        assert 0 < event.mean_order_agreement < 1 and 0 < event.mean_vote_share < 1


def test_fault_21_short_clips_are_counted_where_they_are_scored(harness: Harness) -> None:
    with harnesses.ledger_of(harness.path) as ledger:
        clips = {candidate.clip for candidate in ledger.candidates(0)}
    store = ClipStore(harness.path / "clips")
    assert preferring.count_short(store, clips, num_wanted=9) == 0
    assert preferring.count_short(store, clips, num_wanted=10) == len(clips) > 0
    assert {event.num_short for event in harnesses.events(harness.path, ScoreEvent)} == {0}


@pytest.fixture(scope="module")
def kto(models_folder: Path, memory: Path) -> Iterator[Harness]:
    # The best and the worst clip of each prompt, as a random critic rarely says Good.
    yield harnesses.prepare(
        models_folder, memory / "kto", *KTO, "align.kto_labels=extremes", wanted="refreshed"
    )


def points(path: Path, round_: int, attempt: int) -> list[Point]:
    table = path / "rounds" / f"{round_:03d}" / f"attempt-{attempt}" / "preferences.parquet"
    return tables.read_records(table, record_type=Point)


def test_labels_need_no_pairwise_vote_and_reach_the_next_round(kto: Harness) -> None:
    with harnesses.ledger_of(kto.path) as ledger:
        head, files = ledger.head("generator"), ledger.files()
    assert not list((kto.path / "rounds").rglob("confirm"))
    assert head is not None and head.version_id == "g001.0"
    assert "rounds/001/attempt-0/generator/pytorch_lora_weights.safetensors" in files
    labelled = points(kto.path, 1, 0)
    assert {point.grade for point in labelled} == {"good", "bad"}
    assert all(point.dimension == "overall" and point.source == "critic" for point in labelled)


def test_every_clip_is_labelled_or_counted(kto: Harness) -> None:
    for event in harnesses.events(kto.path, PreferEvent):
        assert event.kept + sum(event.dropped.values()) == event.num_prompts == 16
        assert 0 < event.num_desirable < event.kept
        assert event.mean_vote_share is not None


def test_the_alignment_is_logged_and_shown(kto: Harness) -> None:
    event = harnesses.events(kto.path, AlignEvent)[-1]
    assert None not in (event.implicit_accuracy, event.loser_gap, event.z_std)
    assert "Clips that were labelled" in (kto.path / "report.html").read_text()


POINTS = (
    "preferences.parquet.after_rename",
    "reference.safetensors.after_rename",
    "checkpoint.after_rename",
    "pytorch_lora_weights.safetensors.after_rename",
)


@pytest.fixture(scope="module")
def halted(kto: Harness, tmp_path_factory: pytest.TempPathFactory) -> Stopped:
    """Halt a run at four points of its last alignment."""
    hits = {kto.point(name, -1) for name in POINTS}
    return stopped(kto, tmp_path_factory.mktemp("kto"), hits)


@pytest.mark.parametrize("name", POINTS)
def test_fault_06_a_killed_kto_run_is_equal(halted: Stopped, name: str) -> None:
    assert halted.killed_at(halted.harness.point(name, -1)) == halted.harness.clean


def test_fault_35_a_round_without_a_label_ends_the_run_before_training(
    models_folder: Path, memory: Path
) -> None:
    # No label is Good in every dimension where none of the paths may end.
    path = memory / "one-class" / "run"
    overrides = [*KTO, "critic.max_new_tokens=8", "critic.max_abstain_rate=1.0"]
    settings = harnesses.recipe(models_folder, path, *overrides)
    assert harnesses.ended(settings) == 0
    assert "no preference was kept (dropped: 16 unreadable)" in harnesses.log(path)
    assert not list(path.rglob("reference.safetensors"))


def test_the_plan_of_a_kto_run_confirms_nothing() -> None:
    assert "confirm" in plan(config.Config())
    settings = config.resolve({"align": {"loss_type": "kto"}}, subject="here")
    assert "confirm" not in plan(settings)


@pytest.mark.parametrize(("backend", "again"), [("server", "--retry-abstained"), ("vila", "judge")])
def test_a_run_without_a_preference_says_what_helps_with_what_was_dropped(
    backend: str, again: str
) -> None:
    told = closing.without_preference({"unreadable": 6, "tie": 1}, backend)
    assert "(dropped: 6 unreadable, 1 tie)" in told and "`--redo prefer`" in told
    assert f"{again}` and a larger critic.max_new_tokens" in told
    assert "max_new_tokens" not in closing.without_preference({"tie": 7}, backend)
