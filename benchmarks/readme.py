"""Writes results into README.md, and the picture of a report into docs/.

    python benchmarks/readme.py runs/quick

The README holds no figure that was typed by hand: the run's table, and that of the claims where
`benchmarks/claims.py` left its data. The picture needs Chromium on the PATH and is left as it was
without one.
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import claims

from dualipo.evaluation import summary

ROOT = Path(__file__).resolve().parent.parent
NO_CLAIMS = "Not run to its end yet: nothing is claimed."
CLAIMS = ROOT / "benchmarks" / "results" / "claims-world.json"


def write(readme: Path, name: str, text: str) -> None:
    """Replace what stands between the markers of `name`."""
    begin, end = (
        f"<!-- {name}: written by benchmarks/readme.py, from here -->",
        f"<!-- {name}: to here -->",
    )
    before, begun, rest = readme.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    assert begun and ended, f"{readme}: the markers of {name} are missing"
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}")


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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    run = parser.parse_args().run
    write(ROOT / "README.md", "run", f"```\n{summary.table(run)}\n```")
    claimed = claims.table(json.loads(CLAIMS.read_text())) if CLAIMS.is_file() else NO_CLAIMS
    write(ROOT / "README.md", "claims", claimed)
    take_picture(run, ROOT / "docs" / "report.png")
