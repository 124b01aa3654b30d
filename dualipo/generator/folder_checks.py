"""What a pipeline's folder must hold, part by part, before a clip is sampled from it.

Each part goes through the guard of `model_files`; a family adds which classes it takes, and the
prediction that its scheduler must expect. The parts must also fit one another: the autoencoder's
channels the transformer's, the text encoder's width, the tokenizer's vocabulary.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dualipo.errors import ModelError
from dualipo.generator import pipeline
from dualipo.generator.diffusers_backbone import NUM_TRAIN_TIMESTEPS, DiffusersBackbone
from dualipo.model_files import guard, settings_files, tokenizer
from dualipo.model_files.weight_files import FETCH

TEXT_ENCODERS = ("UMT5EncoderModel", "T5EncoderModel")
SCHEDULER_CONFIG = "scheduler_config.json"

Family = type[DiffusersBackbone]


def checks(
    family: Family, folder: Path, transformer_folder: Path
) -> Sequence[Callable[[], object]]:
    """Return the checks of a folder, each of which raises an error about one part."""
    parts = (_transformer, _vae, _text_encoder, _tokenizer, scheduler, _fit)
    return [functools.partial(check, family, folder, transformer_folder) for check in parts]


def scheduler(family: Family, folder: Path, _: Path | None = None) -> Any:
    """Read a pipeline's scheduler; refuse one that expects another prediction than is trained."""
    place = folder / "scheduler"
    kind = pipeline.part_class(folder, "scheduler")
    settings_files.read(place / SCHEDULER_CONFIG)
    with guard.reading(place):
        made = kind.from_config(kind.load_config(place))
        kind.from_config(made.config).set_timesteps(2)
    family.refuse_schedule(place, made)
    if made.config.num_train_timesteps != NUM_TRAIN_TIMESTEPS:
        raise ModelError(
            f"{place}: {made.config.num_train_timesteps} training timesteps, where "
            f"{NUM_TRAIN_TIMESTEPS} are needed. {settings_files.RESTORE}"
        )
    return made


def _transformer(family: Family, folder: Path, transformer_folder: Path) -> None:
    _refuse_other_class(folder, pipeline.TRANSFORMER, (family.transformer_class.__name__,))
    guard.refuse_diffusers(family.transformer_class, transformer_folder)


def _vae(family: Family, folder: Path, _: Path) -> None:
    _refuse_other_class(folder, "vae", (family.vae_class.__name__,))
    settings = guard.refuse_diffusers(family.vae_class, folder / "vae")
    family.refuse_latents(folder / "vae", settings)


def _text_encoder(_: Family, folder: Path, __: Path) -> None:
    place = folder / "text_encoder"
    kind = _refuse_other_class(folder, "text_encoder", TEXT_ENCODERS)
    model_type = guard.config_of(place).get("model_type")
    if model_type != kind.config_class.model_type:
        raise ModelError(
            f"{place}: its config.json is of the type {model_type!r}, where {kind.__name__} "
            f"belongs. {FETCH}"
        )
    guard.refuse_transformers(kind, place)


def _tokenizer(_: Family, folder: Path, __: Path) -> None:
    place = folder / "tokenizer"
    read = tokenizer.read(place, kind=pipeline.part_class(folder, "tokenizer"))
    reader = guard.config_of(folder / "text_encoder")
    if isinstance(size := reader.get("vocab_size"), int):
        tokenizer.refuse_other_vocabulary(place, read, num_embeddings=size)
    tokenizer.refuse_other_layout(place, read, end=reader.get("eos_token_id"))


def _fit(family: Family, folder: Path, transformer_folder: Path) -> None:
    """Refuse parts of which one's output is no input of the next."""
    transformer = guard.config_of(transformer_folder)
    channels_key, width_key = family.size_keys
    for part, key, transformer_key in (
        ("vae", channels_key, "in_channels"),
        ("text_encoder", "d_model", width_key),
    ):
        given, taken = guard.config_of(folder / part).get(key), transformer.get(transformer_key)
        if given != taken and None not in (given, taken):
            raise ModelError(
                f"{folder}: its {part} says {key} {given}, its transformer {transformer_key} "
                f"{taken}: they are of different models. {FETCH}"
            )


def _refuse_other_class(folder: Path, part: str, known: Sequence[str]) -> Any:
    """Return the class of a part that the index names; refuse one that the family does not take."""
    kind = pipeline.part_class(folder, part)
    if kind.__name__ not in known:
        raise ModelError(
            f"{folder / pipeline.INDEX}: its {part} is {kind.__name__}, where {' or '.join(known)} "
            f"belongs. {settings_files.RESTORE}"
        )
    return kind
