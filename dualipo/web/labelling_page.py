"""The labelling page and its interface: `create_app` returns the ASGI application.

A page asks `/api/state` what to show, fetches the clips by addresses that name a task and a side,
and sends answers with an idempotency key. Every answer goes through `LabelBook`, which commits it
before the receipt is sent. Nothing in a response says who made a clip, when, or whether a question
is a check (fault 58): clips carry no file dates, and repeats and gold look like all others.

Left out: who may ask for what, which `security.py` decides.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from dualipo.config import WORLD, Questions
from dualipo.errors import MediaError
from dualipo.evaluation.report import templates
from dualipo.preferences import label_queue
from dualipo.preferences.label_queue import Mix
from dualipo.store import clips, playable
from dualipo.store.byte_cache import ByteCache
from dualipo.store.clips import ClipStore
from dualipo.store.containers import Header
from dualipo.store.labels import Answer, Choice, LabelBook, QueueItem, Task
from dualipo.web import organiser
from dualipo.web.clip_response import clip_response
from dualipo.web.error_responses import explain_errors
from dualipo.web.questions import question
from dualipo.web.security import COOKIE, ORGANISER_COOKIE, Door, Guard

_FOLDER = Path(__file__).parent
_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
NUM_REASONS = 6
YEAR = 365 * 24 * 3600

Text = Annotated[str, Field(max_length=2000)]
Key = Annotated[str, Field(min_length=8, max_length=64)]


class Sent(BaseModel):
    """An answer as the page sends it."""

    model_config = ConfigDict(extra="forbid")
    key: Key
    task: str
    dimension: str
    outcome: str
    reason: Text = ""
    seconds: float = Field(0.0, ge=0, le=86_400, allow_inf_nan=False)


class Undo(BaseModel):
    """Take back the last answer."""

    model_config = ConfigDict(extra="forbid")
    key: Key


class Join(BaseModel):
    """The token of a personal link, which the browser then keeps as a cookie."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[str, Field(max_length=200)]


@dataclass(frozen=True)
class Desk:
    """A label book, its clips, and the settings with which its pages are served."""

    book: LabelBook
    clip_store: ClipStore
    title: str
    questions: Questions = WORLD
    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
    mix: Mix = field(default_factory=Mix)
    break_minutes: int = 25
    organiser_token: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    def choose(self, annotator: str, position: int, items: Sequence[QueueItem]) -> Choice | None:
        """Return the item that an annotator is asked about next."""
        return label_queue.choose_next(
            annotator, position, items, seed=self.book.seed, mix=self.mix
        )

    def is_organiser(self, token: str) -> bool:
        """Tell whether a token is the organiser's."""
        return secrets.compare_digest(token.encode(), self.organiser_token.encode())


