"""The page in a real browser, by keyboard alone. Screenshots go to pytest's own folder."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from dualipo.store import label_records
from dualipo.store.labels import LabelItem
from tests.web.conftest import NARROW, WIDE, Site, until

HOSTILE = '<img src=x onerror="window.canary=1"><script>window.canary=2</script>'


@pytest.fixture
def sit_down(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Return `sit_down(link)`, which opens a personal link; errors of the page fail the test."""
    contexts: list[Any] = []
    errors: list[str] = []

    def open_(link: str, **viewport: int) -> Page:
        contexts.append(browser.new_context(viewport=viewport or WIDE))
        page: Page = contexts[-1].new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(link)
        page.wait_for_url(lambda url: "/join" not in url)
        expect(page.locator("#work, #tiles")).to_be_visible()
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not errors


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def save(page: Page, *keys: str) -> None:
    """Choose by keys, save, and wait for the receipt."""
    before = place(page)
    press(page, *keys, "Enter")
    until(lambda: place(page) != before)


PLACE = (
    "document.getElementById('count').textContent + document.getElementById('question').textContent"
)


def place(page: Page) -> str:
    where: str = page.evaluate(PLACE)
    return where


def test_ten_pairs_by_keyboard_alone(
    site: Site, sit_down: Callable[..., Page], tmp_path: Path
) -> None:
    page = sit_down(site.link("ada"))
    expect(page.locator("#question")).to_be_focused()
    expect(page.locator("#count")).to_have_text("0 of 24")
    given: list[tuple[str, str]] = []
    for number in range(10):
        for dimension in range(3):
            key, outcome = (("a", "a"), ("b", "b"), ("t", "tie"))[(number + dimension) % 3]
            if number == 4 and dimension == 1:  # chosen and written, then the page is loaded again
                press(page, key, "r")
                page.keyboard.type("it trembles")
                page.reload()
                expect(page.locator("#reason")).to_have_value("it trembles")
                expect(page.locator(f"input[value={outcome}]")).to_be_checked()
                save(page)
            elif number == 6 and dimension == 2:  # the wrong key, taken back
                save(page, "x")
                press(page, "u")
                expect(page.locator("input[value=abstain]")).to_be_checked()
                save(page, key)
            elif number == 7 and dimension == 1:  # a reason of before, by its number
                expect(page.locator(".phrase").first).to_contain_text("it trembles")
                save(page, "1", key)
            else:
                save(page, key)
            given.append((("consistency", "faithfulness", "motion")[dimension], outcome))
    expect(page.locator("#count")).to_have_text("10 of 24")
    kept = label_records.answers(site.book)
    assert [(label.dimension, label.shown_outcome) for label in kept] == given
    assert [label.reason for label in kept if label.reason] == ["it trembles"] * 2
    assert page.evaluate("document.cookie") == "", "no script can read the token"
    page.screenshot(path=tmp_path / "wide.png")


def test_the_clips_play_in_step_and_obey_the_keys(
    site: Site, sit_down: Callable[..., Page]
) -> None:
    page = sit_down(site.link("ada"))
    times = "[...document.querySelectorAll('video')].map(video => video.currentTime)"
    loaded = "[...document.querySelectorAll('video')].every(video => video.readyState >= 2)"
    until(lambda: page.evaluate(loaded))
    playing = "[...document.querySelectorAll('video')].some(video => !video.paused)"
    assert page.evaluate("[...document.querySelectorAll('video')].every(v => v.videoWidth >= 32)")
    until(lambda: page.evaluate(playing))
    for _ in range(5):
        page.wait_for_timeout(80)
        first, second = page.evaluate(times)
        assert min(abs(first - second), 1.125 - abs(first - second)) < 0.15
    press(page, "Space")
    assert not page.evaluate(playing)
    page.locator("#scrubber").fill("3")
    press(page, "ArrowRight")  # the scrubber has the focus and moves by itself
    expect(page.locator("#time")).to_have_text("5 / 9")
    page.locator("#question").focus()
    press(page, "ArrowLeft")
    expect(page.locator("#time")).to_have_text("4 / 9")
    first, second = page.evaluate(times)
    assert first == second == pytest.approx(3.5 / 8, abs=1e-3)
    press(page, "h", "z")
    assert page.evaluate(
        "[...document.querySelectorAll('video')].every(v => v.playbackRate === .5)"
    )
    scales = "[...document.querySelectorAll('video')].map(v => v.style.transform)"
    assert page.evaluate(scales) == ["scale(2)", "scale(2)"]
    press(page, "?")
    expect(page.locator("#keys")).to_be_visible()
    press(page, "Escape")
    expect(page.locator("#keys")).to_be_hidden()


