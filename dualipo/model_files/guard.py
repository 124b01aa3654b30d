"""The guard of a model's parts: all weights there, of the right shape, and none of them random.

A part is built on the meta device, where tensors have shapes and no memory, and is compared with
the headers of its files. For transformers the library itself compares, because it renames and
merges weights as it loads; it is handed tensors without content in place of the files. So a folder
is judged in a moment, whatever its size, by what its loader would do:

    refuse_transformers, refuse_diffusers    raise where the loader would draw a weight at random,
                                             leave one out, or raise an error of its own
    read_transformers, read_diffusers        load a part that these let pass

A part that passed is not built again as long as none of its files changes: a run loads the same
parts many times.

Errors are ModelErrors (FAULTS.md 13, 49, 53). Left out: what the numbers are, as long as they are
finite; the ledger's hashes find those that changed.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, GenerationConfig
from transformers.utils import logging as transformers_logging

from dualipo.errors import DualipoError, ModelError
from dualipo.model_files import settings_files, weight_files
from dualipo.model_files.weight_files import DIFFUSERS, FETCH, TRANSFORMERS, Stored

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
CONFIG, GENERATION = "config.json", "generation_config.json"
_COUNTS = ("num_layers", "num_hidden_layers", "depth")
Passed = TypeVar("Passed")  # what a check returns of a folder that passed
_MAX_LAYERS = 1000  # far above any model's: more would only keep the program busy


def faults(checks: Iterable[Callable[[], object]]) -> list[DualipoError]:
    """Return the errors of all checks that fail, in their order."""
    errors = []
    for check in checks:
        try:
            check()
        except DualipoError as error:
            errors.append(error)
    return errors


def require(errors: Iterable[DualipoError]) -> None:
    """Raise the first of these errors, if there is one."""
    for error in errors:
        raise error


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Turn what a library raises about a folder into a ModelError that names the folder."""
    try:
        yield
    except (DualipoError, MemoryError, torch.OutOfMemoryError):
        raise
    except ImportError as missing:
        raise ModelError(
            f"{folder}: takes a package that is not installed ({_line(missing)}). Run "
            "`pip install -c constraints.txt .`, or install that package."
        ) from missing
    except Exception as broken:  # a foreign configuration can make a library raise anything
        raise ModelError(f"{folder}: cannot be read ({_line(broken)}). {FETCH}") from broken


def config_of(folder: Path) -> dict[str, Any]:
    """Read a part's config.json; refuse quantised weights, adapters, and nonsense."""
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder. {FETCH}")
    config = settings_files.read(folder / CONFIG)
    if method := config.get("quantization_config"):
        kind = method.get("quant_method") if isinstance(method, dict) else method
        raise ModelError(
            f"{folder}: its weights are quantised ({kind}), and they are trained on. Use the "
            "model's plain weights."
        )
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder}: holds an adapter beside a model (adapter_config.json), and would load "
            "another model below it. Merge the adapter, or delete its files."
        )
    if deep := [key for key, value in _numbers(config) if _is_depth(key) and value > _MAX_LAYERS]:
        raise ModelError(
            f"{folder / CONFIG}: {deep[0]} is over {_MAX_LAYERS}. {settings_files.RESTORE}"
        )
    if odd := next((f"{k} is {v!r}" for k, v in _values(config) if _is_nonsense(k, v)), None):
        raise ModelError(
            f"{folder / CONFIG}: {odd}, where a number above 0 is needed. {settings_files.RESTORE}"
        )
    return config


def _while_unchanged(check: Callable[[Any, Path], Passed]) -> Callable[[Any, Path], Passed]:
    """Remember what a check of a folder returned until a file in the folder changes."""

    @functools.lru_cache(maxsize=64)
    def remembered(kind: Any, folder: Path, _: object) -> Passed:
        return check(kind, folder)

    @functools.wraps(check)
    def once(kind: Any, folder: Path) -> Passed:
        return remembered(kind, folder, _state(folder))

    return once


