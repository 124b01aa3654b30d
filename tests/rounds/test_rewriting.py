"""Traces that a language model rewords are asked for once."""

from pathlib import Path
from typing import Any

from dualipo.events import RewriteEvent
from tests.rounds import harness as harnesses
from tests.servers import loopback

SEED = ("rounds=0", "seed=3", "monitor.num_accuracy_pairs=0")
GRADES = tuple(f"<grade>{grade}</grade>" for grade in ("good", "normal", "bad"))


def test_reworded_reasons_are_asked_for_once_and_learnt_after_a_kill(
    models_folder: Path, memory: Path
) -> None:
    def say(body: dict[str, Any], count: int) -> str:
        question = body["messages"][1]["content"]
        return next((f"So.\n{tag}" for tag in GRADES if f"{tag}\n" in question), "no idea")

    with loopback.serving(say) as server:
        own = (f"seed_labels.rewriter.base_url={server.url}", "seed_labels.rewriter.model=writer")
        clean, killed = (memory / name for name in ("reworded", "reworded-killed"))
        names = memory / "reworded-names"
        settings = harnesses.recipe(models_folder, clean, *SEED, *own)
        assert harnesses.ended(settings, fail=f"count@{names}") == 0, harnesses.log(clean)
        (event,) = harnesses.events(clean, RewriteEvent)
        assert event.fates["rewritten"] > 0 and sum(event.fates.values()) == len(server.requests)
        hits = names.read_text().split()
        last = len(hits) - hits[::-1].index("traces-0000.parquet.after_rename")
        settings = harnesses.recipe(models_folder, killed, *SEED, *own)
        assert harnesses.ended(settings, fail=f"kill@{last + 3}") == -9
        server.say = loopback.failing(404)  # nothing is asked again
        assert harnesses.ended(settings) == 0, harnesses.log(killed)
        assert harnesses.state(killed) == harnesses.state(clean)
