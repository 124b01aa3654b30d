"""Expansion by a server that is slow, wrong and dies: nothing is lost, all is counted."""

import re
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dualipo.config import Server
from dualipo.errors import DataError, StageError
from dualipo.prompts import caption_files, elements, expand, kept
from dualipo.prompts.compose import Order, compose
from dualipo.prompts.expand import Settings, Style, numbered_lines
from tests.prompts.writer import answer, asked, good, longer
from tests.servers import loopback

STYLE = Style(instructions="Write {min_words} to {max_words} words.", min_words=30, max_words=90)
SETTINGS = Settings(model="writer", style=STYLE, per_request=4, rows_per_shard=20)


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("composed") / "out"
    compose(folder, Order(num=90, seed=2, rows_per_shard=50), elements.load())
    return folder


def wrong(body: dict[str, Any], count: int) -> Any:
    """Answer a third of the captions well; which ones depends on the caption alone."""
    texts, first = [], asked(body)[0]
    if "fox" in first:
        return loopback.dripping
    if sum(map(ord, first)) % 11 == 0:
        return {"choices": [{"message": {"content": None}}]}
    for caption in asked(body):
        kinds = [
            longer(caption),
            longer(caption),
            "Too short.",
            longer(caption) * 4,
            longer("A dog sleeps."),  # another scene
            longer(caption) + "\u202e",
        ]
        texts.append(kinds[sum(map(ord, caption)) % len(kinds)])
    return answer(texts)


def run(source: Path, output: Path, url: str, settings: Settings = SETTINGS, **server: Any) -> Any:
    settings_of_server = {"timeout": 0.5, "max_retries": 0, "max_concurrency": 3} | server
    return expand.expand(source, output, Server(base_url=url, **settings_of_server), settings)


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [row for batch in caption_files.batches(path) for row in batch.to_pylist()]


@pytest.mark.slow
def test_fault_64_every_caption_comes_back_expanded_or_as_it_was_with_the_reason(
    composed, tmp_path
):
    with loopback.serving(wrong) as server:
        report = run(composed, tmp_path / "out", server.url)
    before, after = rows_of(composed), rows_of(tmp_path / "out")
    assert report.num == len(before) == len(after) == 90
    assert report.sources == Counter(row["source"] for row in after)
    reasons = {expand.UNREADABLE, expand.TOO_SHORT, expand.TOO_LONG, expand.LOST}
    assert {f"composed, {reason}" for reason in reasons} | {"expanded"} <= set(report.sources)
    for short, row in zip(before, after, strict=True):
        assert (row["elements"], row["category"]) == (short["elements"], short["category"])
        if row["source"] == "expanded":
            assert row["original"] == short["caption"]
            assert row["caption"] == longer(short["caption"]).strip()
            assert row["prompt_id"] != short["prompt_id"]
        else:
            assert row["caption"] == short["caption"] and row["original"] == ""
            assert row["prompt_id"] == short["prompt_id"]


@pytest.mark.slow
def test_a_server_that_dies_leaves_whole_shards_and_the_rest_comes_out_equal(composed, tmp_path):
    with loopback.serving(wrong) as server:
        run(composed, tmp_path / "whole", server.url)
    dead = threading.Event()

    def dying(body: dict[str, Any], count: int) -> Any:
        if count > 25 or dead.is_set():
            dead.set()
            return loopback.failing(503)
        time.sleep(0.01)
        return wrong(body, count)

    with (
        loopback.serving(dying) as server,
        pytest.raises(StageError, match="does not answer any more"),
    ):
        run(composed, tmp_path / "begun", server.url)
    written = sorted(path.name for path in (tmp_path / "begun").glob("captions-*"))
    assert 0 < len(written) < 5
    with pytest.raises(StageError, match="cannot be reached"):
        run(composed, tmp_path / "begun", server.url)  # it is gone now
    with pytest.raises(DataError, match="`captions expand` has not filled it yet"):
        rows_of(tmp_path / "begun")
    with loopback.serving(wrong) as server:
        run(composed, tmp_path / "begun", server.url)
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "begun" / path.name).read_bytes(), path.name


def test_a_slow_answer_is_asked_for_again_and_then_counted(composed, tmp_path):
    source = tmp_path / "captions.txt"
    source.write_text("a cat sleeps on a red sofa\na slow snail crosses a wet road\n")

    def slow(body: dict[str, Any], count: int) -> Any:
        return loopback.dripping if "snail" in asked(body)[-1] else good(body, count)

    with loopback.serving(slow) as server:
        report = run(source, tmp_path / "out", server.url, timeout=0.2)
    assert report.sources == {"expanded": 1, "given, no answer": 1}
    assert len(server.requests) == 4  # both at once, each alone, and whether it is alive


def test_the_request_holds_the_style_and_no_key(composed, tmp_path, monkeypatch):
    monkeypatch.setenv("WRITER_KEY", "sk-secret")
    style = expand.load_style("cogvideox")
    settings = Settings(model="writer", style=style, rows_per_shard=100)
    with loopback.serving(good) as server:
        run(composed, tmp_path / "out", server.url, settings, api_key_env="WRITER_KEY")
    _, headers, body = server.requests[0]
    assert headers["Authorization"] == "Bearer sk-secret"
    assert "60 to 130" in body["messages"][0]["content"] and "secret" not in str(body)
    plan = (tmp_path / "out" / "plan.json").read_text()
    assert "secret" not in plan and server.url not in plan  # a server may move


@pytest.mark.parametrize("name", ["cogvideox", "wan"])
def test_the_examples_of_a_style_that_ships_follow_it(name):
    style = expand.load_style(name)
    for example in style.examples:
        num_words = len(re.findall(r"[\w'-]+", example.expanded))
        assert style.min_words <= num_words <= style.max_words
        assert not kept.lost(example.caption, "", example.expanded)


def test_a_wrong_style_is_told(tmp_path):
    with pytest.raises(DataError, match=r"no such file.*cogvideox, wan"):
        expand.load_style("vidu")
    (tmp_path / "mine.toml").write_text('instructions = "x"\nmin_words = 0\nmax_words = 9\n')
    with pytest.raises(DataError, match="min_words: Input should be greater"):
        expand.load_style(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize(
    ("text", "num", "is_cut", "expected"),
    [
        ("1. one\n2. two", 2, False, {1: "one", 2: "two"}),
        ("Sure!\n\n1) one\n more\n**2.** two", 2, False, {1: "one more", 2: "two"}),
        ("1. one\n2. tw", 2, True, {1: "one"}),
        ("1. one\n1. two\n2. three", 2, False, {2: "three"}),
        ("1. one\n3. two", 2, False, {1: "one 3. two"}),
        ('"just the text"', 1, False, {1: "just the text"}),
        ("just the te", 1, True, {}),
        ("no numbers", 2, False, {}),
        ("", 2, False, {}),
    ],
)
def test_lines_are_told_apart_by_their_numbers(text, num, is_cut, expected):
    assert numbered_lines(text, num, is_cut=is_cut) == expected


@pytest.mark.parametrize(
    ("part", "longer", "is_kept"),
    [
        ("riding a bicycle", "he rides his bicycles home", True),
        ("running at full speed", "a dog ran off", False),
        ("in soft window light", "the light of the windows is soft", True),
        ("a red fox", "a fox", True),
        ("slow dolly-in", "the camera is still", False),
        ("carrying a stick", "it carries two sticks", True),
    ],
)
def test_an_element_is_kept_if_half_of_its_words_are(part, longer, is_kept):
    assert (not kept.lost("", f'{{"action": "{part}"}}', longer)) is is_kept
