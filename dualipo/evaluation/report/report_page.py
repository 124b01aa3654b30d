"""One self-contained page about a run: `build(run_path)` returns its HTML.

It works from a file without a network: styles, script, charts and clips are inside, and its content
security policy lets nothing else run or load (script and styles are allowed by their hashes).
Captions, names and the critic's words are hostile until escaped: jinja2 escapes all that is not
made by `charts.py` (fault 55). It says which model made each clip: keep it from whoever is still
labelling blind (fault 58).

Left out: writing the file. `rounds/` publishes it.
"""

import base64
import hashlib
from functools import partial
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dualipo.evaluation import run_history
from dualipo.evaluation.report import critic_checks, exhibits, headline, report_tables, sections
from dualipo.evaluation.report.browser_clips import data_uri
from dualipo.evaluation.share import recipe
from dualipo.store.clips import ClipStore

_FOLDER = Path(__file__).parent
_PAGE = "report_page.html.j2"


def build(run_path: Path) -> str:
    """Return the report of the run at `run_path`, finished or not."""
    run = run_history.read(run_path)
    address = partial(data_uri, ClipStore(run_path / "clips"))
    css, script = (_read(name) for name in ("report.css", "report.js"))
    page = _environment().get_template(_PAGE)
    return page.render(
        run=run,
        policy=_policy(css=css, script=script),
        css=Markup(css),
        script=Markup(script),
        sentences=headline.sentences(run),
        tiles=headline.tiles(run),
        scores=sections.scores(run),
        critic=sections.critic(run),
        trust=critic_checks.trust_section(run),
        kept=sections.kept(run),
        curves=sections.curves(run),
        certainty=sections.certainty(run),
        gallery=exhibits.gallery(run, address),
        pairs=exhibits.judged_pairs(run, address),
        settings=recipe.rows(run.config),
        recipe=recipe.minimal(run.config),
        clocks=report_tables.clocks(run),
    )


def _policy(*, css: str, script: str) -> str:
    """Nothing is loaded or sent; only this page's own script and styles, and clips inside it."""
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


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
