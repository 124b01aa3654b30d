"""Publishing on the Hugging Face Hub, on request only; nothing is sent by default.

The token comes from HF_TOKEN alone (never from a recipe, nor from a login kept on disk), and a new
repository is private unless the user asks for a public one. A model goes with its card and its
recipe. HF_ENDPOINT may name another hub.

A published version is its transformer, with its LoRA where it has one, for the base model that the
card names; or, with that model's other parts, a whole pipeline. Left out: the critic's weights.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from dualipo.errors import ConfigError, HubError
from dualipo.evaluation import recommended, run_history
from dualipo.evaluation.report import browser_clips
from dualipo.evaluation.share import diffusers_usage, model_card, recipe
from dualipo.store.clips import ClipStore
from dualipo.store.ledger import Version
from dualipo.store.run_reader import RunReader

TOKEN = "HF_TOKEN"

Files = Mapping[str, Path | bytes]  # path in the repository -> a file, or its content


def token() -> str:
    """Return the token of the environment."""
    value = os.environ.get(TOKEN, "")
    if not value:
        raise ConfigError(
            f"{TOKEN}: not set. Export a token of yours that may write; it is read from the "
            "environment only."
        )
    return value


def push(files: Files, repo_id: str, *, kind: Literal["model", "dataset"], is_public: bool) -> str:
    """Publish the files as one commit, all of them or none, and return its address."""
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
    """Return the files of a generator version (default: recommended), its card and recipe.

    With the base pipeline's `other_parts` they are a whole pipeline, without a LoRA beside it: its
    weights hold the LoRA already, which would count twice.
    """
    version = trained_version(run_path, version_id)
    folder, is_pipeline = run_path / version.path, other_parts is not None
    shown = _clips(run_path, version.version_id)
    captions = {path: caption for path, (caption, _) in shown.items()}
    card = model_card.render(run_path, version.version_id, beside=captions, is_pipeline=is_pipeline)
    files: dict[str, Path | bytes] = {
        "README.md": card.encode(),
        "recipe.toml": recipe.minimal(recipe.published(RunReader(run_path).settings)).encode(),
    }
    files |= {path: content for path, (_, content) in shown.items()}
    if other_parts is None and (folder.parent / diffusers_usage.LORA).is_file():
        files[diffusers_usage.LORA] = folder.parent / diffusers_usage.LORA
    inside = sorted(path for path in folder.rglob("*") if path.is_file())
    files |= {f"transformer/{path.relative_to(folder).as_posix()}": path for path in inside}
    files |= other_parts or {}
    return files


def trained_version(run_path: Path, version_id: str | None = None) -> Version:
    """Return a generator that the run trained (default: the recommended one).

    The model that the run began with is a ConfigError, as it is not the run's to publish.
    """
    run = RunReader(run_path)
    if version_id is None:
        version_id = _recommended(run)
    version = run.version("generator", version_id)
    if not version.path:
        raise ConfigError(
            f"{run_path}: generator {version_id!r} is the model that the recipe names, not one "
            "that this run made. Finish a round, or name a version like g000.0."
        )
    return version


def _recommended(run: RunReader) -> str:
    """Return the version that the run recommends; raise ConfigError where that is the base."""
    history = run_history.read(run)
    choice = recommended.recommend(history)
    if not choice.is_base:
        return choice.version_id
    made = [recommended.version_of(round_) for round_ in history.rounds]
    remedy = f"--version {made[-1]} takes the newest all the same" if made else "Finish a round"
    raise ConfigError(
        f"{run.path}: the base model is recommended, because {choice.why}, and it is not this "
        f"run's to publish. {remedy}."
    )


def _clips(run_path: Path, version_id: str) -> dict[str, tuple[str, bytes]]:
    """Return example clips for any browser, path -> (caption, MP4); damaged ones are left out."""
    store = ClipStore(run_path / "clips")
    clips = {}
    for path, (caption, clip_hash) in model_card.example_clips(run_path, version_id).items():
        content = browser_clips.browser_mp4(store, clip_hash)
        if content is not None:
            clips[path] = (caption, content)
    return clips
