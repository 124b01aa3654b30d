"""Publishing, against a hub on this machine that says what it was sent."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from dualipo import config
from dualipo.cli.main import main
from dualipo.event_parts import Signals
from dualipo.events import AlignEvent, GalleryEvent, MonitorEvent
from dualipo.records import Pair
from dualipo.store.clips import ClipStore
from dualipo.store.label_tables import BOOK
from dualipo.store.labels import Answer, Choice, LabelBook, LabelItem
from dualipo.store.ledger import Unit, Version
from dualipo.store.rundir import RunDir
from tests.cli.conftest import Ended

TOKEN = "hf_" + "x" * 30

Dualipo = Callable[..., Ended]


@dataclass
class Hub:
    """A hub that remembers what it was asked, and the files of a commit by path."""

    base: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)
    created: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        if path == "/api/repos/create":
            self.created.append(json.loads(body))
            return {"url": f"{self.base}/ada/thing", "name": "ada/thing"}
        if path == "/api/validate-yaml":
            return {"errors": [], "warnings": []}
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            regular = [{"path": f["path"], "uploadMode": "regular"} for f in asked]
            return {"files": [f | {"shouldIgnore": False} for f in regular]}
        assert "/commit/" in path, path
        for line in map(json.loads, body.splitlines()):
            if line["key"] == "file":
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return {
            "success": True,
            "commitOid": "0" * 40,
            "commitUrl": f"{self.base}/ada/thing/commit/0",
        }


@pytest.fixture
def hub() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            hub.asked.append((self.path, self.headers.get("authorization", "")))
            content = json.dumps(hub.answer(self.path, body)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.base = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Make a run that has one generator, and whose clips two people labelled."""
    opened = RunDir.open(tmp_path / "run", config.Config())
    weights = opened.attempt_path(0, 0) / "generator" / "transformer" / "config.json"
    weights.parent.mkdir(parents=True)
    weights.write_text("{}")
    path = opened.relative(weights.parent)
    versions = [
        Version("generator", "base", None, -1, 0, "", "ab" * 32),
        Version("generator", "g000.0", "base", 0, 0, path, "cd" * 32),
    ]
    heads: Any = {"generator": "g000.0"}
    store = ClipStore(opened.clips_path)
    clips = {store.put(np.full((3, 16, 16, 3), 60 * n, np.uint8), 8): "base" for n in range(2)}
    events = [
        GalleryEvent(captions=["a `disc`", "gone"], clips=[min(clips), "0" * 64]),
        AlignEvent(num_steps=1, generator_version="g000.0", critic_version="warm"),
        MonitorEvent(
            signals=Signals(win_rate=0.8, num_win_rate_prompts=40),
            triggers=[],
            stop=[],
            winner_gap=None,
        ),
    ]
    opened.ledger.commit_unit(Unit(0, 0, "align"), versions=versions, heads=heads, events=events)
    opened.close()
    book = LabelBook(tmp_path / "run" / BOOK)
    item = LabelItem.of_pair("p", "a disc", clips)
    book.add_items([item])
    for name in ("Ada Lovelace", "Charles Babbage"):
        (task,) = book.open_tasks(name, choose=lambda *_: Choice(item.item_id, False, False), num=1)
        book.answer(name, Answer(task.task_id, "motion", "a", "it glides"), key=f"key-{name}")
    book.close()
    return tmp_path / "run"


def is_private(created: dict[str, Any]) -> bool:
    """Tell whether a repository was made private, as the newer client says it or the older one."""
    return created.get("visibility", "private" if created.get("private") else "public") == "private"


