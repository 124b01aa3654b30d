"""A study compares clips: one run's test or monitor clips, or those of several runs."""

from pathlib import Path

import numpy as np
import pytest

from dualipo.cli.main import main
from dualipo.config import Config
from dualipo.errors import DataError
from dualipo.evaluation.study import study_items
from dualipo.records import Candidate
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Unit
from dualipo.store.rundir import RunDir

CAPTIONS = ("a ball falls", "a cup turns")


def _run(path: Path, *, seed: int, level: int) -> Path:
    """Write a run with one test and one monitor clip of each caption by "base" and "g000.0"."""
    run = RunDir.open(path, Config())
    store = ClipStore(run.clips_path)
    for place, version in enumerate(("base", "g000.0")):
        candidates = []
        for name in study_items.SETS:
            for n, caption in enumerate(CAPTIONS):
                shade = level + 20 * place + 5 * n + 40 * (name == "monitor")
                clip = store.put(np.full((2, 16, 16, 3), shade, np.uint8), 8)
                candidates.append(
                    Candidate(
                        candidate_id=f"{name}-{place - 1}-0-p{n}-0",
                        prompt_id=f"p{n}",
                        caption=caption,
                        index=0,
                        draw=0,
                        seed=seed + n,
                        clip=clip,
                        generator_version=version,
                        round=place - 1,
                    )
                )
        unit = Unit(place - 1, 0, "sample")
        run.ledger.commit_unit(unit, candidates=candidates)
    run.close()
    return path


def test_a_study_takes_test_or_monitor_clips_of_a_run(tmp_path: Path) -> None:
    run = _run(tmp_path / "a", seed=1, level=0)
    both = {
        name: study_items.of_run(run, ["base", "g000.0"], name=name) for name in ("test", "monitor")
    }
    assert [len(clips) for clips in both.values()] == [4, 4]
    assert not {c.clip for c in both["test"]} & {c.clip for c in both["monitor"]}
    assert len(study_items.items(both["monitor"], num_prompts=None, seed=0)) == 2
    with pytest.raises(DataError, match=r"no monitor clips by g009\.0.*num_monitor_prompts"):
        study_items.of_run(run, ["g009.0"], name="monitor")


def test_a_study_across_runs_compares_prompts_that_they_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (_run(tmp_path / n, seed=s, level=s) for n, s in (("a", 1), ("b", 100)))
    names = [f"{one}:base", f"{other}:g000.0"]
    command = ["study", "ask", str(tmp_path / "study"), "--generators", *names, "--no-serve"]
    assert main(command) == 0
    assert "2 pairs, each in 4 dimensions." in capsys.readouterr().out
    assert len(list((tmp_path / "study" / "clips").rglob("*.mp4"))) == 4
    command[2] = str(one)
    assert main(command) == 2
    assert "removes clips that are not its own" in capsys.readouterr().err


def test_two_generators_with_the_same_clips_make_no_study() -> None:
    clips = [study_items.Clip(name, "p", "a ball falls", 1, "ab") for name in ("base", "g000.0")]
    with pytest.raises(DataError, match=r"base, g000\.0: their clips of 1 prompts are the same"):
        study_items.items(clips, num_prompts=None, seed=0)