def test_a_lost_connection_loses_no_answer(site: Site, sit_down: Callable[..., Page]) -> None:
    page = sit_down(site.link("ada"))
    expect(page.locator("#question")).to_be_focused()  # by then letters are keys
    page.route("**/api/answers", lambda route: route.abort())
    press(page, "a", "Enter")
    expect(page.locator("#notice")).to_contain_text("Not saved yet, trying again")
    page.unroute("**/api/answers")
    page.reload()  # not even waiting for the next try
    expect(page.locator("#question")).to_have_text("Which clip is better made?")
    # The receipt is lost after the server has saved: the same key is sent again and counts once.
    page.route("**/api/answers", lambda route: (route.fetch(), route.abort()), times=1)
    press(page, "b", "Enter")
    expect(page.locator("#question")).to_have_text("Which clip moves better?")
    assert [label.shown_outcome for label in label_records.answers(site.book)] == ["a", "b"]


def test_fault_55_hostile_words_stay_words(
    open_site: Callable[..., Site], sit_down: Callable[..., Page], tmp_path: Path
) -> None:
    site = open_site(num_pairs=1)
    (known,) = site.book.rows("SELECT clip_a, clip_b FROM items")
    site.book.add_items([LabelItem("pair", "hostile", HOSTILE, *known, priority=9)])
    page = sit_down(site.link(HOSTILE))
    expect(page.locator("#caption")).to_have_text(HOSTILE)
    press(page, "a", "r")
    page.keyboard.type(HOSTILE)
    save(page)
    save(page, "b")
    save(page, "t")
    organiser = sit_down(f"{site.base}/join#{site.desk.organiser_token}")
    expect(organiser.locator("#annotators th[scope=row]")).to_have_text(HOSTILE)
    for shown in (page, organiser):
        assert shown.evaluate("window.canary") is None
        assert shown.evaluate("document.querySelectorAll('img, body script').length") == 0
        shown.screenshot(path=tmp_path / f"hostile-{shown is page}.png")
    page.goto(f"{site.base}/")
    injected = "document.body.append(Object.assign(document.createElement('script'), {text: '1'}))"
    with pytest.raises(Exception, match=r"TrustedScript|Content Security Policy"):
        page.evaluate(injected)


def test_a_stranger_gets_nowhere(site: Site, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    for address in ("/", "/organiser", "/api/state"):
        answered = page.goto(site.base + address)
        assert answered is not None and answered.status == 401
        assert "personal link" in page.content()
    page.goto(f"{site.base}/join#guess")
    expect(page.locator("#said")).to_contain_text("not valid")
    with site.annotator("ada") as client:
        clip = client.get("/api/state").json()["step"]["clips"][0]["url"]
    answered = page.goto(site.base + clip)
    assert answered is not None and answered.status == 401
    # A form of another site, in a browser that holds the cookie: refused before it is read.
    page.goto(site.link("ben"))
    page.wait_for_url(f"{site.base}/")
    expect(page.locator("#work")).to_be_visible()
    save(page, "t")
    evil = context.new_page()
    evil.route("https://evil.example/", lambda route: route.fulfill(body="<p>evil</p>"))
    evil.goto("https://evil.example/")
    forged = (
        "{method: 'POST', mode: 'no-cors', credentials: 'include', body: '{\"key\": \"evil-key\"}'}"
    )
    evil.evaluate(f"address => fetch(address, {forged}).catch(() => 0)", f"{site.base}/api/undo")
    assert [label.outcome for label in label_records.answers(site.book)] == ["tie"], (
        "not taken back"
    )
    context.close()


def test_single_clips_and_the_end_on_a_narrow_screen(
    open_site: Callable[..., Site], sit_down: Callable[..., Page], tmp_path: Path
) -> None:
    site = open_site(num_pairs=1, num_points=1)
    page = sit_down(site.link("ada"), **NARROW)
    for _ in range(2):
        is_pair = page.locator("figure:visible").count() == 2
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.screenshot(path=tmp_path / f"narrow-{'pair' if is_pair else 'point'}.png")
        for key in ("a", "t", "b") if is_pair else ("g", "n", "b"):
            save(page, key)
    expect(page.locator("#thanks")).to_be_visible()
    _, points = label_records.read_labels(site.book.path)
    assert sorted(point.grade for point in points) == ["bad", "good", "normal"]
    press(page, "u")
    expect(page.locator("#question")).to_be_visible()


def test_the_page_can_be_heard(site: Site, sit_down: Callable[..., Page]) -> None:
    """Check what a screen reader reads out: names, roles, states, and the last action."""
    page = sit_down(site.link("ada"))
    choices = page.get_by_role("group", name="Which clip follows the caption better?")
    for name in ("A is better", "Tie", "B is better", "Cannot tell"):
        expect(choices.get_by_role("radio", name=name, exact=True)).to_have_count(1)
    expect(page.get_by_role("progressbar", name="Your progress")).to_be_visible()
    expect(page.get_by_role("slider", name="Frame")).to_be_visible()
    expect(page.get_by_role("textbox", name="Why? what you see")).to_be_visible()
    expect(page.locator("li[aria-current=step]")).to_have_text("consistency")
    save(page, "a")
    expect(page.get_by_role("status")).to_have_text("Saved: A for consistency.")
    expect(page.get_by_role("heading", name="Which clip is better made?")).to_be_focused()
    unnamed = (
        "[...document.querySelectorAll('button')].filter(b => !b.innerText && !b.ariaLabel).length"
    )
    assert page.evaluate(unnamed) == 0