def environment(hub: Hub) -> dict[str, str]:
    return {"HF_ENDPOINT": hub.base, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_TELEMETRY": "1"}


@pytest.mark.slow
def test_a_model_goes_with_its_card_and_recipe_and_is_private(
    dualipo: Dualipo, run: Path, hub: Hub
) -> None:
    shown = dualipo("push", "model", run, "ada/thing", "--dry-run", **environment(hub))
    assert "# `g000.0` of `run`" in shown.stdout and not hub.asked
    ended = dualipo("push", "model", run, "ada/thing", **environment(hub))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == f"{hub.base}/ada/thing/commit/0"
    own = {"README.md", "recipe.toml", "transformer/config.json", "clips/0.mp4"}
    assert set(hub.files) == own, "a clip that is gone is left out"
    assert b"- [clips/0.mp4](clips/0.mp4): `a 'disc'`" in hub.files["README.md"]
    assert hub.files["README.md"].startswith(b"---\npipeline_tag: text-to-video")
    assert [is_private(created) for created in hub.created] == [True]
    assert {bearer for _, bearer in hub.asked} == {f"Bearer {TOKEN}"}
    assert TOKEN not in ended.stdout + ended.stderr


@pytest.mark.slow
def test_labels_go_with_their_clips_and_without_names(
    dualipo: Dualipo, run: Path, hub: Hub
) -> None:
    before = set(run.rglob("*"))
    command = ("push", "dataset", run / BOOK, "ada/thing", "--public")
    ended = dualipo(*command, **environment(hub))
    assert ended.returncode == 0, ended.stderr
    (created,) = hub.created
    assert created["type"] == "dataset" and not is_private(created)
    rows = [json.loads(line) for line in hub.files["pairs/metadata.jsonl"].splitlines()]
    assert [row["annotator"] for row in rows] == ["person 1", "person 2"]
    for row in rows:
        assert hub.files[f"pairs/{row['chosen_file_name']}"][4:8] == b"ftyp"
        assert (row["prompt"], row["rationale"], row["source"]) == ("a disc", "it glides", "human")
    card = hub.files["README.md"].decode()
    assert "| pair | motion | a | 2 |" in card and "People made these labels" in card
    assert not [name for name, content in hub.files.items() if b"Lovelace" in content]
    assert set(run.rglob("*")) == before, "nothing is left behind"
    LabelBook(run.parent / BOOK).close()
    empty = dualipo("push", "dataset", run.parent / BOOK, "ada/thing", **environment(hub))
    assert empty.returncode == 2 and "no label to publish" in empty.stderr


@pytest.mark.slow
def test_without_a_token_in_the_environment_nothing_is_sent(
    dualipo: Dualipo,
    run: Path,
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "home"
    (home / "token").mkdir(parents=True)
    (home / "token").rmdir()
    (home / "token").write_text(TOKEN)  # a login on disk is not asked
    settings = environment(hub) | {"HF_TOKEN": "", "HF_HOME": str(home)}
    ended = dualipo("push", "model", run, "ada/thing", **settings)
    assert ended.returncode == 2 and "HF_TOKEN: not set" in ended.stderr
    assert not hub.asked
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('push_to_hub = true\nhub_model_id = "ada/thing"\noutput_dir = "r"\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_TOKEN", "")
    assert main(["run", str(recipe)]) == 2
    assert "HF_TOKEN: not set" in capsys.readouterr().err
    assert not (tmp_path / "r").exists(), "asked for before the work"


@pytest.mark.slow
def test_fault_61_a_hub_that_is_away_is_named_and_changes_nothing(
    dualipo: Dualipo, run: Path, hub: Hub
) -> None:
    away = environment(hub) | {"HF_ENDPOINT": "http://127.0.0.1:9"}
    ended = dualipo("push", "model", run, "ada/thing", **away)
    assert ended.returncode == 2
    assert ended.stderr.startswith("dualipo: ada/thing: not published (")
    assert "then repeat" in ended.stderr and "Traceback" not in ended.stderr


def test_a_card_calls_simulated_labels_so() -> None:
    from dualipo.preferences.exporters.card import dataset_card, nameless
    from dualipo.preferences.exporters.outlet import Outlet
    from dualipo.preferences.label_set import LabelSet

    pair = Pair("x", "p", "a disc", "a" * 64, "b" * 64, "motion", "a", "simulated", "eve")
    labels = LabelSet((pair,))
    assert nameless(labels) == labels, "a program's name may stay"
    text = dataset_card(labels, Outlet(Path("."), ClipStore(Path(".")), link=False))
    assert "- simulated-labels" in text and "No human gave them" in text
