"""A model's folder is data: what it brings along in Python is never run."""

import json
from pathlib import Path

import pytest

from dualipo.critic.models.vila import Vila
from dualipo.errors import DualipoError

STRANGER = """
import pathlib
pathlib.Path({canary!r}).write_text("ran")
from transformers import LlamaConfig as Config, LlamaForCausalLM as Model
"""


@pytest.mark.parametrize("answer", ["y", "n"])
def test_fault_53_code_in_a_folder_is_not_run_whoever_asks_for_it(
    vila, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """Load a folder whose `auto_map` wants its own code to load it; transformers would ask."""
    monkeypatch.setattr("builtins.input", lambda *_: answer)
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "m"))
    folder, canary = tmp_path / "critic", tmp_path / "canary"
    vila.save(folder)
    for part in ("llm", "vision_tower"):
        (folder / part / "stranger.py").write_text(STRANGER.format(canary=str(canary)))
        config = json.loads((folder / part / "config.json").read_text())
        config["auto_map"] = {
            name: "stranger.Model" for name in ("AutoModel", "AutoModelForCausalLM")
        } | {"AutoConfig": "stranger.Config"}
        (folder / part / "config.json").write_text(json.dumps(config))
    try:
        again = Vila.load(folder, settings=vila.settings)
    except DualipoError:
        again = None
    assert not canary.exists()
    assert again is None or again.hash() == vila.hash()
