"""The dashboard: a run while it runs, `create_app(run_path)` gives the ASGI application.

The server renders one page of sections; each carries a digest of its content. `/events` says by
server-sent events that the run has changed; the page then loads itself again and puts in only the
sections whose digest is another. Nothing is kept here but the last rendering, and nothing written.

It says which model made each clip, so it is no part of the labelling site (fault 58) and is served
to this machine alone. Left out: actions. A run is begun and ended on the command line.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dualipo.evaluation import run_history, timeline
from dualipo.evaluation.report import (
    browser_clips,
    exhibits,
    headline,
    report_page,
    report_tables,
    sections,
)
from dualipo.events import WordsEvent
from dualipo.store.clips import ClipStore
from dualipo.web.error_responses import explain_errors
from dualipo.web.security import LoopbackGuard

_FOLDER = Path(__file__).parent
_REPORT = Path(report_page.__file__).parent
_STATIC = {
    "report.css": (_REPORT / "report.css", "text/css"),
    "dashboard.css": (_FOLDER / "static" / "dashboard.css", "text/css"),
    "dashboard.js": (_FOLDER / "static" / "dashboard.js", "text/javascript"),
    "icon.svg": (_FOLDER / "static" / "icon.svg", "image/svg+xml"),
}
_WATCHED = ("ledger.sqlite", "ledger.sqlite-wal", "metrics.jsonl", "LOCK")
_SECTIONS = (
    *("now", "words", "candidates", "gallery", "kept", "certainty"),
    *("scores", "critic", "curves", "losses", "clocks"),
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
NUM_PAIRS = 6
LOOK_EVERY = 0.5  # seconds between two looks at the run's files
BREATH_EVERY = 15.0  # seconds of silence after which a stream says that it lives


@dataclass(frozen=True)
class Rendered:
    """The page of a run at one moment, which `mark` names."""

    mark: str
    page: str


class Board:
    """A run as the page shows it; rendered once for each of its states, whoever looks."""

    def __init__(self, run_path: Path) -> None:
        self.run_path = run_path
        self.clips = ClipStore(run_path / "clips")
        self.clip = lru_cache(maxsize=256)(self._clip)
        self._lock = Lock()
        self._rendered: Rendered | None = None
        self._pages = Environment(
            loader=FileSystemLoader([_FOLDER / "pages", _REPORT]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def mark(self) -> str:
        """Names the state of the run's files: another one means that something has happened."""
        seen = []
        for name in _WATCHED:
            try:
                found = (self.run_path / name).stat()
                seen.append((name, found.st_size, found.st_mtime_ns))
            except FileNotFoundError:
                continue
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]

    def page(self) -> str:
        """The whole page as it is now."""
        mark = self.mark()
        with self._lock:
            if self._rendered is None or self._rendered.mark != mark:
                self._rendered = Rendered(mark, self._render(mark))
            return self._rendered.page

    def _render(self, mark: str) -> str:
        told = _told(self.run_path)
        template = self._pages.get_template("dashboard.html.j2")
        parts = self._pages.get_template("dashboard_parts.html.j2").make_module(told)
        shown = [(name, Markup(str(getattr(parts, f"show_{name}")()))) for name in _SECTIONS]
        bodies = [(name, body, _digest(body)) for name, body in shown if body.strip()]
        return template.render(told, mark=mark, bodies=bodies)

    def _clip(self, sha256: str) -> bytes | None:
        return browser_clips.browser_mp4(self.clips, sha256)


def create_app(run_path: Path) -> LoopbackGuard:
    """The application behind its guard."""
    board = Board(run_path)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    guard = LoopbackGuard(app)
    explain_errors(app)
    app.get("/")(lambda: HTMLResponse(board.page()))
    app.get("/static/{name}")(_static)

    @app.get("/clips/{sha256}")
    def clip(sha256: str) -> Response:
        content = board.clip(sha256) if _SHA256.fullmatch(sha256) else None
        if content is None:
            raise HTTPException(404, "no such clip")
        return Response(content, media_type="video/mp4")

    @app.get("/events")
    async def events() -> StreamingResponse:
        stream = _events(board.mark, guard.closing.is_set)
        return StreamingResponse(stream, media_type="text/event-stream")

    return guard


def _static(name: str) -> Response:
    if name not in _STATIC:
        raise HTTPException(404, "no such file")
    path, kind = _STATIC[name]
    return Response(path.read_bytes(), media_type=kind)


async def _events(mark: Callable[[], str], is_closing: Callable[[], bool]) -> AsyncIterator[str]:
    """One event at once and one for every change; it says only which state the run is in."""
    yield "retry: 2000\n\n"
    last, silence = "", 0.0
    while not is_closing():
        now = mark()
        if now != last:
            yield f"event: changed\ndata: {json.dumps(now)}\n\n"
            last, silence = now, 0.0
        elif silence >= BREATH_EVERY:
            yield ": here\n\n"
            silence = 0.0
        await asyncio.sleep(LOOK_EVERY)
        silence += LOOK_EVERY


def _told(run_path: Path) -> dict[str, Any]:
    """All that the templates show."""
    run = run_history.read(run_path)
    newest = max((one.round for one in run.rounds), default=0)
    return {
        "run": run,
        "run_path": str(run_path),
        "timeline": timeline.read(run_path, run),
        "sentences": headline.sentences(run),
        "tiles": headline.tiles(run),
        "scores": sections.scores(run),
        "critic": sections.critic(run),
        "kept": sections.kept(run),
        "curves": sections.curves(run),
        "losses": sections.losses(run),
        "certainty": sections.certainty(run),
        "clocks": report_tables.clocks(run),
        "newest": newest,
        "candidates": exhibits.candidates(run_path, newest, _address),
        "gallery": exhibits.gallery(run, _address),
        "pairs": _pairs(run_path, run, newest),
    }


def _pairs(run_path: Path, run: run_history.RunHistory, newest: int) -> list[exhibits.JudgedPair]:
    """What the critic says in the newest round, else what it said in the one before."""
    spoken = [one.event(WordsEvent) for one in run.rounds if one.round == newest]
    is_told = any(words is not None and words.pairs for words in spoken)
    so_far = []
    if not is_told:
        so_far = exhibits.votes_so_far(run_path, newest, _address, most=NUM_PAIRS)
    return so_far or exhibits.judged_pairs(run, _address, most=NUM_PAIRS)


def _address(sha256: str) -> str:
    return f"/clips/{sha256}"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
