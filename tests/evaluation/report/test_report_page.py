"""The report shows the events' numbers, needs nothing beside it, and lets no text become markup."""

import base64
import hashlib
import html
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dualipo.evaluation.report import report_page

RunMaker = Callable[..., Path]
CANARY = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&{{7*7}}"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
# Counts the clips that have moved, and how far the furthest is from the first around the loop.
PROBE = """
setTimeout(() => {
  const videos = [...document.querySelectorAll("video")];
  const [first] = videos;
  const apart = videos.map((video) => {
    const gap = Math.abs(video.currentTime - first.currentTime);
    return Math.min(gap, Math.abs(first.duration - gap));
  });
  const playing = videos.filter((video) => !video.paused && video.currentTime > 0).length;
  document.title = `${playing} playing, ${Math.max(...apart).toFixed(3)} s apart`;
}, WAIT);
"""
WAITS = (2_000, 8_000, 30_000)  # ms of the page's own time, which may run ahead of the clips'


class Page(HTMLParser):
    """Every tag with its attributes, and all visible text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, text: str) -> None:
        self.text += text

    def attributes(self, name: str) -> list[str]:
        return [
            value or ""
            for _, attributes in self.tags
            for key, value in attributes.items()
            if key == name
        ]


def test_the_numbers_shown_are_the_events_numbers(make_run: RunMaker) -> None:
    text = Page(report_page.build(make_run())).text
    scores = {"0.495", "0.532", "0.584", "0.641"}  # means of the recorded totals
    critic = {"56.2 %", "72.9 %", "79.2 %", "83.3 %", "64.6 %", "91.0 %", "77.0 %"}
    counts = {"84 of 144", "231 of 480", "384", "3.1 %", "87.1 %"}
    alignment = {"67.1 %", "-0.0031", "0.0042", "0.412", "critic-1"}
    clocks = {"31.5 s", "82.0 s", "812 MB", "1,033 MB"}
    checks = {"0.912", "0.438\nfailed", "at least 0.7", "critic warm", "Reliability"}
    for number in scores | critic | counts | alignment | clocks | checks:
        assert number in text, number
    assert "simulated annotators, not from people" in text
    assert "3 of 3 rounds" in text and "refreshed in round 1" in text


def test_the_last_attempt_of_a_round_is_the_one_that_counts(make_run: RunMaker) -> None:
    # Round 1's first attempt lost 0.4; nothing of it may be seen.
    assert "0.09" not in re.findall(r"\d\.\d\d", Page(report_page.build(make_run())).text)


def test_the_page_refers_to_nothing_outside_itself(make_run: RunMaker) -> None:
    page = Page(report_page.build(make_run()))
    for name in ("src", "href", "action", "data", "poster", "srcset"):
        assert all(value.startswith(("data:video/mp4", "#")) for value in page.attributes(name))
    assert not {tag for tag, _ in page.tags} & {"link", "iframe", "object", "embed", "base"}
    css = (Path(report_page.__file__).parent / "report.css").read_text()
    assert "url(" not in css and "@import" not in css


def test_the_policy_allows_this_pages_script_and_styles_by_hash_and_no_others(
    make_run: RunMaker,
) -> None:
    source = report_page.build(make_run())
    [policy] = [
        attributes["content"] or ""
        for tag, attributes in Page(source).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    for tag in ("script", "style"):
        [content] = re.findall(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy


def test_fault_55_text_from_a_run_never_becomes_markup(make_run: RunMaker) -> None:
    source = report_page.build(make_run(text=CANARY))
    page = Page(source)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [tag for tag, _ in page.tags if tag == "img"]
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert html.escape("<img src=x onerror") in source
    # captions, words, reasons and annotators all reach the page, and as text
    assert page.text.count("<img src=x") >= 8 and "{{7*7}}" in page.text


@pytest.mark.parametrize("num_rounds", [0, 1, 2])
def test_an_unfinished_run_gives_a_report_with_what_is_there(
    make_run: RunMaker, num_rounds: int
) -> None:
    text = Page(report_page.build(make_run(num_rounds=num_rounds))).text
    assert f"not finished: {num_rounds} of 3 rounds" in text
    assert ("Nothing is recorded yet" in text) == (num_rounds == 0)


def test_a_run_that_has_only_begun_gives_a_report(make_run: RunMaker) -> None:
    run_path = make_run(num_rounds=0)
    for name in ("ledger.sqlite", "clips"):
        path = run_path / name
        path.unlink() if path.is_file() else shutil.rmtree(path)
    assert "not finished: 0 of 3 rounds" in Page(report_page.build(run_path)).text


@pytest.mark.slow
def test_a_lost_or_damaged_clip_leaves_a_gap(make_run: RunMaker) -> None:
    run_path = make_run()
    whole = len(Page(report_page.build(run_path)).attributes("loop"))
    paths = sorted((run_path / "clips").rglob("*.mp4"))
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    page = Page(report_page.build(run_path))
    assert 0 < len(page.attributes("loop")) < whole and "no clip" in page.text


def test_the_clips_of_the_page_are_playable_everywhere_and_keep_their_frames(
    make_run: RunMaker, tmp_path: Path
) -> None:
    av = pytest.importorskip("av")
    uris = Page(report_page.build(make_run())).attributes("src")
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(base64.b64decode(uris[0].partition(",")[2]))
    with av.open(str(clip)) as opened:
        stream = opened.streams.video[0]
        assert (stream.frames, stream.width, stream.height) == (9, 128, 128)
        # Not "High 4:4:4 Predictive", which most browsers cannot decode.
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.codec_context.profile in ("High", "Main")


@pytest.mark.slow
@needs_chromium
def test_fault_55_the_page_plays_and_the_canary_stays_quiet(
    make_run: RunMaker, tmp_path: Path
) -> None:
    source = report_page.build(make_run(text=CANARY))
    for wait in WAITS:
        dom = _opened_in_chromium(source, tmp_path, wait)
        assert "<title>demo: Dual-IPO report</title>" in dom
        assert re.search(r'<button id="play"[^>]*>Pause<', dom)
        [seconds] = re.findall(r'<output id="time">([\d.]+) s<', dom)
        if float(seconds) > 0:
            return
    pytest.fail("the clips do not move")


@pytest.mark.slow
@needs_chromium
def test_all_clips_play_in_step(make_run: RunMaker, tmp_path: Path) -> None:
    source = report_page.build(make_run()).replace("Content-Security-Policy", "x-let-the-probe-run")
    expected = 2 * 4 + 2  # base and three rounds of two prompts, and one pair
    for wait in WAITS:
        script = f"<script>{PROBE.replace('WAIT', str(wait))}</script>"
        dom = _opened_in_chromium(source.replace("</body>", f"{script}</body>"), tmp_path, wait)
        [(num_playing, apart)] = re.findall(r"<title>(\d+) playing, ([\d.]+) s apart</title>", dom)
        if int(num_playing) == expected:
            break
    assert int(num_playing) == expected
    assert float(apart) < 0.13, "more than a frame apart"


def _opened_in_chromium(source: str, folder: Path, wait: int) -> str:
    """Return the page's elements some seconds after `wait` milliseconds."""
    page = folder / "report.html"
    page.write_text(source, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-background-networking --dump-dom"
    profile = f"--user-data-dir={folder / 'chromium'}"
    command = [
        str(CHROMIUM),
        *flags.split(),
        profile,
        f"--virtual-time-budget={wait + 6_000}",
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
