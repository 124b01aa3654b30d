"""Tests folding, screening and drawing of captions, as properties over random spellings."""

import random
import unicodedata
from collections import Counter

import pytest

from dualipo.captions import normalise, prompt_id, screen
from dualipo.errors import DataError
from dualipo.prompts.corpus import CaptionList, choose, fold, read_captions

WORDS = ("a", "Circle", "über", "weißen", "\ufb01ne", "café", "ǅungla", "İstanbul", "ΣΊΣΥΦΟΣ")


def _captions(seed: int, num: int) -> list[str]:
    rng = random.Random(seed)
    return [f"{' '.join(rng.choices(WORDS, k=rng.randint(1, 6)))} {n}" for n in range(num)]


def _respell(caption: str, rng: random.Random) -> str:
    """Spell the same caption otherwise: case, whitespace, compatibility characters."""
    spell = rng.choice((str.upper, str.lower, str.casefold, str.swapcase, str))
    form = rng.choice(("NFC", "NFD", "NFKC", "NFKD"))
    words = unicodedata.normalize(form, spell(caption)).split()
    return rng.choice(("", " ", "\t")) + rng.choice((" ", "  ", "\u00a0", "\u3000")).join(words)


@pytest.mark.slow
def test_normalise_is_idempotent_on_every_character():
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            once = normalise(chr(code))
            assert normalise(once) == once


def test_fault_36_spellings_fold_into_one_prompt():
    rng = random.Random(0)
    captions = _captions(1, 40)
    plain = [caption for caption in captions if "İ" not in caption]  # upper and lower of İ differ
    copies = [_respell(caption, rng) for caption in plain for _ in range(rng.randint(0, 4))]
    folded = fold(plain + rng.sample(copies, len(copies)))
    assert [prompt.prompt_id for prompt in folded.prompts] == [prompt_id(c) for c in plain]
    assert sum(prompt.multiplicity for prompt in folded.prompts) == len(plain) + len(copies)
    assert not folded.refused


def test_fault_36_disjoint_from_evaluation_prompts_in_any_spelling():
    captions = _captions(2, 60)
    evaluation = [_respell(c, random.Random(n)) for n, c in enumerate(captions[:20])]
    drawn = choose(captions, num=40, seed=0, exclude=evaluation).prompts
    held_out = {normalise(caption) for caption in evaluation}
    assert not held_out & {normalise(prompt.caption) for prompt in drawn}


def test_a_draw_depends_on_the_set_and_the_seed_alone():
    captions = _captions(3, 50)
    shuffled = random.Random(0).sample(captions * 2, 100)
    ids = [prompt.prompt_id for prompt in choose(captions, num=20, seed=7).prompts]
    assert ids == [prompt.prompt_id for prompt in choose(shuffled, num=20, seed=7).prompts]
    assert ids != [prompt.prompt_id for prompt in choose(captions, num=20, seed=8).prompts]
    assert len(set(ids)) == 20


@pytest.mark.parametrize(
    ("caption", "reason"),
    [
        ("", "empty"),
        (" \t\u3000 ", "empty"),
        ("x" * 10_001, "10001 characters"),
        ("a red\u200bcircle", "U+200B"),
        ("a \ufeffcircle", "U+FEFF"),
        ("a circle \u202egnp.exe", "U+202E"),
        ("a circle\x00", "U+0000"),
        ("a \x1b[31mcircle", "U+001B"),
        ("a \ud800circle", "U+D800"),
        ("دائرة حمراء", "right-to-left"),
    ],
)
def test_fault_37_screened_with_the_reason(caption, reason):
    assert reason in (screen(caption) or "")
    assert [refusal.caption for refusal in fold([caption]).refused] == [caption]


def test_fault_37_ordinary_captions_pass():
    for caption in ("a red circle", "ein weißer Kreis", "赤い円が動く", "x" * 10_000, "¿un café?"):
        assert screen(caption) is None


def test_a_draw_has_the_shares_of_the_categories():
    captions = _captions(4, 200)
    categories = ["x"] * 120 + ["y"] * 60 + ["z"] * 20
    listed = CaptionList(captions, categories)
    taken: list[str] = []
    for seed, num in enumerate((20, 20, 7)):
        drawn = choose(listed, num=num, seed=seed, exclude=taken).prompts
        numbers = Counter(prompt.category for prompt in drawn)
        for category, share in (("x", 0.6), ("y", 0.3), ("z", 0.1)):
            assert abs(numbers[category] - share * num) < 1
        taken += [prompt.caption for prompt in drawn]
    assert len(set(taken)) == len(taken) == sum((20, 20, 7))
    rest = choose(listed, num=200 - len(taken), seed=9, exclude=taken).prompts
    assert len(rest) == 200 - len(taken)  # what runs out leaves its room to others


def test_a_draw_without_categories_is_the_same_as_ever():
    captions = _captions(5, 40)
    plain = choose(captions, num=12, seed=3).prompts
    assert choose(CaptionList(captions), num=12, seed=3).prompts == plain
    single = choose(CaptionList(captions, ["x"] * 40), num=12, seed=3).prompts
    assert [prompt.prompt_id for prompt in single] == [prompt.prompt_id for prompt in plain]


def test_right_to_left_captions_are_drawn_where_the_generator_knows_them():
    assert choose(["دائرة حمراء"], num=1, seed=0, right_to_left=True).prompts
    with pytest.raises(DataError, match=r"\(1 were refused\)"):
        choose(["دائرة حمراء"], num=1, seed=0)


def test_too_few_captions_and_unreadable_files_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"1 distinct captions .* \(1 were refused\), but 2 are"):
        choose(["a circle", "A  CIRCLE", ""], num=2, seed=0)
    with pytest.raises(DataError, match="no such file"):
        read_captions(tmp_path / "none.txt")
    (tmp_path / "latin.txt").write_bytes("un círculo".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        read_captions(tmp_path / "latin.txt")
    (tmp_path / "good.txt").write_bytes("\ufeffa circle\r\n\r\na square\x0b\n".encode())
    captions = read_captions(tmp_path / "good.txt").captions
    assert [normalise(caption) for caption in captions] == ["a circle", "a square"]
