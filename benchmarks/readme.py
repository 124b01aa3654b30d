"""Writes results into README.md and docs/results.md, and the picture of a report into docs/.

    python benchmarks/readme.py              # the tables of what is in benchmarks/results/
    python benchmarks/readme.py runs/quick   # and a run's table and picture

No figure in them was typed by hand. A table whose data are not there says so. The picture needs
Chromium on the PATH and is left as it was without one.
"""

import argparse
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import align_step
import claims
import critic_stages
import families
import judge
import rank
import slots
import step_caching

from dualipo.evaluation import summary

ROOT = Path(__file__).resolve().parent.parent
README, OTHERS = ROOT / "README.md", ROOT / "docs" / "results.md"
RESULTS = ROOT / "benchmarks" / "results"
MISSING = "Not run to its end yet: nothing is claimed."


class Shown(NamedTuple):
    """A table in a document: what it is made of, and by what."""

    document: Path
    name: str
    data: str
    table: Callable[[Any], str]


SHOWN = (
    Shown(README, "claims", "claims-world", claims.table),
    Shown(OTHERS, "critic-stages", "critic-stages-world", critic_stages.table),
    Shown(OTHERS, "rank", "rank-dual-0-warm", rank.table),
    Shown(OTHERS, "judge", "judge-cpu-one-thread-x86_64", judge.table),
    Shown(OTHERS, "families", "families-world", families.table),
    Shown(OTHERS, "align-step", "align-step-cpu-one-thread", align_step.table),
    Shown(OTHERS, "slots", "slots-world", slots.table),
    Shown(OTHERS, "step-caching", "step-caching-before-0-warm", step_caching.table),
    Shown(OTHERS, "step-caching-50", "step-caching-before-0-warm-50-steps", step_caching.table),
)


def write(document: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of `name`."""
    begin, end = (
        f"<!-- {name}: written by benchmarks/readme.py, from here -->",
        f"<!-- {name}: to here -->",
    )
    before, begun, rest = document.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    assert begun and ended, f"{document}: the markers of {name} are missing"
    document.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def take_picture(run_path: Path, picture: Path) -> None:
    """Photograph the top of the report."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        print("no Chromium: the picture stays as it was")
        return
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--disable-background-networking", "--virtual-time-budget=4000"]
    command += [f"--screenshot={picture}", "--window-size=1100,1500"]
    page = (run_path / "report.html").resolve().as_uri()
    subprocess.run([*command, page], check=True, capture_output=True, timeout=120)


def main() -> None:
    """Write every table, and what is asked of a run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?")
    run = parser.parse_args().run
    for shown in SHOWN:
        path = RESULTS / f"{shown.data}.json"
        found = shown.table(json.loads(path.read_text())) if path.is_file() else MISSING
        write(shown.document, shown.name, found)
    if run:
        write(README, "run", f"```\n{summary.table(run)}\n```")
        take_picture(run, ROOT / "docs" / "report.png")


if __name__ == "__main__":
    main()
