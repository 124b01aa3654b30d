"""A whole run leaves every vote and version in its ledger, stops at a signal and goes on."""

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dualipo.cli.main import main
from dualipo.critic import voting
from dualipo.errors import ConfigError
from dualipo.rounds.run import BASE_ROUND
from dualipo.stages import ON_DEMAND, STAGES, of_attempt, of_start
from dualipo.store.fork import fork
from dualipo.store.ledger import Ledger, VoteKind
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

ROOT = Path(__file__).parents[2]
ATTEMPTS = [(0, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize("kind", ["point", "pair"])
@pytest.mark.parametrize(("round_", "attempt"), ATTEMPTS)
def test_fault_04_every_planned_vote_is_there_once(
    harness: Harness, round_: int, attempt: int, kind: VoteKind
) -> None:
    orders = {"point": ["ab"], "pair": ["ab", "ba"]}[kind]
    draws = {"point": range(1), "pair": range(2)}[kind]
    with harnesses.ledger_of(harness.path) as ledger:
        groups = voting.grouped(ledger.votes(round_, attempt, kind))
        candidates = [c.candidate_id for c in ledger.candidates(round_)]
    for votes in groups.values():
        cast = sorted((vote.order, vote.draw) for vote in votes)
        assert cast == sorted(itertools.product(orders, draws))
    if kind == "point":
        judged = {item for item, _ in groups}
        assert judged == {name for name in candidates if name.startswith("candidates-")}
        assert len(groups) == 3 * len(judged)


def voters(ledger: Ledger, round: int, attempt: int) -> list[str]:
    query = "SELECT DISTINCT critic_version FROM votes WHERE round = ? AND attempt = ?"
    return [version for (version,) in ledger._rows(query, round, attempt)]


def test_fault_07_one_critic_judges_an_attempt_and_the_refreshed_one_the_next(
    harness: Harness,
) -> None:
    with harnesses.ledger_of(harness.path) as ledger:
        critics = [voters(ledger, *attempt) for attempt in ATTEMPTS]
        head = ledger.head("critic")
    assert critics == [["warm"], ["c000.0"], ["c000.0"]]
    assert head is not None and (head.version_id, head.parent) == ("c000.0", "warm")


def test_both_attempts_start_from_the_round_s_generator(harness: Harness) -> None:
    with harnesses.ledger_of(harness.path) as ledger:
        parents = [ledger.version("generator", f"g{r:03d}.{a}").parent for r, a in ATTEMPTS]
        base = ledger.version("generator", "base")
    assert parents == ["base", "base", "g000.1"]
    assert base.round == BASE_ROUND


def test_every_generator_has_its_card(harness: Harness) -> None:
    cards = {path.stem: path.read_text() for path in (harness.path / "cards").iterdir()}
    assert cards.keys() == {"g000.0", "g000.1", "g001.0"}
    assert "replaced by another attempt" in cards["g000.0"]
    assert "simulated" in cards["g001.0"] and "sha256 of the weights" in cards["g001.0"]


def test_more_rounds_may_be_asked_of_a_finished_run(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        assert harnesses.ended(harness.recipe(path, "rounds=1")) == 0
        assert harnesses.ended(harness.recipe(path)) == 0
        assert harnesses.state(path) == harness.clean


def test_a_fork_goes_on_as_the_run_itself_would_have(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        before = path.with_name("before")
        assert harnesses.ended(harness.recipe(before, "rounds=0")) == 0
        fork(before, path, harness.recipe(path))
        assert harnesses.ended(harness.recipe(path)) == 0
        assert harnesses.state(path) == harness.clean


def test_a_fork_keeps_what_its_past_depends_on(harness: Harness, tmp_path: Path) -> None:
    changed = harness.recipe(tmp_path, "generator.num_inference_steps=9")
    with pytest.raises(ConfigError, match=r"num_inference_steps: 2 -> 9 \(read by the stage"):
        fork(harness.path, tmp_path / "a", changed)
    assert list(tmp_path.iterdir()) == []


def test_fault_47_another_configuration_is_refused(harness: Harness) -> None:
    settings = harness.recipe(harness.path, "align.num_real_clips=7")
    before = harness.clean
    assert harnesses.ended(settings) == 1
    assert "align.num_real_clips: 4 -> 7" in harnesses.log(harness.path)
    assert harness.clean == before


def test_fault_10_a_signal_ends_the_command_and_the_same_command_goes_on(
    harness: Harness,
) -> None:
    with harnesses.elsewhere(harness) as path:
        first = command(harness, path)
        until_begun(first, path / "rounds" / "000")
        first.send_signal(signal.SIGTERM)
        _, said = first.communicate(timeout=120)
        assert first.returncode == 128 + signal.SIGTERM, said
        assert f"dualipo run {harnesses.RECIPE}" in said
        ended = harnesses.in_child(lambda: sys.exit(main(words(harness, path))), path=path)
        assert ended == 0, harnesses.log(path)
        assert "stages have made is kept" in harnesses.log(path)
        assert harnesses.state(path) == harness.clean


def words(harness: Harness, path: Path) -> list[str]:
    """Return the words of `dualipo run` behind the program's name."""
    own = harnesses.model_overrides(harness.models_folder)
    return ["run", str(harnesses.RECIPE), *own, f"output_dir={path}", *harness.overrides]


def command(harness: Harness, path: Path) -> subprocess.Popen[str]:
    """`dualipo run` as a user starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "dualipo.cli.main", *words(harness, path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until_begun(process: subprocess.Popen[str], path: Path) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


def test_a_run_commits_its_units_in_the_order_of_the_list(harness: Harness) -> None:
    with harnesses.ledger_of(harness.path) as ledger:
        units = [u for u in ledger.units() if u.stage.split(".")[0] not in ON_DEMAND]
    committed = [(unit.round, unit.attempt, unit.stage) for unit in units]
    # The first critic is checked before any clip is made for it.
    early = (0, 0, "check")
    assert committed.index(early) < committed.index((BASE_ROUND, 0, "sample.monitor"))
    expected = [(BASE_ROUND, 0, stage.stage_id) for stage in of_start()]
    for round_, attempt in ATTEMPTS:
        listed = of_attempt(attempt, is_last=(round_, attempt) != (0, 0))
        # A round's latents are dropped once, whichever attempt was its last.
        of_unit = {"drop_latents": 0}
        expected += [(round_, of_unit.get(s.stage_id, attempt), s.stage_id) for s in listed]
    later = [place for place in dict.fromkeys(committed) if place != early]
    assert later == [place for place in expected if place in later]
    shown = {stage.stage_id for stage in STAGES if stage.name}
    assert shown <= {unit.stage for unit in units}, "every stage that is shown is run"
