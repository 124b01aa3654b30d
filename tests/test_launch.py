"""The files that start a run on a cluster: each parses, and every node but the first joins it."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.documents import ROOT

LAUNCH = ROOT / "launch"
SKYPILOT = LAUNCH / "skypilot.yaml"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch"), SKYPILOT])


def commands(path: Path) -> str:
    """Return what a file has a shell do."""
    if path != SKYPILOT:
        return path.read_text()
    task = yaml.safe_load(path.read_text())
    return str(task["setup"] + task["run"])


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_a_shell_can_read_every_launch_file(path: Path) -> None:
    parsed = subprocess.run(
        ["bash", "-n"], input=commands(path), text=True, stderr=subprocess.PIPE, check=False
    )
    assert parsed.returncode == 0, parsed.stderr


@pytest.mark.parametrize("name", ["slurm.sbatch", "ray_on_slurm.sbatch", "skypilot.yaml"])
def test_the_other_nodes_join_the_trainings(name: str) -> None:
    text = commands(LAUNCH / name)
    assert "dualipo join" in text and "dualipo run" in text


@pytest.mark.parametrize("name", ["slurm.sbatch", "ray_on_slurm.sbatch"])
def test_slurm_gives_each_node_a_task_and_its_processors(name: str) -> None:
    """One task in all would make Slurm take one node; srun takes no processors from sbatch."""
    text = commands(LAUNCH / name)
    assert "#SBATCH --ntasks-per-node=1\n" in text and "--ntasks=1\n" not in text
    exported = text.index("export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK")
    assert exported < text.index("--relative=1")


def test_skypilot_takes_no_empty_variable() -> None:
    assert all(yaml.safe_load(SKYPILOT.read_text())["envs"].values())
