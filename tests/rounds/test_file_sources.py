"""Fixed prompts of files: the same ones whatever the seed, and none of them in a round."""

from pathlib import Path

import pytest

from dualipo import config
from dualipo.config import Config
from dualipo.errors import DualipoError
from dualipo.rounds import ahead, file_sources, preflight
from tests.rounds.wrong_recipes import CAPTIONS, OWN

FIXED = ("prompts.test_path=test.txt", "prompts.monitor_path=monitor.txt")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("recipe.toml").write_text("")
    Path("captions.txt").write_text("\n".join(CAPTIONS))
    Path("test.txt").write_text("a boat\na  BOAT\na bridge\na tower")
    Path("monitor.txt").write_text("a boat\na field\na lake")
    return tmp_path


def _recipe(*overrides: str) -> Config:
    return config.load(Path("recipe.toml"), [*OWN, *FIXED, *overrides])


def test_the_first_captions_of_the_file_are_taken_whatever_the_seed() -> None:
    for seed in (0, 1):
        folded = file_sources.fixed_prompts(_recipe(f"seed={seed}"), "test")
        assert [prompt.caption for prompt in folded.prompts] == ["a boat", "a bridge"]
        assert folded.repeats == ("a  BOAT",)


def test_a_caption_of_another_fixed_set_is_left_out() -> None:
    folded = file_sources.fixed_prompts(_recipe(), "monitor", exclude=["a boat"])
    assert [prompt.caption for prompt in folded.prompts] == ["a field", "a lake"]


def test_the_rounds_need_no_captions_for_sets_with_files_and_do_not_take_theirs() -> None:
    settings = _recipe("seed_labels.num_prompts=4", "prompts.num_prompts=36")
    assert _problems(settings) == []  # forty captions, none of which the fixed sets take
    Path("test.txt").write_text("\n".join(CAPTIONS[:2]))
    (short,) = _problems(settings)
    assert "38 distinct captions can be used" in str(short)


def _problems(settings: Config) -> list[DualipoError]:
    return preflight.found_by((preflight.captions,), settings, ahead.of(settings))
