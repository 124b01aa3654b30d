"""Preflight checks of the models: their folders, what they can make and hold, and their servers.

Folders are read as configurations, headers of weights, and tokenizers; no weights are loaded. What
a loader would refuse is refused here by the loader's own checks.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from dualipo.config import LEARNING, Config
from dualipo.critic.models import backends, contexts, published
from dualipo.critic.models.score_file import ScoreFile
from dualipo.critic.models.served import ServedCritic
from dualipo.errors import ConfigError, DualipoError, ModelError
from dualipo.generator import backbone, published_models
from dualipo.rounds import estimating, judge_process
from dualipo.rounds.ahead import Ahead
from dualipo.rounds.run import is_embedded, model_folder
from dualipo.servers.endpoint import Endpoint


def generator(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check the generator's folder, and that it can make clips of the recipe's size."""
    settings = config.generator
    name = settings.pretrained_model_name_or_path
    published = published_models.find(name)
    if not is_embedded(name) and not Path(name).expanduser().is_dir():
        yield _absent(name, "generator", published.repository if published else None)
        if published is None:
            return
    else:
        found = backbone.faults(
            model_folder(name, "generator"), max_sequence_length=settings.max_sequence_length
        )
        yield from found
        if found:
            return
    estimating.estimate(config)  # refuses a size that the model cannot make


def critic(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check the critic's folder or table, and that its context holds the frames of a pair."""
    settings = config.critic
    name = settings.pretrained_model_name_or_path
    if settings.backend == "scores":
        ScoreFile(Path(name).expanduser(), may_be_missing=True)
    is_local = settings.backend in LEARNING or settings.backend == "reward_head"
    if not is_local or not (state.trains_shipped_critic or settings.backend == "reward_head"):
        return
    if not is_embedded(name) and not Path(name).expanduser().is_dir():
        known = published.find(name)
        yield _absent(name, "critic", known.repository if known else None)
        return
    folder = model_folder(name, "critic")
    found = backends.faults(folder, settings=settings)
    yield from found
    if not found:
        contexts.require_room(folder, settings=settings, clips=config.generator)


def judges(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that every judge that never trains is there; a table of scores may come later.

    They are asked before a new run alone: one that is gone later must not hold up the rounds.
    """
    for judge in config.monitor.judges if state.is_new else ():
        name = judge.pretrained_model_name_or_path
        if judge.backend in LEARNING:
            yield from backends.faults(judge_process.folder_of(judge), settings=judge)
        elif judge.backend == "server":
            served = ServedCritic(name, settings=judge)
            yield from served.endpoint.refusals(name, setting="monitor.judges")


def servers(config: Config, state: Ahead) -> Iterator[DualipoError]:
    """Check that every server of the recipe answers or can be started, and knows its model."""
    if config.critic.backend == "server":
        name = config.critic.pretrained_model_name_or_path
        served = ServedCritic(name, settings=config.critic)
        yield from served.endpoint.refusals(name, setting="critic.pretrained_model_name_or_path")
    command = config.critic.serving.command
    if command and shutil.which(command[0]) is None:
        yield ConfigError(
            f"critic.serving.command: no program {command[0]!r} is here. Give the path of the "
            "engine's program in its own environment."
        )
    rewriter = config.seed_labels.rewriter
    if rewriter.model is not None and state.trains_shipped_critic:
        endpoint = Endpoint(rewriter, settings_name="seed_labels.rewriter")
        yield from endpoint.refusals(rewriter.model, setting="seed_labels.rewriter.model")


def _absent(name: str, part: str, repository: str | None) -> ModelError:
    """Return the error of a model that is not there, with the command that downloads it."""
    how = f" (`hf download {repository} --local-dir {name}`)" if repository else ""
    return ModelError(
        f"{name}: no such folder. Download the model first{how}, or name another folder or "
        f"'embedded' in {part}.pretrained_model_name_or_path."
    )
