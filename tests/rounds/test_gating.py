"""The gate of a refresh: which labels it reads, and what it concludes from two critics' leans."""

import math
import shutil
from dataclasses import replace

import pytest

from dualipo import config
from dualipo.progress import PlainProgress
from dualipo.records import Pair, Point
from dualipo.rounds import gating, seed_labels
from dualipo.rounds.gating import GateLabels
from dualipo.rounds.loop import opened
from dualipo.rounds.run import Run
from tests.critic.conftest import SETTINGS, Scripted, brightest, pair, point, shade
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness


def leans(critic: Scripted, labels: list[Pair | Point]) -> gating.Leans:
    return gating.leans(critic, labels, clips=shade, settings=SETTINGS)


def test_a_lean_is_the_log_odds_of_the_labels_own_verdict() -> None:
    right, wrong = pair(0), replace(pair(1), verdict="b")
    labels = [right, pair(2, "tie"), wrong, point(3), point(4, "normal"), pair(5, "a", "overall")]
    answered = leans(Scripted(brightest), labels)
    assert set(answered) == {0, 2, 3, 4}  # neither a tie nor "overall" is asked about
    assert answered[0] == pytest.approx((9, 9)) and answered[2] == pytest.approx((-9, -9))
    assert answered[3] == pytest.approx((9 - math.log(2),)) and answered[4][0] < 0


def test_the_same_pair_labelled_twice_counts_twice_and_not_double() -> None:
    twice = leans(Scripted(brightest), [pair(0), pair(0)])
    assert twice[0] == twice[1] == pytest.approx((9, 9))


def test_a_critic_that_comes_to_prefer_a_place_is_worse() -> None:
    always_first = Scripted(lambda query, seed: "A: x\nB: x\n<verdict>A</verdict>")
    assert leans(always_first, [pair(0)])[0] == pytest.approx((9, -9))
    labels = [replace(pair(n), prompt_id=f"p{n}") for n in range(40)]
    before = {n: (1.0 + 0.1 * (n % 5),) * 2 for n in range(40)}
    after = {n: (ab + 3, ba - 3) for n, (ab, ba) in before.items()}  # their mean is the same
    gate = gating.compare(GateLabels("audit", labels), before, after, margin=0.04)
    assert gate is not None and gate.verdict == "worse"
    assert (gate.num_labels, gate.accuracy_before, gate.accuracy_after) == (40, 1.0, 0.5)


def test_a_label_that_is_no_longer_answered_counts_as_surely_wrong() -> None:
    labels = [replace(pair(n), prompt_id=f"p{n}") for n in range(40)]
    before = {n: (1.0 + 0.1 * (n % 5),) for n in range(40)}
    chosen = GateLabels("audit", labels)
    same = gating.compare(chosen, before, before, margin=0.04)
    assert same is not None and same.verdict == "no difference" and same.loss == 0
    silent = gating.compare(chosen, before, {n: before[n] for n in range(20)}, margin=0.04)
    assert silent is not None and silent.verdict == "worse" and silent.accuracy_after == 0.5
    three = GateLabels("audit", labels[:3])
    assert gating.compare(three, dict.fromkeys(range(3), (1.0,)), {}, margin=0.04) is None


def test_the_run_says_at_the_start_how_many_labels_the_margin_takes() -> None:
    few = config.from_leaves({"prompts.num_monitor_prompts": 24}, subject="a test")
    said = gating.power(few)
    assert said is not None and "48 audit labels" in said and "about 240" in said
    wide = config.from_leaves(
        {"prompts.num_monitor_prompts": 80, "monitor.num_audit_labels": 240}, subject="a test"
    )
    assert gating.power(wide) is None
    halved = wide.refresh.model_copy(update={"sources": ("votes", "audit")})
    assert "120 audit labels" in str(gating.power(wide.model_copy(update={"refresh": halved})))
    none = wide.monitor.model_copy(update={"num_audit_labels": 0})
    assert "held-out labels" in str(gating.power(wide.model_copy(update={"monitor": none})))
    strict = config.from_leaves({"refresh.gate_margin": 0.02}, subject="a test")
    assert "about 960" in str(gating.power(strict))
    assert gating.power(few.model_copy(update={"rounds": 0})) is None


def test_one_half_of_the_held_out_prompts_chooses_and_the_other_judges(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        shutil.copytree(harness.path, path)
        with opened(harness.recipe(path), PlainProgress()) as run:
            require_two_halves(run)


def require_two_halves(run: Run) -> None:
    halves = [gating.held_out_half(run, chooses=chooses) for chooses in (True, False)]
    whole, _ = seed_labels.held_out_labels(run)
    prompts = [{label.prompt_id for label in half} for half in halves]
    assert not prompts[0] & prompts[1]
    assert sum(map(len, halves)) == len(whole)
    # One monitor prompt tells nothing of prompts: the base's held-out labels judge instead.
    chosen = gating.labels_for(run, 0, 0)
    assert chosen.of == "held out" and list(chosen.labels) == halves[1]
