"""The report of a run: one self-contained page, whose HTML `build` returns.

It opens from a file without a network: styles, script, charts and clips are inside, and its content
security policy lets nothing else run or load (script and styles are allowed by their hashes).
Captions, names and the critic's words may be hostile: jinja2 escapes everything that `charts.py`
did not draw (fault 55). The page says which model made each clip, so nobody who still labels blind
may see it (fault 58).

Left out: writing the file. `rounds/` publishes it.
"""

import base64
import hashlib
from functools import partial
from pathlib import Path

from markupsafe import Markup

from dualipo.evaluation import run_history
from dualipo.evaluation.report import (
    critic_checks,
    did_it_help,
    exhibits,
    headline,
    monitors,
    report_tables,
    sections,
    suite_scores,
    templates,
)
from dualipo.evaluation.report.browser_clips import data_uri
from dualipo.evaluation.share import recipe
from dualipo.store.run_reader import RunReader

FOLDER = Path(__file__).parent
_PAGE = "report_page.html.j2"


def build(run_path: Path) -> str:
    """Return the report of the run at `run_path`, finished or not."""
    run = RunReader(run_path)
    history = run_history.read(run)
    address = partial(data_uri, run.clip_store)
    css, script = (read(name) for name in ("report.css", "report.js"))
    page = templates.environment(FOLDER).get_template(_PAGE)
    return page.render(
        run=history,
        policy=policy(css=css, script=script),
        css=Markup(css),
        script=Markup(script),
        helped=did_it_help.answer(history),
        sentences=headline.sentences(history),
        tiles=headline.tiles(history),
        scores=sections.scores(history),
        monitors=monitors.section(history),
        suite=suite_scores.section(history),
        critic=sections.critic(history),
        trust=critic_checks.trust_section(history),
        kept=sections.kept(history),
        curves=sections.curves(history),
        certainty=sections.certainty(history),
        gallery=exhibits.gallery(history, address),
        pairs=exhibits.judged_pairs(history, address),
        settings=recipe.rows(history.settings),
        recipe=recipe.minimal(history.settings),
        clocks=report_tables.clocks(history),
    )


def policy(*, css: str, script: str) -> str:
    """Return a policy that allows the page's own script, styles and clips, and nothing else."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(css)}'",
            "media-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def read(name: str) -> str:
    """Read a file that stands beside the templates, such as the styles."""
    return (FOLDER / name).read_text(encoding="utf-8")
