"""The preflight refuses what cannot work before the first unit, all of it, without weights."""

import importlib.util
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dualipo import config
from dualipo.cli.main import main
from dualipo.config import as_toml, leaves
from dualipo.config.questions import shipped
from dualipo.errors import DualipoError, PreflightError
from dualipo.generator import weights
from dualipo.rounds import measured, model_checks, preflight
from tests.rounds.wrong_recipes import (
    CAPTIONS,
    CLIPS,
    CRITIC,
    LABELLED,
    MACHINE,
    OWN,
    ROWS,
    SERVED,
    TABLES,
    write_clips,
    write_labels,
)
from tests.servers import loopback


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with captions, labels and real clips that work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    Path("recipe.toml").write_text("")
    Path("captions.txt").write_text("\n".join(CAPTIONS))
    write_clips(4)
    write_labels(pairs=True, points=True)
    return tmp_path


def told(overrides: Sequence[str], checks: Sequence[preflight.Check] = preflight.CHECKS) -> str:
    """Return all that keeps a recipe from running, as far as these checks look."""
    settings, known = config.examine(Path("recipe.toml"), overrides)
    before = sorted(Path().rglob("*"))
    state = preflight.ahead.of(settings)
    problems: Sequence[DualipoError] = [*known, *preflight.found_by(checks, settings, state)]
    assert sorted(Path().rglob("*")) == before, "nothing is written"
    return "\n".join(map(str, problems))


@pytest.mark.parametrize(("group", "name"), ROWS, ids=lambda word: word.replace(" ", "-"))
def test_what_cannot_work_is_refused_before_the_first_unit(
    group: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = {"trackio", "bitsandbytes"}
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in missing else find(name, *rest),
    )
    monkeypatch.setattr(weights, "read_transformer", _only_on_meta(weights.read_transformer))
    table, checks = TABLES[group]
    wrong = table[name]
    wrong.prepare()
    assert wrong.words in (said := told(wrong.overrides, checks)), said
    assert _unknown_keys(said) == set(), "every remedy names settings that there are"


def _unknown_keys(text: str) -> set[str]:
    """Return what a text gives a value or calls by a dotted name, and is no setting."""
    known = leaves(config.Config())
    given = set(re.findall(r"(?<![\w./`])((?:[a-z_]+\.)*[a-z_0-9]+) = ", text))
    dotted = set(re.findall(r"(?<![\w./`])((?:align|critic|prompts|refresh|generator|monitor|"
                            r"seed_labels)(?:\.[a-z_0-9]*[a-z])+)", text))  # fmt: skip
    return {key for key in given | dotted if key not in known}


def _only_on_meta(read: Callable[..., Any]) -> Callable[..., Any]:
    def reading(*args: Any, device: str, **options: Any) -> Any:
        assert device == "meta", "no weights are loaded"
        return read(*args, device=device, **options)

    return reading


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 40


def test_all_problems_of_a_recipe_are_told_together_and_soon() -> None:
    Path("captions.txt").write_text("a cat")
    write_labels(pairs=True, verdicts="a")
    Path("clips/1.mp4").write_bytes(b"")
    wrong = (
        *LABELLED, "align.dataset_name=clips", "align.num_real_clips=4", "align.beta_dpo=-1",
        "align.lr=1", "push_to_hub=true", "hub_model_id=a/b", "align.num_processes=3",
        "generator.height=36", CRITIC, "seed_labels.rewriter.model=m",
        "seed_labels.rewriter.base_url=http://127.0.0.1:9/v1", "output_dir=clips",
    )  # fmt: skip
    begun = time.monotonic()
    settings, known = config.examine(Path("recipe.toml"), wrong)
    with pytest.raises(PreflightError) as refused:
        preflight.require(settings, known=known)
    assert time.monotonic() - begun < 10
    text = str(refused.value)
    assert refused.value.exit_code == 2 and "and nothing was begun" in text
    for word in (
        "align.beta_dpo", "align.lr", "to a multiple of 3", "clips: in use", "HF_TOKEN",
        "distinct captions", "one-sided", "real clips: 1 could not be used", "36x32",
        "model: no such folder", "cannot be reached",
    ):  # fmt: skip
        assert word in text, word


@pytest.mark.parametrize(
    "overrides", [(), OWN, LABELLED, CLIPS], ids=["world", "own", "labels", "clips"]
)
def test_what_works_is_let_through(overrides: Sequence[str]) -> None:
    assert told(overrides) == ""


