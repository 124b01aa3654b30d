"""The dashboard on a real server: what it shows, that it follows the run, and whom it refuses."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from dualipo import config, tracking
from dualipo.events import SampleEvent
from dualipo.records import Candidate, Vote
from dualipo.store import tables
from dualipo.store.ledger import Unit
from dualipo.store.rundir import RunDir
from dualipo.web import server
from dualipo.web.dashboard import create_app
from dualipo.workers.roster import Roster
from tests.evaluation.conftest import RunMaker, moving_square
from tests.evaluation.conftest import make_run as make_run
from tests.web.conftest import NARROW, WIDE, until

HOSTILE = '<img src=x onerror="window.canary=1"><script>window.canary=2</script>'
OWN = {"align": {"max_train_steps": 40}, "seed": 7}

Watch = Callable[[Path], str]


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Return `watch(run)`, which serves a dashboard until the test ends and returns its address."""
    opened: list[Any] = []

    def open_(run: Path) -> str:
        listening = server.listen("127.0.0.1", 0)
        opened.append(server.serving(create_app(run), listening))
        opened[-1].__enter__()
        return server.address(listening, "127.0.0.1")

    yield open_
    for running in opened:
        running.__exit__(None, None, None)


def resume(run: Path) -> RunDir:
    return RunDir.open(run, config.resolve(OWN, subject="test"))


def test_it_shows_what_the_run_recorded(watch: Watch, make_run: RunMaker) -> None:
    base = watch(make_run())
    with httpx.Client(base_url=base, trust_env=False) as client:
        page = client.get("/")
        assert page.status_code == 200 and "demo is finished" in page.text
        digests = dict(re.findall(r'<section id="(\w+)" data-digest="(\w+)"', page.text))
        assert set(digests) >= {"now", "words", "gallery", "kept", "certainty", "scores", "curves"}
        for shown in (
            "Video A moves.",
            "small margin",
            "3 for A, 1 for a tie, certainty 87.5 %",
            "its A is clip B",
            "0.641",
        ):
            assert shown in page.text
        clip = client.get(re.findall(r'data-src="(/clips/\w+)"', page.text)[0])
        assert clip.headers["content-type"] == "video/mp4" and clip.content[4:8] == b"ftyp"
        for nowhere in ("/clips/" + "0" * 64, "/clips/..%2fconfig.json", "/static/app.py", "/api"):
            assert client.get(nowhere).status_code == 404


def test_it_shows_the_workers_of_a_run_that_has_some(watch: Watch, make_run: RunMaker) -> None:
    run = make_run()
    base = watch(run)
    with httpx.Client(base_url=base, trust_env=False) as client:
        assert 'id="workers"' not in client.get("/").text
        roster = Roster(run)
        busy, dead = roster.add("0", "node1", "H100"), roster.add("1", "node2", "H100")
        busy.finish(180.0, "H100")
        busy.begin("sample.candidates 7 of round 2")
        dead.num_failures = 3
        dead.die()
        roster.show(now=True)
        page = client.get("/").text
    shown = page[page.index('id="workers"') :].partition("</section>")[0]
    for words in ("0 on node1", "sample.candidates 7 of round 2", "<td>20</td>", "<td>alive</td>"):
        assert words in shown
    assert re.search(r"1 on node2</th><td>ended</td>.*<td>3</td>", shown)


def test_a_run_that_has_only_begun_has_a_page(watch: Watch, make_run: RunMaker) -> None:
    run = make_run(num_rounds=0)
    (run / "ledger.sqlite").unlink()
    with httpx.Client(base_url=watch(run), trust_env=False) as client:
        page = client.get("/")
    assert page.status_code == 200 and "before round 0: prompts" in page.text


def test_it_follows_a_run_and_leaves_alone_what_did_not_change(
    watch: Watch, make_run: RunMaker, browser: Browser, tmp_path: Path
) -> None:
    run = make_run(num_rounds=1)
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(watch(run))
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator(".chip").first).to_have_text("stopped")
    expect(page.locator("#now code")).to_have_text(f"dualipo resume {run}")
    expect(page.locator("#candidates")).to_have_count(0)
    page.evaluate("document.getElementById('words').kept = true")
    page.locator("#leg-1 summary").click()
    resumed = resume(run)
    sample_and_align(resumed)
    expect(page.locator("#now-title")).to_have_text("round 1: alignment")
    expect(page.locator("li.now")).to_contain_text("step 12 of 40")
    expect(page.locator(".chip").first).to_have_text("working")
    expect(page.locator("#candidates h2")).to_have_text("Candidates of round 1")
    page.locator("#candidates").scroll_into_view_if_needed()
    until(lambda: page.evaluate(_PLAYING) == 3)
    assert page.evaluate("document.getElementById('words').kept") is True, "it was not replaced"
    assert page.evaluate("document.getElementById('leg-1').open") is True, "as the reader left it"
    vote(resumed, "bab")
    verdict = page.locator("#words .verdict")
    expect(verdict).to_have_text("On motion: B is better, 2 of 3 votes")
    expect(page.locator("#words blockquote")).to_have_text(["path 0", "path 1", "path 2"])
    resumed.close()
    expect(page.locator(".chip").first).to_have_text("stopped")
    require_that_it_fits(page, tmp_path)
    context.close()
    assert not errors


