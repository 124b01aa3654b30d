"""A real server on a real label book: 24 pairs and 6 single clips of a run's folder."""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from dualipo.preferences import label_queue
from dualipo.preferences.label_queue import Mix
from dualipo.records import Candidate
from dualipo.store.clips import ClipStore
from dualipo.store.labels import LabelBook
from dualipo.web import server
from dualipo.web.labelling_page import Desk, create_app

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
GENERATORS = ("base-generator-zx81", "round-seven-generator")
NUM_PROMPTS = 24
PATIENCE = 60  # seconds, on a machine that has other things to do
expect.set_options(timeout=1000 * PATIENCE)


@dataclass(frozen=True)
class Site:
    """A running site."""

    base: str
    desk: Desk

    @property
    def book(self) -> LabelBook:
        return self.desk.book

    def link(self, annotator: str) -> str:
        """Return a personal link of an annotator."""
        return f"{self.base}/join#{self.book.invite(annotator)}"

    def client(self, token: str, **headers: str) -> httpx.Client:
        """Return a client with the token and origin that a page of this site sends."""
        own = {"authorization": f"Bearer {token}", "origin": self.base, **headers}
        return httpx.Client(base_url=self.base, headers=own, timeout=30, trust_env=False)

    def annotator(self, name: str) -> httpx.Client:
        """Invite an annotator and return their client."""
        return self.client(self.book.invite(name))


@pytest.fixture(scope="session")
def clips_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = ClipStore(tmp_path_factory.mktemp("clips"))
    for number in range(2 * NUM_PROMPTS):
        store.put(_clip(number), 8)
    return store.folder


@pytest.fixture
def candidates(clips_folder: Path) -> list[Candidate]:
    """Return two clips a prompt, by two generators whose names nobody may see."""
    clips = sorted(path.stem for path in clips_folder.rglob("*.mp4"))
    return [
        Candidate(
            candidate_id=f"candidates-7-0-prompt{n // 2}-{n % 2}",
            prompt_id=f"prompt{n // 2}",
            caption=f"a square moves, take {n // 2}",
            index=n % 2,
            draw=0,
            seed=n,
            clip=clip,
            generator_version=GENERATORS[n % 2],
            round=7,
        )
        for n, clip in enumerate(clips)
    ]


@pytest.fixture
def open_site(
    tmp_path: Path, clips_folder: Path, candidates: list[Candidate]
) -> Iterator[Callable[..., Site]]:
    """Return `open_site(num_pairs=24, num_points=0, ...)`, which serves until the test ends."""
    opened = []

    def open_(
        *,
        num_pairs: int = NUM_PROMPTS,
        num_points: int = 0,
        double: float = 0.0,
        repeats: float = 0.0,
        num_wanted: int = 1,
        name: str = "labels",
    ) -> Site:
        book = LabelBook(tmp_path / f"{name}.sqlite")
        book.seed = 1  # a book draws its own: here the coins fall alike in every run
        pairs = label_queue.pair_items(candidates, num=num_pairs, seed=1)
        points = label_queue.point_items(candidates, num=num_points, seed=1)
        asked = [replace(item, num_wanted=num_wanted) for item in (*pairs, *points)]
        book.add_items(label_queue.with_double(asked, share=double, seed=1))
        desk = Desk(book, ClipStore(clips_folder), title="a run", mix=Mix(repeats=repeats))
        listening = server.listen("127.0.0.1", 0)
        base = server.address(listening, "127.0.0.1")
        running = server.serving(create_app(desk), listening)
        running.__enter__()
        opened.append((running, book))
        return Site(base, desk)

    yield open_
    for running, book in opened:
        running.__exit__(None, None, None)
        book.close()


@pytest.fixture
def site(open_site: Callable[..., Site]) -> Site:
    return open_site()


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium is installed")
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


def until(is_so: Callable[[], bool]) -> None:
    """Poll until a condition holds; waiting inside the page would need eval, which it refuses."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _clip(number: int) -> np.ndarray:
    frames_FHWC = np.full((9, 32, 32, 3), 230, np.uint8)
    for frame in range(9):
        left = 2 + (frame * (1 + number % 3)) % 20
        frames_FHWC[frame, 6 + number % 12 : 18 + number % 12, left : left + 10] = (
            (37 * number) % 256,
            (91 * number) % 256,
            (53 * number) % 256,
        )
    return frames_FHWC
