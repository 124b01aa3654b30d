"""`dualipo vbench`: the environment's facts, and totals of files that VBench wrote."""

import json
from pathlib import Path

import pytest

from dualipo.cli.main import main
from dualipo.evaluation.vbench import prompt_file
from dualipo.evaluation.vbench.totals import DIMENSIONS
from tests import vbench_environment as stand_in


def _write_results(folder: Path, dimension: str, names: list[str], mean: float) -> None:
    folder.mkdir(exist_ok=True)
    clips = [{"video_path": f"./videos/{name}", "video_results": mean} for name in names]
    path = folder / f"results_{dimension}_eval_results.json"
    path.write_text(json.dumps({dimension: [mean, clips]}), encoding="utf-8")


def test_prepare_prints_versions_plan_and_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = stand_in.make(tmp_path, stand_in.full_rows(), unavailable=["scene"])
    assert main(["vbench", "prepare", "--python", str(python)]) == 0
    printed = capsys.readouterr().out
    assert "vbench 0.1.5; device cpu" in printed
    assert "946 prompts with 944 names; 6,230 clips planned, 6,220 to sample" in printed
    assert "cannot: scene (ModuleNotFoundError" in printed
    assert f'suite_python = "{python}"' in printed


def test_score_gives_totals_or_the_list_of_gaps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = tmp_path / "VBench_full_info.json"
    prompts.write_text(json.dumps(stand_in.few_rows()), encoding="utf-8")
    plan = prompt_file.plan(stand_in.few_rows(), DIMENSIONS)
    folder = tmp_path / "results"
    for dimension in DIMENSIONS:
        names = plan.scored(dimension, 5)
        kept = names[:-1] if dimension == "color" else names
        if dimension != "scene":
            _write_results(folder, dimension, kept, 0.5)
    given = ["vbench", "score", str(folder), "--prompts", str(prompts)]
    assert main(given) == 2
    shown = capsys.readouterr()
    assert "1 of 16 dimensions have no score (scene)" in shown.err
    assert "9 of 10" in shown.out
    assert f"color: no result, counted as zero: {plan.scored('color', 5)[-1]}" in shown.out
    _write_results(folder, "scene", plan.scored("scene", 5), 0.8222)
    assert main(given) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["scene", "82.22", "100.00", "10", "of", "10"] in lines
    assert ["color", "45.00", "45.00", "9", "of", "10"] in lines
    assert main([*given, "--dimensions", "color", "human_action", "color"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["total", "47.50"]
    assert lines[1] == ["quality", "-"]
    assert main([*given, "--version", "base"]) == 2
    assert "in which run was it scored?" in capsys.readouterr().err