def sample_and_align(run: RunDir) -> None:
    candidates = [_candidate(n, run.clips_path) for n in range(3)]
    run.ledger.commit_unit(Unit(1, 0, "sample.candidates", 0), candidates=candidates)
    sampled = SampleEvent(num_clips=3, num_rejected=0, num_resampled=0, num_prompts_dropped=0)
    run.ledger.commit_unit(Unit(1, 0, "sample.candidates", -1), events=[sampled])
    with tracking.Metrics(run.metrics_path) as metrics:
        metrics.log(11, round=1, attempt=0, stage="align", loss=0.69)


def vote(run: RunDir, outcomes: str) -> None:
    item = "candidates-1-0-p-0:candidates-1-0-p-2"
    votes = [
        Vote(item, "motion", "ab", n, outcome, 0.0, f"path {n}")  # type: ignore[arg-type]
        for n, outcome in enumerate(outcomes)
    ]
    shard = run.attempt_path(1, 0) / "confirm" / "votes-0000.parquet"
    sha256 = tables.write_records(shard, votes, record_type=Vote)
    run.ledger.commit_unit(
        Unit(1, 0, "confirm", 0),
        files={run.relative(shard): sha256},
        votes=[("pair", "c", vote) for vote in votes],
    )


def require_that_it_fits(page: Page, folder: Path) -> None:
    for name, size in (("wide", WIDE), ("narrow", NARROW)):
        page.set_viewport_size(size)  # type: ignore[arg-type]
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        path = folder / f"dashboard-{name}.png"
        page.screenshot(path=path, full_page=True, timeout=180_000)  # a busy machine paints slowly


_PLAYING = (
    "[...document.querySelectorAll('#candidates video')]"
    ".filter(video => !video.paused && video.readyState >= 2).length"
)


def _candidate(n: int, folder: Path) -> Candidate:
    from dualipo.store.clips import ClipStore

    clip = ClipStore(folder).put(moving_square(n, n % 2), 8)
    return Candidate(f"candidates-1-0-p-{n}", "p", "a disc", n, 0, n, clip, "g000.0", 1)


def test_fault_55_a_runs_words_stay_words_on_the_dashboard(
    watch: Watch, make_run: RunMaker, browser: Browser
) -> None:
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(watch(make_run(text=HOSTILE)))
    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator("#words h3").first).to_have_text(HOSTILE)
    assert page.evaluate("window.canary") is None
    assert page.evaluate("document.querySelectorAll('main img, body script').length") == 0
    context.close()


def test_fault_56_nobody_beyond_this_machine_sees_it_and_nobody_changes_anything(
    watch: Watch, make_run: RunMaker
) -> None:
    run = make_run(num_rounds=1)
    base = watch(run)
    port = base.rpartition(":")[2]
    refused: list[tuple[str, dict[str, str], int]] = [
        ("GET", {"host": f"evil.example:{port}"}, 421),  # a rebound name
        ("GET", {"x-forwarded-for": "203.0.113.5"}, 403),  # through a proxy
        ("GET", {"forwarded": "for=203.0.113.5"}, 403),
        *((method, {"origin": base}, 405) for method in ("POST", "PUT", "DELETE", "PATCH")),
    ]
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with httpx.Client(base_url=base, trust_env=False) as client:
        for method, headers, status in refused:
            for path in ("/", "/events", "/clips/" + "0" * 64):
                assert client.request(method, path, headers=headers).status_code == status
        headers = client.get("/").headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
    changed = {path for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert {path.name for path in changed} <= {"ledger.sqlite-shm"}, "a reader writes nothing"
    guard = create_app(run)
    scope = {"type": "http", "method": "GET", "path": "/", "client": ("203.0.113.5", 4000)}
    refusal = guard.judge(scope, {"host": "127.0.0.1"})
    assert refusal is not None and refusal.status == 403
    assert guard.judge(scope | {"client": ("127.0.0.1", 4000)}, {"host": "127.0.0.1"}) is None


@pytest.mark.slow
def test_a_stream_says_at_once_where_the_run_is_and_ends_with_the_server(
    make_run: RunMaker,
) -> None:
    run = make_run(num_rounds=1)
    listening = server.listen("127.0.0.1", 0)
    base = server.address(listening, "127.0.0.1")
    running = server.serving(create_app(run), listening)
    running.__enter__()
    with (
        httpx.Client(base_url=base, trust_env=False) as client,
        client.stream("GET", "/events") as stream,
    ):
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = stream.iter_lines()
        assert next(line for line in lines if line.startswith("event: ")) == "event: changed"
        (run / "metrics.jsonl").touch()
        assert next(line for line in lines if line.startswith("event: ")) == "event: changed"
        start = time.monotonic()
        running.__exit__(None, None, None)
        assert time.monotonic() - start < 2.5
