"""Writes the tables of docs/results.md, blocks of README.md and docs/first-run.md, docs/report.png.

    python benchmarks/readme.py              # the tables of the data in benchmarks/results/
    python benchmarks/readme.py runs/quick   # also a run's table and picture

No figure in the documents is typed by hand. A table whose data are missing says so. The picture
needs Chromium on the PATH; without it the picture stays as it is.
"""

import argparse
import json
import re
import shutil
import subprocess
import tempfile
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import align_ratios
import big_store
import caption_invariance
import captions
import claims
import critic_memory
import critic_stages
import families
import judge
import kills
import later_rounds
import monitors
import plan_measured
import rank
import ratio_table
import refresh_gate
import refresh_sources
import sight
import slots
import staleness
import step_caching
import tuning
import votes

from dualipo import config
from dualipo.evaluation import summary
from dualipo.evaluation.report.report_tables import Table
from dualipo.rounds import bill, estimating
from dualipo.rounds.bill import Devices

ROOT = Path(__file__).resolve().parent.parent
README, RESULTS_PAGE = ROOT / "README.md", ROOT / "docs" / "results.md"
FIRST_RUN_PAGE, OWN_MODEL_PAGE = ROOT / "docs" / "first-run.md", ROOT / "docs" / "your-own-model.md"
RESULTS = ROOT / "benchmarks" / "results"
H100 = Devices("h100")
WIDTH = 100  # characters in a line of the documents
MISSING = "Not run to its end yet: nothing is claimed."


class ResultTable(NamedTuple):
    """A table of docs/results.md: the name in its markers, its data's file, its formatter."""

    name: str
    stem: str
    table: Callable[[Any], str]


RESULT_TABLES = (
    ResultTable("claims", "claims-world", claims.table),
    ResultTable("critic-stages", "critic-stages-world", critic_stages.table),
    ResultTable("sight", "sight-world", sight.table),
    ResultTable("monitors", "monitors-world", monitors.table),
    ResultTable("rank", "rank-dual-0-warm", rank.table),
    ResultTable("caption-invariance", "caption-invariance-world", caption_invariance.table),
    ResultTable("refresh-sources", "refresh-sources", refresh_sources.table),
    ResultTable("staleness", "staleness", staleness.table),
    ResultTable("later-rounds", "later-rounds", later_rounds.table),
    ResultTable("votes", "votes-world", votes.table),
    ResultTable("refresh-gate", "refresh-gate", refresh_gate.table),
    ResultTable("judge", "judge-cpu-one-thread-x86_64", judge.table),
    ResultTable("certainty", "certainty-cpu-one-thread", ratio_table.table),
    ResultTable("critic-memory", "critic-memory-cpu-one-thread", critic_memory.table),
    ResultTable("families", "families-world", families.table),
    ResultTable("attention", "attention-cpu-one-thread", ratio_table.table),
    ResultTable("align-step", "align-step-cpu-one-thread", align_ratios.table),
    ResultTable("workers", "workers", ratio_table.table),
    ResultTable("big-store", "big-store", big_store.table),
    ResultTable("kills", "kills", kills.table),
    ResultTable("plan-measured", "plan-measured", plan_measured.table),
    ResultTable("slots", "slots-world", slots.table),
    ResultTable("step-caching", "step-caching-before-0-warm", step_caching.table),
    ResultTable("tuning", "tuning-world", tuning.table),
    ResultTable("captions", "captions", captions.table),
    ResultTable("step-caching-50", "step-caching-before-0-warm-50-steps", step_caching.table),
)


def write(document: Path, name: str, text: str) -> None:
    """Replace the text between the markers of `name`."""
    begin, end = (
        f"<!-- {name}: written by benchmarks/readme.py, from here -->",
        f"<!-- {name}: to here -->",
    )
    before, begun, rest = document.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    assert begun and ended, f"{document}: the markers of {name} are missing"
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def needs_table() -> str:
    """Return what the recipe of docs/your-own-model.md needs, as `--dry-run` estimates it.

    What depends on this machine is left out: its free disk, and its speed.
    """
    recipe = re.findall(r"```toml\n(.*?)```", OWN_MODEL_PAGE.read_text(), re.DOTALL)[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.toml"
        path.write_text(recipe)
        settings, _ = config.examine(path)
    told = [
        line.partition(": ") for line in [*estimating.lines(settings), *bill.lines(settings, H100)]
    ]
    here = r"; [^;]* free$"
    facts = [[name, re.sub(here, "", fact)] for name, _, fact in told]
    seed = settings.seed_labels
    labels = (
        f"at least {seed.min_per_verdict} of each verdict in each dimension, beside "
        f"{seed.holdout_share:.0%} that are held out"
    )
    return Table(["", "needs"], [*facts, ["labels", labels]]).in_markdown()


def _wrapped(line: str) -> str:
    """Break a long sentence; a line of a table has its columns, two spaces apart."""
    return line if "  " in line else textwrap.fill(line, WIDTH, subsequent_indent="  ")


def take_picture(run_path: Path, picture: Path) -> None:
    """Photograph the top of the report."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("There is no Chromium on the PATH, so the picture stays as it is.")
        return
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--disable-background-networking", "--virtual-time-budget=4000"]
    command += [f"--screenshot={picture}", "--window-size=1100,1500"]
    page = (run_path / "report.html").resolve().as_uri()
    subprocess.run([*command, page], check=True, capture_output=True, timeout=120)


def main() -> None:
    """Write every table; with a run, also the run's table and picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    run = parser.parse_args().run
    for name, stem, table in RESULT_TABLES:
        path = RESULTS / f"{stem}.json"
        text = table(json.loads(path.read_text())) if path.is_file() else MISSING
        write(RESULTS_PAGE, name, text)
    write(FIRST_RUN_PAGE, "needs", needs_table())
    if (path := RESULTS / "claims-world.json").is_file():
        sentences = claims.in_words(json.loads(path.read_text()))
        write(README, "claims", textwrap.fill(sentences, WIDTH))
    if run:
        lines = [_wrapped(line) for line in summary.table(run).splitlines()]
        write(README, "run", "\n".join(["```", *lines, "```"]))
        take_picture(run, ROOT / "docs" / "report.png")


if __name__ == "__main__":
    main()
