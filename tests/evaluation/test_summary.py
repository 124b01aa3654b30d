"""The printed table and the model card hold the run's numbers and say whose labels they are."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dualipo import config
from dualipo.cli.main import main
from dualipo.errors import ConfigError, DataError
from dualipo.evaluation import summary
from dualipo.evaluation.run_history import RoundHistory
from dualipo.evaluation.share import model_card, recipe
from dualipo.event_parts import Gate, Refinement, SourceCount
from dualipo.events import Event, Outcome, RefreshEvent
from dualipo.store.lock import Lock
from tests.evaluation.conftest import GATE

RunMaker = Callable[..., Path]


def refresh(outcome: Outcome, newly_failed: list[str], **gate: Gate | None) -> RefreshEvent:
    source = SourceCount(name="votes", num_pairs=4, num_labelled=0, precision=None)
    refinement = Refinement(
        num_judged=9,
        num_kept=4,
        dropped={},
        mean_pce=0.6,
        holdout_before=0.7,
        holdout_after=0.6,
        newly_failed=newly_failed,
        sources=[source] if gate else None,
        **gate,
    )
    return RefreshEvent(outcome=outcome, why=[], critic_version="c000.0", refinement=refinement)


def test_an_unfinished_run_says_whether_a_process_works_on_it(make_run: RunMaker) -> None:
    path = make_run(num_rounds=2)
    assert summary.table(path).splitlines()[1] == (
        f"It was stopped. Go on with `dualipo resume {path}`."
    )
    held = Lock.acquire(path / "LOCK")
    assert summary.table(path).splitlines()[1] == "A process works on it now."
    held.release()


def test_the_table_has_a_line_for_base_and_every_round(make_run: RunMaker) -> None:
    lines = summary.table(make_run()).splitlines()
    assert lines[0] == "demo: 3 of 3 rounds, simulated labels"
    assert lines.pop(1).startswith("Did it help? Yes: g2 against the base is better by the oracle.")
    assert lines.pop(1).startswith("Recommended version: g2, because ")
    assert lines.pop(1).startswith("Critic warm failed its check of accuracy (0.438, at least 0.7")
    assert lines.pop(1) == "A refreshed critic served: it was refreshed in round 1."
    assert lines.pop(1).startswith("How much of the total's change the likelihood terms alone")
    helped = [lines.pop(2) for _ in range(4)]
    assert helped[0].startswith("measured by") and helped[1].endswith("better")
    assert helped[2].startswith("the critic that trained") and helped[3] == ""
    assert lines[3].split() == ["base", "0.495", "0.485", "0.481", "0.518", "72.9", "%", "—", "—"]
    assert "0.584" in lines[5] and "28 of 48" in lines[5] and "76.0 %" in lines[5]
    assert lines[5].endswith("refreshed")
    assert "round 1: a refresh was due. Outcome: refreshed. Reasons:" in lines
    assert "  audit accuracy fell" in "\n".join(lines)
    assert lines[-3].startswith("total, base to last round: +0.146 (95 % interval ")
    assert lines[-2].endswith("56.2 % shipped, 79.2 % warm start, 83.3 % round 2")
    assert lines[-1].startswith("of 48 such pairs: warm start 79.2 % by forced choice, ")
    assert lines[-1].endswith("hasty 77.0 %")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([], None),
        ([refresh("refreshed", [])], "refreshed"),
        ([refresh("reverted", [])], "reverted (worse on held-out labels)"),  # of an older version
        ([refresh("reverted", [], gate=GATE)], "reverted (worse on 240 labels)"),
        ([refresh("reverted", [], gate=None)], "reverted (too few labels to compare by)"),
        ([refresh("too few", [], gate=None)], "too few pairs to learn from (votes 4)"),
        (
            [refresh("reverted", ["entropy", "position bias"])],
            "reverted (fails its check of entropy; fails its check of position bias)",
        ),
    ],
)
def test_a_reverted_refresh_says_why_it_was(events: list[Event], said: str | None) -> None:
    assert RoundHistory(0, events=events).refresh_outcome() == said


def test_an_unfinished_run_has_a_table_and_plain_values(make_run: RunMaker) -> None:
    values = summary.as_dict(make_run(num_rounds=1))
    assert json.loads(json.dumps(values)) == values
    assert (values["finished"], values["rounds_done"], values["rounds_asked"]) == (False, 1, 3)
    assert [row["round"] for row in values["rounds"]] == ["base", "round 0"]
    assert values["rounds"][1]["held-out"] == 0.75


def test_status_prints_the_same_values_as_json(
    make_run: RunMaker, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_run(num_rounds=1)
    assert main(["status", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == summary.as_dict(path)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run here"):
        summary.table(tmp_path)


def test_the_card_names_origin_scores_and_simulated_labels(make_run: RunMaker) -> None:
    text = model_card.render(make_run(), "g1")
    assert "labels behind this model are simulated" in text and "- simulated-labels" in text
    assert "round 1, attempt 1" in text and "critic-1" in text and "- Seed: 7" in text
    assert "| round 1 | 0.584 (" in text and "[align]\nmax_train_steps = 40" in text


def test_the_card_opens_models_in_the_run_s_precision(make_run: RunMaker) -> None:
    run = make_run(generator={"torch_dtype": "bfloat16"}, align={"rank": 4})
    text = model_card.render(run, "g1")
    assert '"OUT", dtype=torch.bfloat16)' in text
    (shipped,) = re.findall(r"BASE is the base model's \(`(.*?)`, which ships\)", text)
    assert (Path(__file__).parents[2] / shipped / "model_index.json").is_file()


def test_the_card_of_an_unknown_version_is_refused(make_run: RunMaker) -> None:
    with pytest.raises(DataError, match="Known: g0, g1, g2"):
        model_card.render(make_run(), "g9")


JUDGE = {"name": "far", "backend": "server", "server": {"base_url": "http://127.0.0.1:9/v1"}}


def test_the_recipe_shown_resolves_to_the_same_configuration(tmp_path: Path) -> None:
    tree = {
        "seed": 3,
        "output_dir": 'runs/a "quoted" name',
        "prompts": {"source": "file", "path": "prompts.txt"},
        "monitor": {"num_audit_labels": 0, "num_accuracy_pairs": 0, "judges": [JUDGE]},
        "refresh": {"force_rounds": [0, 2], "srpo": {"pce_filter": False}},
        "align": {"learning_rate": 1e-05, "real_nll_ratio": 0},
    }
    settings = config.resolve(tree, subject="test")
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.minimal(config.leaves(settings)), encoding="utf-8")
    assert config.load(path) == settings


def test_what_is_published_names_no_folder_and_no_server_of_the_machine(tmp_path: Path) -> None:
    tree = {
        "generator": {"pretrained_model_name_or_path": "/home/ann/models/wan"},
        "critic": {"pretrained_model_name_or_path": "org/critic"},
        "monitor": {"judges": [JUDGE | {"name": "near"}, JUDGE]},
    }
    settings = config.leaves(config.resolve(tree, subject="test"))
    text = recipe.minimal(recipe.published(settings))
    assert '"wan"' in text and '"org/critic"' in text and text.count('"http://server/v1"') == 2
    assert "/home" not in text and "127.0.0.1" not in text
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    assert config.load(path).generator.pretrained_model_name_or_path == "wan"


def test_a_control_is_called_a_control() -> None:
    settings = config.resolve(
        {"verdicts": "coin_flip", "align": {"preference_weight": 0}}, subject="test"
    )
    notes = recipe.notes(config.leaves(settings))
    assert len(notes) == 2 and notes[0].startswith("Control: verdicts are coin flips")
    assert recipe.notes(config.leaves(config.Config())) == []
