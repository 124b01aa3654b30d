"""The interface as a page uses it: real server, real SQLite, many at once."""

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from dualipo.records import DIMENSIONS, Candidate
from dualipo.store import clips, label_records, playable
from dualipo.web.security import PUBLIC
from tests.web.conftest import GENERATORS, Site

OpenSite = Callable[..., Site]


def answer(
    client: httpx.Client, state: dict[str, Any], outcome: str, **more: Any
) -> httpx.Response:
    step = state["step"]
    body = {"key": f"{step['task']}-{step['dimension']}", "task": step["task"]}
    body |= {"dimension": step["dimension"], "outcome": outcome} | more
    return client.post("/api/answers", json=body)


def state_of(client: httpx.Client) -> dict[str, Any]:
    answered = client.get("/api/state")
    assert answered.status_code == 200, answered.text
    state: dict[str, Any] = answered.json()
    return state


@pytest.mark.slow
def test_ten_annotators_at_once_lose_nothing(open_site: OpenSite) -> None:
    site = open_site(num_points=24, num_wanted=10)

    def work(number: int) -> list[str]:
        keys: list[str] = []
        with site.annotator(f"annotator {number}") as client:
            state = state_of(client)
            while len(keys) < 100:
                keys.append(f"{number}-{len(keys):04d}-key")
                sent = answer(client, state, "abstain", key=keys[-1], reason=f"r{number}")
                assert sent.status_code == 200, sent.text
                state = sent.json()
        return keys

    with ThreadPoolExecutor(10) as pool:
        posted = [key for keys in pool.map(work, range(10)) for key in keys]
    assert len(posted) == len(set(posted)) == 1000
    stored = Counter(row[0] for row in _rows(site, "SELECT key FROM labels"))
    assert stored == Counter(posted), "each once, none lost"
    given = label_records.answers(site.book)
    assert [label.counter for label in given] == list(range(1, 1001))
    places = Counter((label.annotator, label.item_id, label.dimension) for label in given)
    assert max(places.values()) == 1, "nobody was asked anything twice"


def test_fault_57_a_replayed_answer_counts_once(site: Site) -> None:
    with site.annotator("ada") as client:
        state = state_of(client)
        first, again = (answer(client, state, "a", reason="it jumps") for _ in range(2))
        assert [first.json()["receipt"], again.json()["receipt"]] == ["saved", "replayed"]
        assert first.json()["step"] == again.json()["step"]
        other = answer(client, state, "b", reason="it jumps")
        assert other.status_code == 409 and other.json()["error"] == "other body"
        late = answer(client, state, "b", key="another-key")
        assert late.status_code == 409 and late.json()["error"] == "answered already"
        undone = [client.post("/api/undo", json={"key": "undo-once"}).json() for _ in range(2)]
        assert undone[0]["undone"] == undone[1]["undone"] == {"outcome": "a", "reason": "it jumps"}
        assert state_of(client)["step"]["dimension"] == state["step"]["dimension"]
        assert client.post("/api/undo", json={"key": "undo-twice"}).status_code == 409
    assert not label_records.answers(site.book)
    assert _rows(site, "SELECT COUNT(*) FROM labels") == [(1,)], "undone is marked, not deleted"


@pytest.mark.slow
def test_what_was_shown_is_what_is_recorded(open_site: OpenSite) -> None:
    """Sides are swapped by a coin; the records hold the clip that was seen to win as such."""
    site = open_site(num_points=6)
    winners = {}
    with site.annotator("ada") as client:
        while (state := state_of(client))["step"]:
            step = state["step"]
            is_pair = step["kind"] == "pair"
            sent = answer(client, state, "a" if is_pair else "good", reason="A is sharper")
            assert sent.status_code == 200
            winners[step["task"]] = client.get(step["clips"][0]["url"]).content
    pairs, points = label_records.read_labels(site.book.path)
    assert len(pairs) == 24 * 3 and len(points) == 6 * 3
    assert {pair.dimension for pair in pairs} == set(DIMENSIONS)
    for pair in pairs:
        assert (pair.source, pair.verdict, pair.rationale) == ("human", "a", "A is sharper")
        shown = winners[pair.pair_id.rpartition("-")[0]]
        assert playable.shown_mp4(site.desk.clip_store.path(pair.video_a)) == shown
        assert pair.annotator_or_critic_version == "ada" and pair.round == 7
    swapped = {
        label.is_swapped for label in label_records.answers(site.book) if label.kind == "pair"
    }
    assert swapped == {True, False}
    assert {(point.grade, point.source) for point in points} == {("good", "human")}
    for point in points:
        shown = winners[point.point_id.rpartition("-")[0]]
        assert playable.shown_mp4(site.desk.clip_store.path(point.video)) == shown


