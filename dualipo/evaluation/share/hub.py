"""Publish on the Hugging Face Hub, when someone asks for it by name; nothing is sent by default.

The token comes from HF_TOKEN alone (never from a recipe, nor from a login kept on disk), and a new
repository is private unless it is said to be public. A model goes with its card and its recipe.
HF_ENDPOINT may name another hub.

A generator version is its transformer, and its LoRA where it has one, for the base model that the
card names; or, with that model's other parts, a whole pipeline. Left out: the critic's weights.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dualipo.errors import ConfigError, HubError
from dualipo.evaluation import run_history
from dualipo.evaluation.report import browser_clips
from dualipo.evaluation.share import diffusers_usage, model_card, recipe
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Ledger, Version

TOKEN = "HF_TOKEN"

Files = Mapping[str, Path | bytes]  # path in the repository -> a file, or its content


def token() -> str:
    """The token of the environment."""
    found = os.environ.get(TOKEN, "")
    if not found:
        raise ConfigError(
            f"{TOKEN}: not set. Export a token of yours that may write; it is read from the "
            "environment only."
        )
    return found


def push(files: Files, repo_id: str, *, kind: Literal["model", "dataset"], is_public: bool) -> str:
    """Publish the files as one commit and return its address; all of it arrives, or nothing."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=token())
    added = [
        CommitOperationAdd(name, given if isinstance(given, bytes) else str(given))
        for name, given in files.items()
    ]
    try:
        api.create_repo(repo_id, repo_type=kind, private=not is_public, exist_ok=True)
        done = api.create_commit(
            repo_id, added, repo_type=kind, commit_message="Publish with dualipo"
        )
    except Exception as refusal:  # whatever the network does: its errors change with the client
        raise HubError(
            f"{repo_id}: not published ({refusal}). Nothing here was changed; check the name, the "
            "token and the network, then repeat."
        ) from refusal
    return str(done.commit_url)


def model_files(
    run_path: Path, version_id: str | None = None, *, other_parts: Mapping[str, Path] | None = None
) -> Files:
    """A generator version (default: the one that serves) with its card and recipe.

    The base pipeline's `other_parts` make it a whole pipeline. That has no LoRA beside it: on
    weights that hold it already, it would count twice.
    """
    run = run_history.read(run_path)
    version = trained_version(run_path, version_id)
    folder, is_pipeline = run_path / version.path, other_parts is not None
    shown = _clips(run_path, version.version_id)
    captions = {path: caption for path, (caption, _) in shown.items()}
    told = model_card.render(run_path, version.version_id, beside=captions, is_pipeline=is_pipeline)
    files: dict[str, Path | bytes] = {
        "README.md": told.encode(),
        "recipe.toml": recipe.minimal(run.config).encode(),
    }
    files |= {path: content for path, (_, content) in shown.items()}
    if other_parts is None and (folder.parent / diffusers_usage.LORA).is_file():
        files[diffusers_usage.LORA] = folder.parent / diffusers_usage.LORA
    inside = sorted(path for path in folder.rglob("*") if path.is_file())
    files |= {f"transformer/{path.relative_to(folder).as_posix()}": path for path in inside}
    files |= other_parts or {}
    return files


def trained_version(run_path: Path, version_id: str | None = None) -> Version:
    """A generator that the run made (default: the one that serves); refused: one it began with."""
    ledger = Ledger(run_path / "ledger.sqlite", read_only=True)
    try:
        head = ledger.head("generator")
        wanted = version_id or (head.version_id if head else diffusers_usage.BASE)
        version = ledger.version("generator", wanted)
    finally:
        ledger.close()
    if not version.path:
        raise ConfigError(
            f"{run_path}: generator {wanted!r} is the model that the recipe names, not one that "
            "this run made. Finish a round, or name a version like g000.0."
        )
    return version


def _clips(run_path: Path, version_id: str) -> dict[str, tuple[str, bytes]]:
    """Path -> caption and a clip that every browser plays; one that is damaged is left out."""
    store = ClipStore(run_path / "clips")
    found = model_card.example_clips(run_path, version_id).items()
    made = {path: (text, browser_clips.browser_mp4(store, clip)) for path, (text, clip) in found}
    return {path: (text, clip) for path, (text, clip) in made.items() if clip is not None}