def create_app(desk: Desk) -> Guard:
    """Return the whole application behind its guard."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    explain_errors(app)
    _add_pages(app, desk)
    _add_labelling(app, desk)
    _add_clips(app, desk)
    app.get("/api/organiser")(lambda: organiser.overview(desk.book))
    door = Door(desk.hosts, desk.book.annotator_of, desk.is_organiser)
    return Guard(app, door)


def _add_pages(app: FastAPI, desk: Desk) -> None:
    pages = templates.environment(_FOLDER / "pages")

    def page_handler(name: str) -> Callable[[Request], HTMLResponse]:
        def show(request: Request) -> HTMLResponse:
            person = request.state.annotator or ""
            template = pages.get_template(f"{name}.html.j2")
            values = {"title": desk.title, "person": person, "break_minutes": desk.break_minutes}
            return HTMLResponse(template.render(values))

        return show

    for path, name in (("/", "label"), ("/join", "join"), ("/organiser", "organiser")):
        app.get(path)(page_handler(name))

    for folder in ("/static", "/organiser/static"):
        app.get(f"{folder}/{{name}}")(_static)

    @app.post("/api/join")
    def join(sent: Join) -> Response:
        if desk.is_organiser(sent.token):
            return _let_in(ORGANISER_COOKIE, sent.token, "/organiser")
        if desk.book.annotator_of(sent.token) is None:
            raise HTTPException(401, "this link is not valid: ask the organiser for a new one")
        return _let_in(COOKIE, sent.token, "/")


def _static(name: str) -> Response:
    known = {path.name: path for path in (_FOLDER / "static").iterdir()}
    if name not in known:
        raise HTTPException(404, "no such file")
    return Response(known[name].read_bytes(), media_type=_KINDS[known[name].suffix])


def _let_in(cookie: str, token: str, page: str) -> Response:
    answer = JSONResponse({"page": page})
    answer.set_cookie(cookie, token, max_age=YEAR, httponly=True, samesite="strict")
    return answer


def _add_labelling(app: FastAPI, desk: Desk) -> None:
    book = desk.book

    @app.get("/api/state")
    def state(request: Request) -> dict[str, Any]:
        return _state(desk, request.state.annotator)

    @app.post("/api/answers")
    def answer(request: Request, sent: Sent) -> dict[str, Any]:
        given = Answer(sent.task, sent.dimension, sent.outcome, sent.reason.strip(), sent.seconds)
        receipt = book.answer(request.state.annotator, given, key=sent.key)
        if receipt not in ("saved", "replayed"):
            raise HTTPException(404 if receipt == "no such question" else 409, receipt)
        return {"receipt": receipt} | _state(desk, request.state.annotator)

    @app.post("/api/undo")
    def undo(request: Request, sent: Undo) -> dict[str, Any]:
        undone = book.undo(request.state.annotator, key=sent.key)
        if undone is None:
            raise HTTPException(409, "there is no answer to take back")
        taken_back = {"outcome": undone.outcome, "reason": undone.reason}
        return {"undone": taken_back} | _state(desk, request.state.annotator)


def _state(desk: Desk, annotator: str) -> dict[str, Any]:
    """Return the page's state: the question, clips to fetch ahead, and the annotator's progress."""
    book = desk.book
    tasks = book.open_tasks(annotator, choose=desk.choose)
    items = book.queue_items(annotator)
    num_answers = book.num_answers(annotator)
    step = _step(desk, tasks[0], annotator) if tasks else None
    return {
        "person": annotator,
        "step": step,
        "ahead": [_clip_urls(task) for task in tasks[1:]],
        "progress": _progress(items, tasks, num_answers),
        "can_undo": num_answers > 0,
    }


def _step(desk: Desk, task: Task, annotator: str) -> dict[str, Any]:
    dimensions = desk.book.dimensions
    now = next(name for name in dimensions if name not in task.answered)
    return {
        "task": task.task_id,
        "number": task.position + 1,
        "kind": task.kind,
        "caption": task.caption,
        "dimension": now,
        "question": question(task.kind, now, desk.questions),
        "dimensions": [{"name": n, "answer": task.answered.get(n)} for n in dimensions],
        "clips": [
            {"url": url, **_length(desk.clip_store, task.shown(side))}
            for side, url in _clip_urls(task).items()
        ],
        "reasons": desk.book.reasons(annotator, now, num=NUM_REASONS),
    }


def _progress(items: list[QueueItem], tasks: list[Task], num_answers: int) -> dict[str, int]:
    num_seen = sum(len(item.seen_at) for item in items)
    num_left = label_queue.num_left(items) + len(tasks)
    return {"done": num_seen - len(tasks), "left": num_left, "answers": num_answers}


def _clip_urls(task: Task) -> dict[str, str]:
    sides: tuple[Literal["a", "b"], ...] = ("a", "b") if task.kind == "pair" else ("a",)
    return {side: f"/clips/{task.task_id}/{side}" for side in sides}


def _length(store: ClipStore, clip: str) -> dict[str, Any]:
    """Return a clip's frames, rate and size, all 0 where it cannot be read."""
    try:
        header = _header(store.path(clip))
    except MediaError:
        return {"frames": 0, "fps": 0.0, "width": 0, "height": 0}
    size = {"width": header.width, "height": header.height}
    return {"frames": header.num_frames, "fps": header.fps, **size}


@lru_cache(maxsize=4096)
def _header(path: Path) -> Header:
    return clips.probe(path)


def _add_clips(app: FastAPI, desk: Desk) -> None:
    @app.get("/clips/{task_id}/{side}")
    def clip(request: Request, task_id: str, side: str) -> Response:
        task = desk.book.task(task_id, request.state.annotator)
        shown = task.shown(side) if task and side in ("a", "b") else ""
        if not shown:
            raise HTTPException(404, "no such clip")
        try:
            content = _shown(desk.clip_store.path(shown))
        except MediaError:
            raise HTTPException(404, 'the clip cannot be read: answer "cannot tell"') from None
        return clip_response(content, request)


_shown_clips = ByteCache[bytes](max_bytes=256 << 20, size=len)


def _shown(path: Path) -> bytes:
    return _shown_clips.recall(path, lambda: playable.shown_mp4(path))
