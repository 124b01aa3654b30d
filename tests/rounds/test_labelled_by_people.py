"""A seed made on the labelling page warms the critic, without a conversion by hand."""

from collections import Counter
from pathlib import Path

import httpx
import pytest

from dualipo.errors import DataError
from dualipo.events import SeedEvent
from dualipo.preferences import label_queue, label_set
from dualipo.preferences.exporters.export import read_source
from dualipo.records import DIMENSIONS, Candidate, Pair, Point, Prompt
from dualipo.store import label_records, tables
from dualipo.store.clips import ClipStore
from dualipo.store.label_tables import BOOK
from dualipo.store.labels import LabelBook
from dualipo.web import server
from dualipo.web.labelling_page import Desk, create_app
from tests.rounds import harness as harnesses

SEED = ("rounds=0", "seed=3", "monitor.num_accuracy_pairs=0")
REASON = "A keeps its shape, B melts"
NUM_PAIRS, NUM_POINTS = 6, 2  # one pair of clips a seed prompt, and two clips alone
NUM_LABELS = (NUM_PAIRS + NUM_POINTS) * len(DIMENSIONS)


@pytest.fixture(scope="module")
def labelled(models_folder: Path, memory: Path) -> Path:
    """Make a run of a warm start only, and let ada judge all its seed clips on a real page."""
    path = memory / "labelled"
    assert harnesses.ended(harnesses.recipe(models_folder, path, *SEED)) == 0, harnesses.log(path)
    with pytest.raises(DataError, match=r"nobody has labelled this run\. Begin with"):
        label_set.read_source(path)
    seed = path / "rounds" / "base" / "attempt-0" / "seed.parquet"
    candidates = tables.read_records(seed, record_type=Candidate)
    book = LabelBook(path / BOOK)
    book.add_items(label_queue.pair_items(candidates, num=99, seed=0))
    book.add_items(label_queue.point_items(candidates, num=NUM_POINTS, seed=0))
    desk = Desk(book, ClipStore(path / "clips"), title="seed")
    listening = server.listen("127.0.0.1", 0)
    base = server.address(listening, "127.0.0.1")
    with server.serving(create_app(desk), listening):
        answer_all(base, book.invite("ada"))
    book.close()
    return path


def answer_all(base: str, token: str) -> None:
    headers = {"authorization": f"Bearer {token}", "origin": base}
    with httpx.Client(base_url=base, headers=headers, trust_env=False) as client:
        while (step := client.get("/api/state").json()["step"]) is not None:
            outcome = "good" if step["kind"] == "point" else "ab"[step["number"] % 2]
            body = {"key": f"{step['task']}-{step['dimension']}", "task": step["task"]}
            answer = {"dimension": step["dimension"], "outcome": outcome, "reason": REASON}
            assert client.post("/api/answers", json=body | answer).status_code == 200


def test_a_run_that_people_labelled_is_a_seed(
    labelled: Path, models_folder: Path, memory: Path
) -> None:
    pairs, points = label_records.read_labels(labelled / BOOK)
    assert len(pairs) == NUM_PAIRS * len(DIMENSIONS)
    assert len(points) == NUM_POINTS * len(DIMENSIONS)
    path = memory / "warmed"
    settings = harnesses.recipe(models_folder, path, *SEED, f"seed_labels.path={labelled}")
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    base = path / "rounds" / "base"
    assert tables.read_records(base / "seed-pairs.parquet", record_type=Pair) == pairs
    assert tables.read_records(base / "seed-points.parquet", record_type=Point) == points
    (event,) = harnesses.events(path, SeedEvent)
    assert event.sources == {"human": NUM_LABELS} and event.excluded == {}
    with harnesses.ledger_of(path) as ledger:
        warm, shipped = (ledger.version("critic", name).sha256 for name in ("warm", "shipped"))
        assert warm != shipped
        assert not [c for c in ledger.candidates(-1) if c.candidate_id.startswith("seed")]
    tested = tables.read_records(base / "prompts-test.parquet", record_type=Prompt)
    assert not {prompt.caption for prompt in tested} & {pair.prompt for pair in pairs}
    harnesses.state(path)  # every clip that it took has its row


def test_a_label_book_stands_for_a_label_set_wherever_one_is_read(labelled: Path) -> None:
    book = labelled / BOOK
    for labels in (label_set.read_source(labelled), read_source(book)[0]):
        assert Counter(label.source for label in labels.every) == {"human": NUM_LABELS}
        assert all(label.rationale == REASON for label in labels.every)
    # A run's export goes on meaning its seed; the book is named for what people said.
    assert {label.source for label in read_source(labelled)[0].every} == {"simulated"}
    clip = label_set.clip_store(book).path(label_set.read_source(book).clips[0])
    clip.rename(clip.with_suffix(".away"))
    with pytest.raises(DataError, match="this clip is missing"):
        label_set.read_source(book)
    clip.with_suffix(".away").rename(clip)
