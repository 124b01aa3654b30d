"""A run with four dimensions of other names, from people's labels to its report and a study."""

from pathlib import Path

import pytest

from dualipo.cli.main import main
from dualipo.config import WORLD, as_toml, sense
from dualipo.events import SeedEvent
from dualipo.records import OVERALL, Point
from dualipo.store import tables
from dualipo.store.clips import ClipStore
from dualipo.store.label_records import read_labels
from dualipo.store.label_tables import BOOK
from dualipo.store.labels import LabelBook
from dualipo.store.run_reader import RunReader
from dualipo.web import server
from dualipo.web.labelling_page import Desk, create_app
from tests.rounds import harness as harnesses
from tests.rounds.test_labelled_by_people import answer_all
from tests.rounds.test_own_captions import OWN

# In words that the tiny critic's tokenizer knows.
NAMES = ("adherence", "structure", "movement", "light")
NOUNS = ("cat", "dog", "owl", "fox")
MEANINGS = ("match with the caption", "intact shapes", "smooth motion", "smooth shapes")
# Labels of the best and the worst clip need no votes that agree, which coins rarely do.
LABELS = ("align.loss_type=kto", "align.kto_labels=extremes", "critic.max_reasks=4",
          "critic.num_score_paths=4", "prompts.num_prompts=3")  # fmt: skip


@pytest.fixture(scope="module")
def questions(memory: Path) -> Path:
    tree = WORLD.model_dump(mode="json", exclude_none=True)
    tree |= {"name": "four"}
    tree["dimensions"] = [
        {"name": name, "definition": meaning, "weight": weight, "needs_caption": weight == 1.0}
        for name, meaning, weight in zip(NAMES, MEANINGS, (1.0, 2.0, 2.0, 1.0), strict=True)
    ]
    path = memory / "four.toml"
    path.write_text("".join(f"{key} = {as_toml(value)}\n" for key, value in tree.items()))
    return path


def test_what_knows_three_dimensions_alone_is_refused(
    models_folder: Path, memory: Path, questions: Path
) -> None:
    settings = harnesses.recipe(models_folder, memory / "x")
    asked = settings.critic.model_validate({"questions": str(questions), "backend": "scores"})
    told = " ".join(sense.conflicts(settings.model_copy(update={"critic": asked})))
    assert "asks about adherence, structure, movement, light, but the embedded world's" in told
    assert 'but critic.backend = "scores" knows consistency, faithfulness, motion alone' in told


@pytest.mark.slow
def test_four_dimensions_of_other_names_go_from_labels_to_a_study(
    models_folder: Path, memory: Path, questions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions = memory / "captions-four.txt"
    captions.write_text(
        "\n".join(f"a {name} {does}" for name in NOUNS for does in ("runs", "sits"))
    )
    own = (*OWN, f"prompts.path={captions}", f"critic.questions={questions}")
    asked = memory / "four-asked"
    assert harnesses.ended(harnesses.recipe(models_folder, asked, *own)) == 1
    assert "are there for people to label" in harnesses.log(asked)
    # People label the clips in the run's own dimensions.
    assert main(["label", str(asked), "--num-points", "2", "--no-serve", "--double", "0"]) == 0
    book = LabelBook(asked / BOOK)
    assert book.dimensions == NAMES
    four = RunReader(asked).questions
    desk = Desk(book, ClipStore(asked / "clips"), title="four", questions=four)
    listening = server.listen("127.0.0.1", 0)
    base = server.address(listening, "127.0.0.1")
    with server.serving(create_app(desk), listening):
        answer_all(base, book.invite("ada"))
    book.close()
    pairs, points = read_labels(asked / BOOK)
    assert {label.dimension for label in (*pairs, *points)} == {*NAMES}
    # The run learns from them, votes, prefers and reports.
    path = memory / "four"
    settings = harnesses.recipe(models_folder, path, *own, *LABELS, f"seed_labels.path={asked}")
    assert harnesses.ended(settings) == 0, harnesses.log(path)
    (seed,) = harnesses.events(path, SeedEvent)
    assert (seed.num_pairs, seed.num_points, seed.excluded) == (len(pairs), len(points), {})
    reader = RunReader(path)
    votes = reader.votes().to_pylist()
    assert {vote["dimension"] for vote in votes if vote["kind"] == "point"} == {*NAMES}
    assert {vote["dimension"] for vote in votes if vote["kind"] == "pair"} == {*NAMES}
    [preferred] = (path / "rounds" / "000").rglob("preferences.parquet")
    assert tables.read_records(preferred, record_type=Point), harnesses.log(path)
    report = (path / "report.html").read_text()
    assert "adherence" in report or "labelled clips" in report
    # People compare the generators in the same dimensions, and all in all.
    versions = ("--generators", "base", "g000.0", "--num-prompts", "1")
    assert main(["study", "ask", str(path), *versions, "--no-serve"]) == 0
    assert "each in 5 dimensions" in capsys.readouterr().out
    with_study = LabelBook(path / "study" / BOOK, read_only=True)
    assert with_study.dimensions == (*NAMES, OVERALL)
    with_study.close()