def test_a_server_that_knows_its_model_is_let_through_and_another_is_not() -> None:
    with loopback.serving(lambda body, count: "") as server:
        served = (*SERVED, f"critic.server.base_url={server.url}")
        asked = (*served, "critic.pretrained_model_name_or_path=qwen")
        server.models = ["qwen"]
        assert told(asked, [model_checks.servers]) == ""
        server.models = ["llava"]
        assert "it serves 'llava', not 'qwen'. Set critic.pretrained_model" in told(
            asked, [model_checks.servers]
        )
        server.key = "secret"
        assert "it refuses this key" in told(
            asked, [model_checks.servers]
        ) and "secret" not in told(asked, [model_checks.servers])


def test_fault_61_a_judge_that_is_gone_holds_up_a_new_run_alone() -> None:
    gone = {"name": "gone", "backend": "vila", "pretrained_model_name_or_path": "nowhere"}
    settings = config.load(Path("recipe.toml"), [f"monitor.judges=[{json.dumps(gone)}]"])
    new = preflight.ahead.of(settings)
    begun = replace(new, is_new=False)
    [refused] = preflight.found_by([model_checks.judges], settings, new)
    assert "pretrained_model_name_or_path of gone in monitor.judges" in str(refused)
    assert not [*preflight.found_by([model_checks.judges], settings, begun)]


def test_more_processes_than_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    settings = config.load(Path("recipe.toml"), ["align.num_processes=2"])
    state = preflight.ahead.of(settings)
    with pytest.raises(DualipoError, match="this machine has 1 devices"):
        list(preflight.devices(settings, state))


def test_a_disk_without_room_may_be_insisted_on() -> None:
    settings = config.load(Path("recipe.toml"), MACHINE["no room"].overrides)
    assert preflight.problems(settings, force_disk=True) == []


def test_each_signal_is_measured_or_it_is_said_why_not() -> None:
    world = measured.lines(config.load(Path("recipe.toml")))
    assert len(world) == 12 and sum("measured by" in line for line in world) == 7
    own = config.load(Path("recipe.toml"), LABELLED)
    text = "\n".join(measured.lines(own))
    assert text.count("not measured, because no program can") == 3
    assert "of 120 labels, those of held-out captions" in text
    shown = "\n".join(measured.inputs(own))
    assert "captions: 40 can be used; 8 are still to be drawn" in shown
    assert "labels: 60 pairs and 60 grades (120 human; by ada 120)" in shown
    assert 'questions: "world", about consistency, faithfulness, motion' in shown
    assert 'critic.questions = "video"' not in shown  # the shipped critic knows the world's words


def test_a_critic_of_real_videos_that_is_asked_the_worlds_questions_is_told_of_others() -> None:
    served = (
        "critic.backend=server",
        "critic.pretrained_model_name_or_path=a-model",
        "refresh.update_critic=false",
    )
    told = [
        measured.inputs(config.load(Path("recipe.toml"), [*LABELLED, *served, *rest]))[-1]
        for rest in ([], ["critic.questions=video"])
    ]
    assert [line.endswith('set critic.questions = "video"') for line in told] == [True, False]


def test_labels_of_dimensions_that_nobody_asks_about_are_counted_as_left_out() -> None:
    video = shipped("video").model_dump(mode="json", exclude_none=True)
    physics = video | {"dimensions": [{"name": "physics", "definition": "Things fall down."}]}
    Path("own.toml").write_text("".join(f"{k} = {as_toml(v)}\n" for k, v in physics.items()))
    own = config.load(Path("recipe.toml"), [*LABELLED, "critic.questions=own.toml"])
    shown = measured.inputs(own)
    assert "labels: none can be used" in shown
    assert "labels that are left out: consistency (40), faithfulness (40), motion (40)" in shown


def test_all_that_stands_in_the_way_of_a_tuning_is_told_before_its_preferences_are_read(
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed = ["--generator", "models/none", "--output", "clips", "align.dataset_name=no"]
    assert main(["tune", "none.csv", *typed]) == 2
    said = capsys.readouterr().err
    for words in (
        "none.csv: there is nothing", "models/none: no such folder", "clips: in use, and not",
        "no: no table of clips",
    ):  # fmt: skip
        assert words in said
    assert "4 problems" in said and not Path("encodings").exists()