def test_repeats_return_the_other_way_round_and_are_not_learned_from(open_site: OpenSite) -> None:
    site = open_site(repeats=0.3)
    with site.annotator("ada") as client:
        while (state := state_of(client))["step"]:
            assert answer(client, state, "a").status_code == 200
    given = label_records.answers(site.book)
    repeats = [label for label in given if label.is_repeat]
    first = {label.item_id: label for label in given if not label.is_repeat}
    assert len(repeats) >= 6
    assert all(label.is_swapped != first[label.item_id].is_swapped for label in repeats)
    pairs, _ = label_records.records(given)
    assert len(pairs) == 24 * 3
    with site.client(site.desk.organiser_token) as organiser:
        (ada,) = organiser.get("/api/organiser").json()["annotators"]
    # Whoever always says A contradicts themselves on every repeat, and it is seen.
    assert (ada["with_self"], ada["share_first"], ada["num_repeats"]) == (0, 1, len(repeats))


def test_double_labels_give_agreement(open_site: OpenSite) -> None:
    site = open_site(double=0.5)
    num_double = len(_rows(site, "SELECT 1 FROM items WHERE num_wanted = 2"))
    for name in ("ada", "ben"):
        with site.annotator(name) as client:
            while (state := state_of(client))["step"]:
                task = site.book.task(state["step"]["task"], name)
                assert task is not None
                best = min(task.clip_a, task.clip_b)
                assert answer(client, state, "a" if task.shown("a") == best else "b").is_success
    with site.client(site.desk.organiser_token) as organiser:
        figures = organiser.get("/api/organiser").json()
    assert 6 <= num_double <= 18 and figures["num_items_answered"] == 24
    for row in figures["agreement"]:
        assert row["num_shared"] == num_double
        assert row["alpha"] is None  # the smaller hash is always A: one answer only, so no number
        assert row["kappas"] == [{"annotators": ["ada", "ben"], "kappa": None, "num": num_double}]


def test_who_left_with_open_tasks_does_not_keep_them(open_site: OpenSite) -> None:
    site = open_site(num_pairs=4)
    with site.annotator("gone") as client:
        assert state_of(client)["step"]
    with site.annotator("ada") as client:
        while (state := state_of(client))["step"]:
            assert answer(client, state, "tie").is_success
    assert len({label.item_id for label in label_records.answers(site.book)}) == 4


@pytest.mark.slow
def test_fault_58_nothing_tells_where_a_clip_comes_from(
    open_site: OpenSite, candidates: list[Candidate]
) -> None:
    site = open_site(num_points=4, repeats=0.2)
    seen = []
    with site.annotator("ada") as client:
        pages = ["/", "/static/label.js", "/static/player.js"]
        seen += [client.get(page) for page in pages]
        while (state := state_of(client))["step"]:
            seen += [client.get(clip["url"]) for clip in state["step"]["clips"]]
            seen += [client.get("/api/state")]
            seen.append(answer(client, state, "a" if state["step"]["kind"] == "pair" else "bad"))
    secrets = {*GENERATORS, "candidates-", "prompt1", "is_repeat", "gold", "ledger", '"round"'}
    secrets |= {candidate.clip for candidate in candidates}
    assert len(seen) > 100
    for response in seen:
        assert response.status_code == 200, response.text
        shown = str(response.headers) + response.content.decode("latin-1")
        assert not [secret for secret in secrets if secret in shown], response.url
        assert not {"last-modified", "etag", "date", "server"} & response.headers.keys()
    addresses = [str(r.url) for r in seen if r.headers["content-type"] == "video/mp4"]
    assert all(re.fullmatch(r".*/clips/[0-9a-f]{24}/[ab]", address) for address in addresses)


def test_people_get_clips_that_every_browser_plays(site: Site, tmp_path: Path) -> None:
    with site.annotator("ada") as client:
        (address, *_) = (clip["url"] for clip in state_of(client)["step"]["clips"])
        (tmp_path / "shown.mp4").write_bytes(client.get(address).content)
    stored = clips.probe(next(site.desk.clip_store.folder.rglob("*.mp4")))
    shown = clips.probe(tmp_path / "shown.mp4")
    assert (stored.encoding, shown.encoding) == ("mp4 h264 yuvj444p", playable.PLAYABLE)
    assert (shown.num_frames, shown.fps) == (stored.num_frames, stored.fps)


