"""VBench's prompts, its child processes and its result files, with a stand-in environment."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from dualipo import interrupt
from dualipo.errors import ConfigError, DataError
from dualipo.evaluation.vbench import environment, prompt_file, result_files
from dualipo.evaluation.vbench.environment import ChildFailed, Environment
from dualipo.evaluation.vbench.totals import DIMENSIONS
from tests import vbench_environment as stand_in

CLIP = b"\0\0\0\x18ftypisom"


@pytest.fixture(scope="module")
def vbench(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("vbench")
    python = stand_in.make(
        folder / "env",
        stand_in.few_rows(),
        fail=["motion_smoothness"],
        hang=["dynamic_degree"],
        unavailable=["scene"],
    )
    return environment.check(python, folder)


def _write(path: Path, rows: object) -> Path:
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def _score(vbench: Environment, tmp_path: Path, dimension: str, seconds: float = 60) -> Path:
    """Score the clips in `clips`, as VBench finds them."""
    return environment.score(
        vbench,
        dimension,
        videos=tmp_path / "clips",
        prompts=vbench.prompts_path,
        output=tmp_path / "output",
        seconds=seconds,
    )


def _clips(tmp_path: Path, vbench: Environment, dimension: str) -> list[str]:
    """Write a clip for each that a dimension scores; return their names."""
    plan = prompt_file.plan(prompt_file.read(vbench.prompts_path).rows, (dimension,))
    (tmp_path / "clips").mkdir()
    names = plan.scored(dimension, prompt_file.CLIPS_PER_PROMPT)
    for number, name in enumerate(names):
        (tmp_path / "clips" / name).write_bytes(CLIP + bytes([number]))
    return names


def test_fault_82_the_whole_suite_has_946_prompts_944_names_and_6230_clips(tmp_path: Path) -> None:
    prompts = prompt_file.read(_write(tmp_path / "p.json", stand_in.full_rows()))
    plan = prompt_file.plan(prompts.rows, DIMENSIONS)
    assert (len(prompts.rows), len(prompts.prompts)) == (946, 944)
    assert plan.num_planned == 6230
    # Two names are shared, so ten clips are sampled once and scored twice.
    assert sum(plan.num_clips.values()) == 6220
    by_dimension = {name: plan.scored(name, 5) for name in DIMENSIONS}
    shared = [prompt_file.clip_name(prompt, k) for prompt in stand_in.SHARED for k in range(5)]
    for name in ("appearance_style", "overall_consistency", "imaging_quality"):
        assert set(shared) <= set(by_dimension[name])
    assert len(by_dimension["temporal_flickering"]) == 75 * 5


def test_a_subset_takes_prompts_of_every_group_evenly() -> None:
    rows = stand_in.full_rows()
    chosen = ("subject_consistency", "overall_consistency", "background_consistency")
    plan = prompt_file.subset(rows, chosen, num_prompts=100)
    assert 97 <= len(plan.rows) <= 103
    assert all(30 <= len(plan.scored(name, 5)) <= 36 for name in chosen)
    assert plan == prompt_file.subset(rows, chosen, num_prompts=100)
    assert prompt_file.subset(rows, chosen, num_prompts=10**6).num_planned == 72 + 93 + 86


@pytest.mark.parametrize("prompt", ["../out", "a/b", "nul\0", "", "x" * 250, "a\\b"])
def test_fault_82_a_prompt_that_is_no_file_name_is_refused_and_never_cut(
    prompt: str, tmp_path: Path
) -> None:
    rows = [{"prompt_en": "a dog", "dimension": ["color"]}]
    with pytest.raises(DataError, match=r"prompt of row 2.*cannot be a file name"):
        prompt_file.read(_write(tmp_path / "p.json", [*rows, {**rows[0], "prompt_en": prompt}]))


ODD = {"prompt_en": "x", "dimension": [["color"]]}


def test_rows_that_are_not_vbenchs_are_refused(tmp_path: Path) -> None:
    for row in ({"prompt_en": "x"}, {"prompt_en": "x", "dimension": ["beauty"]}, 3, ODD):
        with pytest.raises(DataError, match="row 1 is no prompt"):
            prompt_file.read(_write(tmp_path / "p.json", [row]))


def test_an_environment_says_what_it_can_do(vbench: Environment) -> None:
    assert vbench.versions["vbench"] == "0.1.5"
    assert "torch" not in vbench.versions
    assert list(vbench.unavailable) == ["scene"]
    assert "a_package_that_nobody_installed" in vbench.unavailable["scene"]


def test_a_python_that_is_none_or_lacks_vbench_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no program that can be run"):
        environment.check(tmp_path / "python", tmp_path)
    with pytest.raises(ChildFailed, match="No module named 'vbench'"):
        environment.check(Path(sys.executable), tmp_path)


def test_fault_52_prompts_that_a_shell_would_obey_are_file_names(
    vbench: Environment, tmp_path: Path
) -> None:
    names = _clips(tmp_path, vbench, "temporal_flickering")
    assert any("touch owned" in name for name in names)
    path = _score(vbench, tmp_path, "temporal_flickering")
    [score] = result_files.read(path, {"temporal_flickering": names})
    assert (score.num_scored, score.num_planned, score.failed) == (10, 10, ())
    numbers = [sum(CLIP + bytes([n])) % 256 / 255 for n in range(10)]
    assert score.raw == pytest.approx(sum(numbers) / 10)
    assert not list(tmp_path.rglob("owned"))


def test_fault_60_a_failing_clip_is_in_the_denominator_and_named(
    vbench: Environment, tmp_path: Path
) -> None:
    dimension = "temporal_flickering"
    names = _clips(tmp_path, vbench, dimension)
    (tmp_path / "clips" / names[3]).write_bytes(b"not a clip")
    (tmp_path / "clips" / names[7]).unlink()
    path = _score(vbench, tmp_path, dimension)
    mean, _ = json.loads(path.read_text())[dimension]
    score = result_files.read_folder(tmp_path / "output", {dimension: names})[dimension]
    assert score.failed == (names[3], names[7])
    assert score.raw == pytest.approx(mean * 8 / 10)
    # Without a plan, VBench's own list of prompts says what was looked for.
    assert result_files.read_folder(tmp_path / "output")[dimension] == score


def test_color_is_the_mean_over_clips_in_which_vbench_sees_the_object(tmp_path: Path) -> None:
    """VBench gives no result for the others; a clip that was not there counts as zero."""
    stand_in.write_results(tmp_path / "results", {"color": 0.5})
    beside = tmp_path / "results" / "all_full_info.json"
    [score] = result_files.read_folder(tmp_path / "results").values()
    assert (score.raw, score.num_scored, score.num_planned, score.failed) == (0.5, 9, 10, ())
    assert len(score.left_out) == 1
    rows = json.loads(beside.read_text())
    rows[-1]["video_list"].pop()  # VBench did not find it
    _write(beside, rows)
    [score] = result_files.read_folder(tmp_path / "results").values()
    assert (score.raw, score.left_out) == (pytest.approx(0.5 * 9 / 10), ())
    assert len(score.failed) == 1


def test_where_one_clip_of_each_prompt_was_made_one_is_planned(tmp_path: Path) -> None:
    """A folder of a cheap run is no folder in which four clips in five failed."""
    stand_in.write_results(tmp_path / "results", {"scene": 0.5})
    beside, path = (
        tmp_path / "results" / f"all_{end}.json" for end in ("full_info", "eval_results")
    )
    rows = json.loads(beside.read_text())
    for row in rows:
        del row["video_list"][1:]
    _write(beside, rows)
    mean, clips = json.loads(path.read_text())["scene"]
    _write(path, {"scene": [mean, clips[::5]]})
    [score] = result_files.read_folder(tmp_path / "results").values()
    assert (score.raw, score.num_scored, score.num_planned, score.failed) == (0.5, 2, 2, ())


def test_fault_60_the_clips_of_imaging_quality_are_on_the_scale_of_its_mean(tmp_path: Path) -> None:
    stand_in.write_results(tmp_path / "results", {"imaging_quality": 0.6})
    [score] = result_files.read_folder(tmp_path / "results").values()
    assert score.raw == 0.6 and set(score.by_clip.values()) == {0.6}


def test_a_child_that_fails_hangs_or_cannot_begin_says_so(
    vbench: Environment, tmp_path: Path
) -> None:
    (tmp_path / "clips").mkdir()
    with pytest.raises(ChildFailed, match="the weights of motion_smoothness"):
        _score(vbench, tmp_path, "motion_smoothness")
    with pytest.raises(ChildFailed, match="longer than 1 s"):
        _score(vbench, tmp_path, "dynamic_degree", seconds=1)
    with pytest.raises(ChildFailed, match=r"scene: .* cannot import it"):
        _score(vbench, tmp_path, "scene")
    assert "evaluating dynamic_degree" in (tmp_path / "output/dynamic_degree.log").read_text()


def test_a_signal_ends_the_child_too(
    vbench: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clips").mkdir()
    monkeypatch.setattr(interrupt, "_received", signal.SIGTERM)
    with pytest.raises(interrupt.Interrupted):
        _score(vbench, tmp_path, "dynamic_degree")
    commands = [_command(path) for path in Path("/proc").glob("[0-9]*/cmdline")]
    assert not [command for command in commands if os.fsencode(tmp_path) in command]


def _command(path: Path) -> bytes:
    """Return a process's command; another one may end at any time."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


