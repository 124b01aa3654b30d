"""The device memory that a recipe's critic needs, to judge and in each of its trainings.

It is counted from configurations alone (critic/estimate.py): those of the critic's folder, or of
the published model that the folder is named after. The number of weights is that of the files,
where there are some.
"""

import functools
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dualipo.amounts import count, storage
from dualipo.config import LEARNING, Config, CriticTraining
from dualipo.critic import estimate
from dualipo.critic.models import contexts, published
from dualipo.model_files import weight_files
from dualipo.rounds.run import is_embedded, model_folder

_JUDGING = "the critic judging"


def lines(config: Config) -> list[str]:
    """Return the critic's size and memory in words."""
    settings = config.critic
    if settings.backend == "server":
        return [f"critic: {settings.pretrained_model_name_or_path}, served elsewhere"]
    number = num_parameters(config)
    if not number:
        return []
    said = [f"critic: {count(number)} parameters"]
    for use, parts in memory(config).items():
        named = ", ".join(f"{name} {storage(value)}" for name, value in parts.items())
        num = 1 if use == _JUDGING else settings.num_processes
        device = "the device" if num == 1 else f"each of {num} devices"
        said.append(f"memory of {device}, {use}: {storage(sum(parts.values()))} ({named})")
    return said


@functools.lru_cache(maxsize=4)
def memory(config: Config) -> dict[str, dict[str, float]]:
    """Return the bytes on a device by use of the critic; nothing of one that is not known here."""
    if config.critic.backend not in LEARNING:
        return {}
    with _folder(config) as folder:
        if folder is None:
            return {}
        size = estimate.measure(folder, settings=config.critic, clips=config.generator)
    if size is None:
        return {}
    uses = {_JUDGING: estimate.judging_memory(size)}
    for name, training, paths_an_item in _trainings(config):
        if training.max_train_steps:
            uses[f"the critic's {name}"] = estimate.training_memory(
                size, training, paths_an_item=paths_an_item
            )
    return uses


@functools.lru_cache(maxsize=4)
def num_parameters(config: Config) -> int:
    """Count the critic's weights; 0 where nothing is known of it."""
    if config.critic.backend in ("server", "scores"):
        return 0
    with _folder(config) as folder:
        if folder is None:
            return 0
        if number := _num_in_files(folder):
            return number
        size = estimate.measure(folder, settings=config.critic, clips=config.generator)
        return size.num_parameters if size else 0


def tokens_a_frame(config: Config) -> float:
    """Return the visual tokens of a frame; 0 where the critic's configuration says none."""
    with _folder(config) as folder:
        if folder is None:
            return 0
        return contexts.tokens_a_frame(folder, settings=config.critic, clips=config.generator)


def _trainings(config: Config) -> list[tuple[str, CriticTraining, int]]:
    """Return the critic's trainings by name, each with the number of paths that an item has."""
    refresh = [("refresh", config.refresh.srpo, 2)] if config.refresh.update_critic else []
    return [
        ("fine-tuning", config.warm_start_sft, 1),
        ("warm start by DPO", config.warm_start_dpo, 2),
        *(refresh if config.rounds else []),
    ]


@contextmanager
def _folder(config: Config) -> Iterator[Path | None]:
    """Yield a folder with the critic's configurations, or None."""
    name = config.critic.pretrained_model_name_or_path
    if is_embedded(name) or Path(name).expanduser().is_dir():
        yield model_folder(name, "critic")
        return
    known = published.find(name)
    if known is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as temporary:
        published.write(Path(temporary), known)
        yield Path(temporary)


def _num_in_files(folder: Path) -> int:
    """Count the numbers in a folder's safetensors by their headers."""
    stored = (weight_files.header(path).values() for path in folder.rglob("*.safetensors"))
    return sum(math.prod(weight.shape) for weights in stored for weight in weights)