def _state(folder: Path) -> frozenset[tuple[str, int, int, int]]:
    """Return the names, sizes and times of a folder's files; a missing folder has none."""
    paths = folder.iterdir() if folder.is_dir() else ()
    stats = ((path.name, path.stat() if path.exists() else path.lstat()) for path in paths)
    return frozenset((name, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in stats)


@_while_unchanged
def refuse_transformers(kind: Any, folder: Path) -> None:
    """Raise a ModelError unless a transformers class (or auto class) loads `folder` whole."""
    config_of(folder)
    if (folder / GENERATION).is_file():
        settings_files.read(folder / GENERATION)  # the library would pass over a torn one
        with reading(folder / GENERATION), _quiet():
            GenerationConfig.from_pretrained(folder, **LOCAL)
    stored = weight_files.headers(folder, stem=TRANSFORMERS)
    with reading(folder), _quiet():
        owner = getattr(kind, "config_class", None) or AutoConfig
        config = owner.from_pretrained(folder, **LOCAL)
        with torch.device("meta"):
            built = kind(config) if owner is not AutoConfig else kind.from_config(config)
        model, report = type(built).from_pretrained(
            None,
            config=config,
            state_dict=_without_content(stored),
            device_map="meta",
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    _refuse_differences(
        folder,
        names=model.state_dict().keys(),
        missing=report["missing_keys"],
        shapes={name: (stored, asked) for name, stored, asked in report["mismatched_keys"]},
        extra=report["unexpected_keys"],
    )


@_while_unchanged
def refuse_diffusers(kind: Any, folder: Path) -> Mapping[str, Any]:
    """Return the configuration that a diffusers class reads; refuse one that it loads in part."""
    config = config_of(folder)
    if (name := config.get("_class_name", kind.__name__)) != kind.__name__:
        raise ModelError(
            f"{folder}: its config.json says {name}, where {kind.__name__} belongs. {FETCH}"
        )
    stored = weight_files.headers(folder, stem=DIFFUSERS)
    with reading(folder), torch.device("meta"):
        model = kind.from_config(kind.load_config(folder))
    refuse_other_weights(folder, model.state_dict(), stored)
    settings: Mapping[str, Any] = model.config
    return settings


def refuse_other_weights(
    folder: Path, asked: Mapping[str, torch.Tensor], stored: Mapping[str, Stored | torch.Tensor]
) -> None:
    """Raise a ModelError unless `stored` has every weight that is asked for, in its shape."""
    common = asked.keys() & stored.keys()
    pairs = {name: (tuple(stored[name].shape), tuple(asked[name].shape)) for name in common}
    _refuse_differences(
        folder,
        names=asked.keys(),
        missing=asked.keys() - stored.keys(),
        shapes={name: both for name, both in pairs.items() if both[0] != both[1]},
        extra=stored.keys() - asked.keys(),
    )


def read_transformers(kind: Any, folder: Path, *, dtype: torch.dtype, **options: Any) -> Any:
    """Load a transformers model that `refuse_transformers` let pass."""
    with reading(folder):
        return kind.from_pretrained(folder, **LOCAL, use_safetensors=True, dtype=dtype, **options)


def read_diffusers(kind: Any, folder: Path, *, dtype: torch.dtype) -> Any:
    """Load a diffusers model that `refuse_diffusers` let pass."""
    with reading(folder):
        return kind.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, local_files_only=True
        )


def _without_content(stored: Mapping[str, Stored]) -> dict[str, torch.Tensor]:
    return {name: torch.empty(weight.shape, device="meta") for name, weight in stored.items()}


def _refuse_differences(
    folder: Path,
    *,
    names: Iterable[str],
    missing: Iterable[str],
    shapes: Mapping[str, tuple[Any, Any]],
    extra: Iterable[str],
) -> None:
    """Raise a ModelError about the first difference between a model and its files.

    Weights that the model has no place for are let pass, as published folders hold some, unless
    they are those of further layers: then its config.json belongs to a smaller model.
    """
    if absent := sorted(missing):
        raise ModelError(
            f"{folder}: {len(absent)} weights are missing, the first is {absent[0]}. {FETCH}"
        )
    if shapes:
        name, (is_shape, asked) = min(shapes.items())
        raise ModelError(
            f"{folder}: {len(shapes)} weights have another shape than config.json asks for, the "
            f"first is {name} with {_sizes(is_shape)} where {_sizes(asked)} is asked for. {FETCH}"
        )
    known = {_in_any_layer(name) for name in names}
    if further := sorted(name for name in extra if _in_any_layer(name) in known):
        raise ModelError(
            f"{folder}: {len(further)} weights are of layers that config.json does not count, the "
            f"first is {further[0]}. {FETCH}"
        )


def _in_any_layer(name: str) -> str:
    return re.sub(r"\.\d+(?=\.)", ".N", name)


def _sizes(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "one number"


def _numbers(config: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers in a configuration, those of inner tables too, with their keys."""
    return ((key, value) for key, value in _values(config) if isinstance(value, int | float))


def _values(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _values(value)
        else:
            yield key, value


def _is_nonsense(key: str, value: Any) -> bool:
    """Tell whether a model would be built from a value, and fail or differ when it computes."""
    if key == "window_size":  # some models write -1 for none
        return value == 0
    if key not in _COUNTS and not key.endswith(("eps", "epsilon")):
        return False
    return value is not None and not (isinstance(value, int | float) and value > 0)


def _is_depth(key: str) -> bool:
    return key.endswith("layers") or key == "depth"


def _line(error: BaseException) -> str:
    """Return what a library says as one line of bounded length."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else f"{text[:300]} ..."


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from printing a report of a load whose differences become errors."""
    level, bars = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
