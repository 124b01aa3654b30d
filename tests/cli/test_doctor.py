"""The doctor finds what would stop a run, and says what to do."""

import tomllib
from collections.abc import Callable
from pathlib import Path

from dualipo.cli import doctor, weights
from dualipo.store import atomic
from tests.cli.conftest import ROOT, Ended


def test_a_broken_torchvision_fails_and_is_explained(
    dualipo: Callable[..., Ended], tmp_path: Path
) -> None:
    fake = tmp_path / "site/torchvision"
    fake.mkdir(parents=True)
    reason = "operator torchvision::nms does not exist"
    (fake / "__init__.py").write_text(f"raise RuntimeError({reason!r})\n")
    ended = dualipo("doctor", PYTHONPATH=str(fake.parent))
    assert ended.returncode == 1
    assert f"FAIL  torchvision is present but broken (RuntimeError: {reason})" in ended.stdout
    assert "pip uninstall torchvision" in ended.stdout
    assert "OK    torch 2" in ended.stdout and not ended.stderr


def test_the_doctor_passes_what_the_tests_run_on(tmp_path: Path) -> None:
    findings = list(doctor.examine(tmp_path / "runs" / "new"))
    failed = [finding for finding in findings if finding.level == "FAIL"]
    assert [finding.fact for finding in failed if "weights" not in finding.fact] == []
    assert not (tmp_path / "runs").exists()


def test_the_doctor_names_what_ended_commands_left(tmp_path: Path) -> None:
    (tmp_path / ".tmp-000000-1-0123456789ab-pipeline").mkdir()
    (tmp_path / ".tmp-000000-1-0123456789ab-pipeline" / "weights").write_bytes(bytes(10**9 // 10))
    warned = [finding for finding in doctor.examine(tmp_path) if "temporaries" in finding.fact]
    assert [finding.level for finding in warned] == ["WARN"]
    assert "1 temporaries, 0.1 GB: .tmp-" in warned[0].fact and "Delete" in warned[0].remedy


def test_the_doctor_knows_the_packages_own_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {f"{name}>={lowest}" for name, lowest in doctor.LOWEST.items()} <= set(
        project["dependencies"]
    )
    assert project["requires-python"] == ">=" + ".".join(map(str, doctor.LOWEST_PYTHON))


def test_weights_are_known_by_their_hashes(tmp_path: Path) -> None:
    atomic.write_text(tmp_path / "critic/config.json", "{}")
    atomic.write_text(tmp_path / "generator/vae/model.safetensors", "weights")
    assert weights.damage(tmp_path) == ["manifest.json is missing or torn"]
    weights.write_manifest(tmp_path)
    assert weights.damage(tmp_path) == []
    atomic.write_text(tmp_path / "generator/vae/model.safetensors", "weighty")
    (tmp_path / "critic/config.json").unlink()
    assert weights.damage(tmp_path) == [
        "critic/config.json is missing",
        "generator/vae/model.safetensors has other content",
    ]
