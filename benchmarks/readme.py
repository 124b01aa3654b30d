"""Writes a finished run's results into README.md and its report's picture into docs/.

    python benchmarks/readme.py runs/quick

Nothing in the README's results is typed by hand: repeat this command after repeating the run. The
picture needs Chromium on the PATH and is left as it was without one.
"""

import argparse
import shutil
import subprocess
from pathlib import Path

from dualipo.evaluation import summary

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- results: benchmarks/readme.py writes from here -->", "<!-- to here -->"


def write_results(readme: Path, run_path: Path) -> None:
    """Replace what stands between the markers by the run's table."""
    before, _, rest = readme.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    assert end, f"{readme}: the markers are missing"
    table = f"\n```\n{summary.table(run_path)}\n```\n"
    readme.write_text(before + BEGIN + table + END + after)


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
    write_results(ROOT / "README.md", run)
    take_picture(run, ROOT / "docs" / "report.png")
