"""Judges without words in the loop: a reward head, and scores that come from elsewhere."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from dualipo.cli.main import main
from dualipo.config import Config
from dualipo.config.questions import read, shipped
from dualipo.critic.models.score_file import Scale, ScoreFile
from dualipo.errors import DataError
from dualipo.events import PreferEvent, ScoreScaleEvent
from dualipo.progress import PlainProgress
from dualipo.records import DIMENSIONS
from dualipo.rounds import commands, comparing, loop
from dualipo.rounds.run import SFT, SHIPPED, WARM
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

OWN = (
    "rounds=1",
    "refresh.force_rounds=[]",
    "refresh.update_critic=false",
    "monitor.num_accuracy_pairs=0",
)


def test_a_reward_head_is_trained_on_the_seed_and_judges_a_run(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        settings = harness.recipe(path, *OWN, "critic.backend=reward_head")
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        with harnesses.ledger_of(path) as ledger:
            versions = (SHIPPED, SFT, WARM)
            shipped, sft, warm = (ledger.version("critic", name).sha256 for name in versions)
            assert shipped != sft == warm
            votes = ledger.votes(0, 0, "point")
            assert votes and all(vote.outcome != "abstain" for vote in votes)
        _, compared = commands.compare_critics(
            path, [SFT], [], PlainProgress(), with_reward_head=True
        )
        assert compared["reward head"] == compared[SFT]  # the same training, outside of the loop


def test_a_run_waits_for_scores_and_goes_on(harness: Harness) -> None:
    with harnesses.elsewhere(harness) as path:
        scores, listed = path.parent / "scores.csv", path.parent / "clips.csv"
        own = ("critic.backend=scores", f"critic.pretrained_model_name_or_path={scores}")
        settings = harness.recipe(path, *OWN, *own)
        rows: list[dict[str, str]] = []
        for _ in range(8):
            if harnesses.ended(settings) == 0:
                break
            assert "dualipo critic clips RUN" in harnesses.log(path)
            assert commands.list_clips(path, listed, scores, PlainProgress()) > 0
            with open(listed, newline="") as stream:
                rows += list(csv.DictReader(stream))
            _score(rows, scores)
        with open(scores, "a") as stream:  # as a later round's clips would be
            stream.write(f"{'f' * 64}.mp4,a lamp,9999\n")
        [event] = harnesses.events(path, PreferEvent)
        assert event.kept > 0 and len({row["path"] for row in rows}) == len(rows)
        # The scale is that of the first judged round, whatever the file has become since.
        [kept] = harnesses.events(path, ScoreScaleEvent)
        assert kept.spread["motion"] < ScoreFile(scores).scale.spread["motion"]
        with loop.opened(settings, PlainProgress()) as run:
            assert run.score_file().scale == Scale(kept.middle, kept.spread)


def test_critics_and_baselines_are_compared_on_the_same_labels(
    harness: Harness, tmp_path: Path
) -> None:
    listed, scores = tmp_path / "clips.csv", tmp_path / "scores.csv"
    commands.list_clips(harness.path, listed, None, PlainProgress())
    with open(listed, newline="") as stream:
        _score(list(csv.DictReader(stream)), scores)
    before, output = harness.clean, tmp_path / "figures.json"
    asked = ["--critic", "shipped", "warm", "--scores", str(scores), "--reward-head"]
    command = ["critic", "accuracy", str(harness.path), *asked, "--output", str(output)]
    said = tmp_path / "command"
    assert harnesses.in_child(lambda: main(command), path=said) == 0, harnesses.log(said)
    figures = json.loads(output.read_text())
    num_labels = figures.pop("num_labels")
    table = comparing.table(num_labels, figures, dimensions=DIMENSIONS)
    assert num_labels > 0 and table in harnesses.log(said) and harness.clean == before
    assert list(figures) == ["shipped", "warm", "reward head", "scores.csv"]
    assert all(0 <= own["overall Accuracy"]["with_ties"] <= 1 for own in figures.values())
    with pytest.raises(DataError, match="nothing"):
        commands.compare_critics(
            harness.path, ["nothing"], [], PlainProgress(), with_reward_head=False
        )


def test_a_baseline_that_cannot_judge_these_labels_is_refused_with_the_option() -> None:
    dimensions = [{"name": "physics", "definition": "Things fall down."}]
    own = read({**shipped("video").leaf(), "dimensions": dimensions})
    for changes, scores, has_head, said in (
        ({"backend": "server"}, [], True, 'critic.backend = "server". Leave --reward-head out.'),
        ({"questions": own}, [Path("s.csv")], True, "alone. Leave --reward-head and --scores out."),
    ):
        settings = Config().critic.model_copy(update=changes)
        run = SimpleNamespace(
            config=SimpleNamespace(critic=settings), directory=SimpleNamespace(path="runs/mine")
        )
        with pytest.raises(DataError, match=re.escape(said)):
            comparing._require_baselines(run, scores, has_head)


def _score(rows: list[dict[str, str]], path: Path) -> None:
    """Write scores as a reward model would: a number for each clip."""
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "prompt", "score"))
        writer.writerows(
            (row["path"], row["prompt"], row["path"][-8:-4].encode()[0]) for row in rows
        )
