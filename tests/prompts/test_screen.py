"""Screening: each reason once, nothing lost, the first of two stays, and a report that says so."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dualipo.errors import ConfigError, DataError, ModelError
from dualipo.prompts import caption_files, elements, screen, screened
from dualipo.prompts.compose import Order, compose
from dualipo.prompts.rules import Rules, Wanted
from dualipo.prompts.screen import Settings
from dualipo.prompts.words import words_of

EMBEDDED = Path(__file__).parents[2] / "dualipo" / "world" / "weights" / "generator"


def reason(caption: str, **wanted: object) -> str | None:
    return Rules(Wanted(**wanted)).reason(caption, words_of(caption.casefold()))


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("", "empty"),
        ("a cat\u200b sleeps", "a zero-width or direction character"),
        ("x" * 10_001, "over 10000 characters"),
        ("see https://example.org/clip.mp4", "an address"),
        ("write to me@example.org today", "an address"),
        ("a cat from shutterstock.com", "an address"),
        ("a <b>red</b> cat", "markup"),
        ("**A cat** on a mat", "markup"),
        ("a cat &amp; a dog", "markup"),
        ("look [here](cat)", "markup"),
        ("2024 06 15", "no letters"),
        ("!!!", "no letters"),
        ("a", "single letters"),
        ("x 3", "single letters"),
        ("a 1234", "single letters"),
        ("Ein alter Mann sitzt auf einer Bank und füttert die Tauben", "language: de"),
        ("Un homme est assis sur un banc dans le parc", "language: fr"),
        ("Una mujer camina por la playa con su perro", "language: es"),
        ("Bir köpek ve bir kedi gibi", "language: tr"),
        ("老人坐在长椅上", "script: cjk"),
        ("старик сидит на скамейке", "script: cyrillic"),
        ("رجل عجوز", "right-to-left text, which changes the order of the words around it"),
    ],
)
def test_a_caption_is_dropped_for_its_reason(caption, expected):
    assert reason(caption) == expected


@pytest.mark.parametrize(
    "caption",
    [
        "A man in Rio de Janeiro watches the sea",
        "El Capitan and La Cathedral at dawn",
        "café, naïve, 3 dogs & 2 cats (close-up)",
        "arch",
        "3D render of a cat, 50 mm lens, f/1.8",
        "A bistro named Chez la Mère in the rain",
        "red car, blue van, old den",
    ],
)
def test_ordinary_captions_pass(caption):
    assert reason(caption) is None


def test_what_the_generator_knows_is_allowed():
    assert reason("老人坐在长椅上", scripts=("latin", "cjk"), language=None) is None
    assert reason("رجل عجوز يجلس", scripts=("arabic",)) is None
    assert reason("رجل \u202e عجوز", scripts=("arabic",)) is not None  # direction is never given
    assert reason("ein Mann und eine Frau mit Hund", language="de") is None
    assert reason("a man is in the park with his dog", language="de") == "language: en"
    with pytest.raises(ConfigError, match="language 'xx': not known"):
        Rules(Wanted(language="xx"))


def test_words_of_ones_own_are_whole_words_in_any_spelling():
    words = ("Gun", "blood  bath")
    assert reason("a GUN on a table", words=words) == "a word of the list"
    assert reason("a Blood Bath at night", words=words) == "a word of the list"
    assert reason("a gunship over a bath", words=words) is None


def test_nothing_is_lost_and_the_first_stays(tmp_path):
    scene = "a red fox is walking slowly past in a birch forest in falling snow, tracking shot"
    captions = [
        scene,
        scene.upper() + ".",  # punctuation is no part of its words
        scene.replace("slowly", "quickly"),
        "A  red FOX" + scene[9:],
        "a person is riding a bike along a canal",
        "12345",
        "a blue whale is diving into the deep in the dark deep sea, wide shot",
        "",
    ]
    source = tmp_path / "captions.jsonl"
    source.write_text("".join(json.dumps({"prompt": c, "category": "x"}) + "\n" for c in captions))
    against = tmp_path / "VBench_full_info.json"
    against.write_text(json.dumps([{"prompt_en": "A person is riding a bike", "dimension": []}]))
    settings = Settings(against=(against,))
    report = screen.screen(source, tmp_path / "out", settings)
    assert report.dropped == {
        "a near-copy": 2,
        "an evaluation prompt (contains it)": 1,
        "a repeat": 1,
        "no letters": 1,
        "empty": 1,
    }
    kept = [row for batch in caption_files.batches(tmp_path / "out") for row in batch.to_pylist()]
    dropped = pq.read_table(tmp_path / "out" / screened.DROPPED).to_pylist()
    assert [row["caption"] for row in kept] == [captions[0], captions[6]]
    assert sorted(row["caption"] for row in [*kept, *dropped]) == sorted(captions)
    assert {row["category"] for row in [*kept, *dropped]} == {"x"}
    originals = {row["caption"]: row["of"] for row in dropped}
    assert originals[captions[2]] == originals[captions[3]] == kept[0]["prompt_id"]
    assert originals[captions[4]] == "A person is riding a bike"
    text = report.text()
    assert "compared with 1 evaluation prompts" in text and f"like {scene}" in text
    again = screen.screen(source, tmp_path / "out", settings)
    assert again == report
    with pytest.raises(DataError, match=r"made by another command .*near_copies"):
        screen.screen(source, tmp_path / "out", Settings(against=(against,), near_copies=None))


def test_tokens_are_the_generators_and_no_caption_is_cut(tmp_path):
    source = tmp_path / "captions.txt"
    source.write_text("a red circle moves slowly to the left\na red circle\n")
    settings = Settings(tokenizer=EMBEDDED, max_tokens=6)
    report = screen.screen(source, tmp_path / "out", settings)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "tokenizer")
    lengths = [len(tokenizer(line)["input_ids"]) for line in source.read_text().splitlines()]
    assert lengths[1] <= 6 < lengths[0]
    assert report.dropped == {"over 6 tokens": 1}
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        screen.screen(source, tmp_path / "new", Settings(tokenizer=tmp_path, max_tokens=6))


def test_composed_captions_pass(tmp_path):
    compose(tmp_path / "composed", Order(num=3000, seed=5), elements.load())
    report = screen.screen(tmp_path / "composed", tmp_path / "out", Settings())
    assert report.num_read == 3000 and report.num_kept >= 2998
    assert not any(why.startswith(("language", "an address", "markup")) for why in report.dropped)
