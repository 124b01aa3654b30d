"""A run that reports to a tracker is the run that does not."""

from pathlib import Path

from dualipo import tracking
from dualipo.evaluation.share import trackers
from tests.rounds import harness as harnesses

SEED = ("rounds=0", "seed=3", "monitor.num_accuracy_pairs=0")


def test_a_run_is_the_same_with_a_tracker_beside_it(models_folder: Path, memory: Path) -> None:
    alone, beside = memory / "untracked", memory / "tracked"
    for path, to in ((alone, "none"), (beside, "tensorboard")):
        settings = harnesses.recipe(models_folder, path, *SEED, f"report_to={to}")
        assert harnesses.ended(settings) == 0, harnesses.log(path)
    assert harnesses.state(beside) == harnesses.state(alone)
    rows = [tracking.read_metrics(path / "metrics.jsonl") for path in (alone, beside)]
    has_rates = False
    for row in rows[0] + rows[1]:
        assert row.pop("time").endswith("+00:00") and row.pop("seconds") > 0
        if row["stage"].startswith("work."):
            assert row.pop("peak_mb") > 0
        if "clips_per_second" in row:
            assert row["stage"].startswith("work.sample.") and row.pop("clips_per_second") > 0
            has_rates = True
    assert has_rates
    assert rows[0] == rows[1]
    assert list((beside / "tensorboard").glob("events.*"))
    again = trackers.follow(beside, to="tensorboard", folder=None, is_over=lambda: True)
    assert again == 0, "the run's own tracker had sent all"
