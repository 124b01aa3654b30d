"""The dashboard of a run at work: `create_app(run_path)` returns the ASGI application.

The server renders one page of sections, each with a digest of its content. `/events` tells the page
by server-sent events that the run has changed; the page then loads itself again and replaces only
the sections whose digest is another. The server keeps the last rendering and writes nothing.

The page says which model made each clip, so it is no part of the labelling site (fault 58) and is
served to this machine alone. Left out: actions. A run is begun and ended on the command line.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse
from markupsafe import Markup

from dualipo.evaluation import run_history, timeline
from dualipo.evaluation.report import (
    browser_clips,
    did_it_help,
    exhibits,
    headline,
    monitors,
    report_page,
    report_tables,
    sections,
    suite_scores,
    templates,
)
from dualipo.evaluation.run_history import RunHistory
from dualipo.events import WordsEvent
from dualipo.store import worker_rows
from dualipo.store.byte_cache import ByteCache
from dualipo.store.run_reader import RunReader
from dualipo.store.rundir import LEDGER
from dualipo.store.worker_rows import ROSTER
from dualipo.web.clip_response import clip_response
from dualipo.web.error_responses import explain_errors
from dualipo.web.security import LoopbackGuard

_CLIP_BYTES = 256 << 20
_FOLDER = Path(__file__).parent
_REPORT = Path(report_page.__file__).parent
_STATIC = {
    "report.css": (_REPORT / "report.css", "text/css"),
    "dashboard.css": (_FOLDER / "static" / "dashboard.css", "text/css"),
    "dashboard.js": (_FOLDER / "static" / "dashboard.js", "text/javascript"),
    "icon.svg": (_FOLDER / "static" / "icon.svg", "image/svg+xml"),
}
_WATCHED = (LEDGER, f"{LEDGER}-wal", "metrics.jsonl", "LOCK", ROSTER)
_SECTIONS = (
    *("now", "workers", "words", "candidates", "gallery", "kept", "certainty"),
    *("scores", "monitors", "suite", "critic", "curves", "losses", "clocks"),
)
# What the templates show under these names, each a function of the run's history.
_SHOWN: dict[str, Callable[[RunHistory], Any]] = {
    **{"helped": did_it_help.answer, "sentences": headline.sentences, "tiles": headline.tiles},
    **{"scores": sections.scores, "monitors": monitors.section, "suite": suite_scores.section},
    **{"critic": sections.critic, "kept": sections.kept, "curves": sections.curves},
    **{"losses": sections.losses, "certainty": sections.certainty},
    "clocks": report_tables.clocks,
}
_SHA256 = re.compile(r"[0-9a-f]{64}")
NUM_PAIRS = 6
LOOK_EVERY = 0.5  # seconds between two looks at the run's files
BREATH_EVERY = 15.0  # seconds of silence after which a stream says that it is alive


@dataclass(frozen=True)
class Rendered:
    """The page of a run in the state that `mark` names."""

    mark: str
    page: str


class Board:
    """The page of a run, rendered once for each state of the run."""

    def __init__(self, run_path: Path) -> None:
        self.run = RunReader(run_path)
        self._clips = ByteCache[bytes | None](max_bytes=_CLIP_BYTES, size=_num_bytes)
        self._lock = Lock()
        self._rendered: Rendered | None = None
        self._pages = templates.environment(_FOLDER / "pages", _REPORT)

    def mark(self) -> str:
        """Return a name for the state of the run's files, which changes when they do."""
        seen = []
        for name in _WATCHED:
            try:
                status = (self.run.path / name).stat()
                seen.append((name, status.st_size, status.st_mtime_ns))
            except FileNotFoundError:
                continue
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]

    def page(self) -> str:
        """Return the page as it is now."""
        mark = self.mark()
        with self._lock:
            if self._rendered is None or self._rendered.mark != mark:
                self._rendered = Rendered(mark, self._render(mark))
            return self._rendered.page

    def _render(self, mark: str) -> str:
        values = _values(self.run)
        template = self._pages.get_template("dashboard.html.j2")
        parts = self._pages.get_template("dashboard_parts.html.j2").make_module(values)
        shown = [(name, Markup(str(getattr(parts, f"show_{name}")()))) for name in _SECTIONS]
        bodies = [(name, body, _digest(body)) for name, body in shown if body.strip()]
        return template.render(values, mark=mark, bodies=bodies)

    def clip(self, clip_hash: str) -> bytes | None:
        """Return a clip as browsers play it; None where it cannot be read."""
        store = self.run.clip_store
        return self._clips.recall(clip_hash, lambda: browser_clips.browser_mp4(store, clip_hash))


def _num_bytes(content: bytes | None) -> int:
    return len(content or b"")


def create_app(run_path: Path) -> LoopbackGuard:
    """Return the application behind its guard."""
    board = Board(run_path)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    guard = LoopbackGuard(app)
    explain_errors(app)
    app.get("/")(lambda: HTMLResponse(board.page()))
    app.get("/static/{name}")(_static)

    @app.get("/clips/{clip_hash}")
    def clip(request: Request, clip_hash: str) -> Response:
        content = board.clip(clip_hash) if _SHA256.fullmatch(clip_hash) else None
        if content is None:
            raise HTTPException(404, "no such clip")
        return clip_response(content, request)

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
    """Yield an event at once and one for every change, which names the state of the run."""
    yield "retry: 2000\n\n"
    last, silence = "", 0.0
    while not is_closing():
        now = mark()
        if now != last:
            yield f"event: changed\ndata: {json.dumps(now)}\n\n"
            last, silence = now, 0.0
        elif silence >= BREATH_EVERY:
            yield ": alive\n\n"
            silence = 0.0
        await asyncio.sleep(LOOK_EVERY)
        silence += LOOK_EVERY


def _values(run: RunReader) -> dict[str, Any]:
    """Return the values that the templates show."""
    history = run_history.read(run)
    newest = max((round_.round for round_ in history.rounds), default=0)
    return {
        "run": history,
        "run_path": str(run.path),
        "timeline": timeline.read(run, history),
        **{name: shown(history) for name, shown in _SHOWN.items()},
        "workers": _workers(run.path),
        "newest": newest,
        "candidates": exhibits.candidates(run, newest, _address),
        "gallery": exhibits.gallery(history, _address),
        "pairs": _pairs(run, history, newest),
    }


def _workers(run_path: Path) -> report_tables.Table:
    """Tabulate the workers of the run's last process, those that work first."""
    head = ["worker", "state", "device", "unit under way", "units done", "an hour", "failures"]
    rows = sorted(worker_rows.read(run_path), key=lambda row: not row.is_alive)
    cells = [
        [
            f"{row.worker} on {row.host}",
            "alive" if row.is_alive else "ended",
            row.device,
            row.unit or "none",
            str(row.num_done),
            f"{row.units_per_hour:,.0f}" if row.num_done else "",
            str(row.num_failures),
        ]
        for row in rows
    ]
    return report_tables.Table(head, cells)


def _pairs(run: RunReader, history: RunHistory, newest: int) -> list[exhibits.JudgedPair]:
    """Return judged pairs of the newest round, or those of the round before while it has none."""
    events = [r.event(WordsEvent) for r in history.rounds if r.round == newest]
    so_far = []
    if not any(event and event.pairs for event in events):
        so_far = exhibits.votes_so_far(run, newest, _address, most=NUM_PAIRS)
    return so_far or exhibits.judged_pairs(history, _address, most=NUM_PAIRS)


def _address(clip_hash: str) -> str:
    return f"/clips/{clip_hash}"


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