BROKEN: dict[str, object] = {
    "no list": {"color": 0.5},
    "another dimension": {"beauty": [0.5, []]},
    "no path": {"color": [0.5, [{"video_results": 1}]]},
    "no number": {"color": ["0.5", []]},
    "not a number": {"color": [float("nan"), [{"video_path": "a-0.mp4"}]]},
    "beyond all numbers": {"color": [10**400, [{"video_path": "a-0.mp4"}]]},
    "not a number, and no clips": {"color": [float("nan"), []]},
    "in percent": {"color": [62.5, [{"video_path": "a-0.mp4"}]]},
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_result_file_that_is_not_vbenchs_is_refused(case: str, tmp_path: Path) -> None:
    _write(tmp_path / "r_eval_results.json", BROKEN[case])
    with pytest.raises(DataError, match=r"r_eval_results\.json"):
        result_files.read_folder(tmp_path)


@pytest.mark.parametrize(
    "row", [3, {}, {"prompt_en": "x"}, {"prompt_en": 1, "dimension": ["color"]}]
)
def test_odd_prompts_beside_a_result_are_refused(row: object, tmp_path: Path) -> None:
    clip = {"video_path": "a-0.mp4", "video_results": 10**400}
    _write(tmp_path / "r_eval_results.json", {"color": [0.5, [clip]]})
    assert result_files.read_folder(tmp_path)["color"].by_clip == {}
    _write(tmp_path / "r_full_info.json", [{"prompt_en": "a", "dimension": ["color"]}, row])
    with pytest.raises(DataError, match=r"r_full_info\.json: row 2 is no prompt"):
        result_files.read_folder(tmp_path)


def test_fault_60_results_of_other_prompts_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "r_eval_results.json", {"color": [0.5, [{"video_path": "./my dog-0.mp4"}]]})
    with pytest.raises(DataError, match=r"color scores 1 clips .* first 'my dog-0\.mp4'"):
        result_files.read_folder(tmp_path, {"color": ["a dog-0.mp4"]})


@pytest.mark.parametrize("path", ["videos/a dog-0.gif", "C:\\videos\\a dog-0.mp4"])
def test_a_clip_is_known_by_its_prompt_and_number(path: str, tmp_path: Path) -> None:
    """VBench reads other formats than MP4, and writes the paths of its own system."""
    _write(tmp_path / "r_eval_results.json", {"color": [0.5, [{"video_path": path}]]})
    [score] = result_files.read_folder(tmp_path, {"color": ["a dog-0.mp4"]}).values()
    assert (score.num_scored, score.failed) == (1, ())


def test_two_scores_of_one_dimension_are_refused(tmp_path: Path) -> None:
    results: Mapping[str, object] = {"color": [0.5, [{"video_path": "a-0.mp4"}]]}
    _write(tmp_path / "r_eval_results.json", results)
    _write(tmp_path / "s_eval_results.json", results)
    assert result_files.read_folder(tmp_path)["color"].num_planned is None
    _write(tmp_path / "s_eval_results.json", {"color": [0.6, []]})
    with pytest.raises(DataError, match="another score"):
        result_files.read_folder(tmp_path)
    with pytest.raises(DataError, match="no file here"):
        result_files.read_folder(tmp_path / "nothing")