def test_fault_56_every_route_is_closed_to_strangers(site: Site) -> None:
    with site.annotator("ada") as client:
        clip = state_of(client)["step"]["clips"][0]["url"]
    routes = [
        (method, _filled(route.path, clip)) for route in _routes(site) for method in route.methods
    ]
    assert len(routes) >= 10
    with site.annotator("ben") as ben:  # somebody else's task is as closed as one that is not there
        assert ben.get(clip).status_code == ben.get("/clips/none/a").status_code == 404
    refused = []
    for token in ("", "not-a-token", "é"):
        bearer = {"authorization": f"Bearer {token}".encode()} if token else {}
        headers = {"origin": site.base, **bearer}
        with httpx.Client(base_url=site.base, headers=headers, trust_env=False) as stranger:
            for method, path in routes:
                if (method, path) in PUBLIC:
                    continue
                sent = stranger.request(method, path, json=None if method == "GET" else {})
                refused.append((path, sent.status_code))
    assert {status for _, status in refused} == {401}
    with site.annotator("ada") as client:  # an annotator is no organiser
        assert (
            client.get("/organiser").status_code == client.get("/api/organiser").status_code == 401
        )
        site.book.revoke("ada")
        assert client.get("/api/state").status_code == 401


def test_fault_54_only_our_own_page_may_change_anything(site: Site) -> None:
    """Sec-Fetch-Site decides, or Origin where a browser does not send that (Datasette's table)."""
    own, port = site.base, site.base.rpartition(":")[2]
    table: list[tuple[dict[str, str], bool]] = [
        ({"sec-fetch-site": "same-origin", "origin": own}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"origin": own}, True),
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:1"}, False),
        ({"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, False),
        ({"sec-fetch-site": "nonsense"}, False),
        ({"origin": "https://evil.example"}, False),
        ({"origin": f"http://127.0.0.1.evil.example:{port}"}, False),
        ({"origin": "http://127.0.0.1:1"}, False),
        ({"origin": "null"}, False),
        ({"origin": f"http://localhost:{port}"}, False),
        ({}, False),
    ]
    cookie = {"cookie": f"dualipo_token={site.book.invite('ada')}"}
    with httpx.Client(base_url=site.base, headers=cookie, trust_env=False) as client:
        for headers, allowed in table:
            sent = client.post("/api/undo", json={"key": "some-key"}, headers=headers)
            assert sent.status_code == (409 if allowed else 403), headers
        as_form = {"content-type": "text/plain", "origin": own}
        assert client.post("/api/undo", content="{}", headers=as_form).status_code == 415
        rebound = client.get("/api/state", headers={"host": f"evil.example:{port}"})
        assert rebound.status_code == 421
        long = client.post("/api/undo", json={"key": "k" * 70_000}, headers={"origin": own})
        assert long.status_code == 413
    with httpx.Client(base_url=site.base, trust_env=False) as client:
        joined = client.post(
            "/api/join", json={"token": site.book.invite("ada")}, headers={"origin": own}
        )
        kept = joined.headers["set-cookie"].lower()
        assert "httponly" in kept and "samesite=strict" in kept
        assert client.get("/api/state").status_code == 200


def test_every_answer_carries_the_policy(site: Site) -> None:
    with site.annotator("ada") as client:
        for path in ("/", "/join", "/api/state", "/nowhere", "/static/page.css"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy and "script-src 'self';" in policy
            assert "unsafe" not in policy and headers["x-content-type-options"] == "nosniff"
            assert headers["cache-control"] == "no-store"
        assert client.get("/static/..%2fapp.py").status_code == 404
        nonsense = client.post("/api/answers", json={"key": "x"})
        assert nonsense.status_code == 422 and "dimension" in nonsense.json()["error"]


def test_a_book_outlives_its_server(open_site: OpenSite) -> None:
    first = open_site()
    token = first.book.invite("ada")
    with first.client(token) as client:
        state = answer(client, state_of(client), "tie").json()
    second = open_site()  # the same file, as after a restart
    with second.client(token) as client:
        assert state_of(client)["step"] == state["step"]
    assert json.loads(second.book._meta("dimensions")) == list(DIMENSIONS)


def _rows(site: Site, query: str) -> list[tuple[Any, ...]]:
    """Read the file as it is on disk, past the server."""
    connection = sqlite3.connect(site.book.path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def _routes(site: Site) -> Any:
    from dualipo.web.labelling_page import create_app

    return [route for route in create_app(site.desk).app.routes if hasattr(route, "methods")]  # type: ignore[attr-defined]


def _filled(path: str, clip: str) -> str:
    _, _, task_id, side = clip.split("/")
    return path.format(task_id=task_id, side=side, name="page.js")
