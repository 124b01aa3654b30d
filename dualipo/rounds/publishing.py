"""A generator version as a whole pipeline's folder, for stock diffusers or for another run.

A pipeline is the version's transformer, with any LoRA merged into its weights, and the other parts
of the base model that the recipe names. It is given as a list of files, to be pushed, or written as
a folder. Left out: the LoRA itself, which stays in the run.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from dualipo.errors import ConfigError, DataError, ModelError
from dualipo.evaluation.share import hub
from dualipo.evaluation.share.hub import Files
from dualipo.generator import pipeline
from dualipo.rounds.run import model_folder
from dualipo.store import atomic
from dualipo.store.run_reader import RunReader
from dualipo.training import lora, lora_names


def pipeline_files(run_path: Path, version_id: str | None = None) -> Files:
    """Return the files of a version's whole pipeline, with its card and recipe."""
    hub.trained_version(run_path, version_id)  # refused before the base model is looked for
    name = RunReader(run_path).settings["generator.pretrained_model_name_or_path"]
    try:
        base = model_folder(name, "generator")
    except ModelError as missing:
        raise ModelError(
            f"{name}: the base model of {run_path} is not there, and a pipeline takes its other "
            "parts. Put it back, or repeat the command in the folder where the run was begun."
        ) from missing
    return hub.model_files(run_path, version_id, other_parts=pipeline.other_parts(base))


def export_pipeline(
    run_path: Path, output: Path, *, version_id: str | None = None, link: bool = False
) -> str:
    """Write `output`, all of it or nothing; return the version. `link` makes hard links."""
    if output.exists():
        raise ConfigError(f"{output}: exists already. Delete it, or give another name.")
    version = hub.trained_version(run_path, version_id).version_id
    files, known = pipeline_files(run_path, version), _hashes(run_path)
    with atomic.publish_folder(output, name="export", num_bytes=_num_bytes(files)) as temporary:
        for name, given in files.items():
            _put(temporary / name, given, link=link)
            if isinstance(given, Path) and given in known:
                _require_hash(temporary / name, known[given], source=given)
    return version


def export_lora(run_path: Path, output: Path, *, version_id: str | None, names: str) -> str:
    """Write a version's LoRA under the names of another program; return the version."""
    if output.exists():
        raise ConfigError(f"{output}: exists already. Delete it, or give another name.")
    version = hub.trained_version(run_path, version_id)
    transformer = run_path / version.path
    adapter_path = transformer.parent / lora.ADAPTER_FILE
    if not adapter_path.is_file():
        raise ConfigError(
            f"{version.version_id}: it has no LoRA, because its round trained all weights. Export "
            "it as a pipeline."
        )
    known = _hashes(run_path)
    if adapter_path in known:
        _require_hash(adapter_path, known[adapter_path], source=adapter_path)
    model_class = str(atomic.read_json(transformer / "config.json").get("_class_name"))
    with atomic.publish_folder(output, name="export") as temporary:
        lora_names.write(adapter_path, temporary, names=names, model_class=model_class)
    return version.version_id


def _put(target: Path, given: Path | bytes, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(given, bytes):
        target.write_bytes(given)
    elif not link:
        shutil.copyfile(given, target)
    else:
        atomic.link(given, target)


def _hashes(run_path: Path) -> Mapping[Path, str]:
    """Return the hashes that the ledger holds, by the path of the run's file."""
    hashes = RunReader(run_path).file_hashes()
    return {run_path / name: sha256 for name, sha256 in hashes.items()}


def _require_hash(written: Path, sha256: str, *, source: Path) -> None:
    if atomic.sha256_file(written) != sha256:
        raise DataError(
            f"{source}: its content is not what the ledger says. Restore it from a backup, or "
            "export another version."
        )


def _num_bytes(files: Files) -> int:
    return sum(
        len(given) if isinstance(given, bytes) else given.stat().st_size for given in files.values()
    )
