"""How a generator version is loaded with stock diffusers: the section "Use" of its card.

A LoRA is what one round added to the weights that it began from, so from the second round on the
base model alone is not what it belongs on. Words in capitals stand for folders of the reader's.
"""

from pathlib import Path
from typing import Any

from dualipo.store.ledger import Ledger, Version

LORA = "pytorch_lora_weights.safetensors"
BASE = "base"  # the version that the recipe names

# What ships and keeps every frame in its latent: diffusers' WanPipeline rounds the number of
# frames to a multiple of that step, here 1, and adds one.
_EVERY_FRAME = ("embedded", "embedded-large")
_SETTINGS = (
    *("num_frames", "height", "width", "num_inference_steps", "guidance_scale"),
    "max_sequence_length",
)


def section(
    config: dict[str, Any], run_path: Path, version: Version, *, is_pipeline: bool = False
) -> str:
    """The section, for a card beside a transformer or (`is_pipeline`) in a whole pipeline."""
    if not version.path:
        return ""
    whole = _as_pipeline(config, "FOLDER" if is_pipeline else "OUT")
    if is_pipeline:
        told = "This is a whole pipeline, whose weights hold what any LoRA learnt. FOLDER is where "
        parts = [f"{told}this card is: a folder, or a repository on the Hub.", whole]
    else:
        parts = ["A whole pipeline, whose weights hold what any LoRA learnt:"]
        parts += [_export("OUT", version.version_id), whole, *_as_transformer(config, version)]
    parts += _as_lora(config, run_path, version, is_beside=not is_pipeline)
    return "\n\n".join(["## Use", _legend(config, "".join(parts)), *parts])


def _legend(config: dict[str, Any], text: str) -> str:
    """What the words in capitals mean that the text has."""
    base = _base(config)
    shipped = base == "embedded" or base.startswith("embedded-")
    inside = base.replace("embedded", "dualipo/world/weights/generator", 1)
    folders = {
        "RUN": "the run's folder",
        "BASE": f"the base model's{f' (`{inside}`, which ships)' if shipped else ''}",
    }
    used = [f"{word} is {folder}" for word, folder in folders.items() if word in text]
    return "; ".join(["With diffusers", *used]) + "."


def _as_pipeline(config: dict[str, Any], folder: str) -> str:
    asked = {name: config[f"generator.{name}"] for name in _SETTINGS}
    asked["num_frames"] -= _base(config) in _EVERY_FRAME
    settings = [f"    {name}={value}," for name, value in asked.items()]
    call = ["frames = pipe(", '    "a caption",', *settings, ").frames[0]"]
    return _python(_opened(config, folder), *call)


def _as_transformer(config: dict[str, Any], version: Version) -> list[str]:
    """For who has the `transformer/` folder beside the card, and no run.

    It is put in afterwards: `DiffusionPipeline.from_pretrained(..., transformer=...)` drops it
    without a word where a pipeline's class, as Wan's, calls its transformer optional.
    """
    told = (
        "The transformer alone, in the base model's pipeline; FOLDER holds `transformer/`: "
        f"RUN/{_folder(version)}, or this card's repository on the Hub."
    )
    dtype = _dtype(config)
    return [told, _python(
        f'own = AutoModel.from_pretrained("FOLDER", subfolder="transformer"{dtype})',
        _opened(config, "BASE"),
        "pipe.register_modules(transformer=own)",
    )]  # fmt: skip


def _as_lora(
    config: dict[str, Any], run_path: Path, version: Version, *, is_beside: bool
) -> list[str]:
    """The version's adapter and the weights it belongs on; nothing where every weight was trained.

    Every version of a run has one, or none has.
    """
    if not (run_path / _folder(version) / LORA).is_file():
        return []
    line = _lineage(run_path, version)
    told = f"What round {version.round} learnt, as a LoRA: `{LORA}` in RUN/{_folder(version)}"
    told += ", on the Hub beside this card. It " if is_beside else ". It "
    if len(line) == 1:
        return [f"{told}belongs on the base model.", _stacked(config, line)]
    told += f"belongs on the weights that its round began from, those of `{version.parent}`"
    load = f'pipe.load_lora_weights("RUN/{_folder(version)}")'
    return [
        f"{told}; on the base model alone it is something else.",
        _export("START", str(version.parent)),
        _python(_opened(config, "START"), load),
        "Or on the base model, with those of all rounds before it, each at scale 1:",
        _stacked(config, line),
    ]


def _stacked(config: dict[str, Any], line: list[Version]) -> str:
    names = [one.version_id.replace(".", "_") for one in line]  # PEFT takes no dot
    loads = [
        f'pipe.load_lora_weights("RUN/{_folder(one)}", adapter_name="{name}")'
        for one, name in zip(line, names, strict=True)
    ]
    return _python(_opened(config, "BASE"), *loads, f"pipe.set_adapters({names})")


def _lineage(run_path: Path, version: Version) -> list[Version]:
    """The versions from the first that was trained on the base model to this one."""
    line = [version]
    ledger = Ledger(run_path / "ledger.sqlite", read_only=True)
    try:
        while (parent := line[0].parent) and parent != BASE:
            line.insert(0, ledger.version("generator", parent))
    finally:
        ledger.close()
    return line


def _base(config: dict[str, Any]) -> str:
    return str(config["generator.pretrained_model_name_or_path"])


def _folder(version: Version) -> str:
    """What holds a version's `transformer/`, in the run."""
    return Path(version.path).parent.as_posix()


def _opened(config: dict[str, Any], folder: str) -> str:
    return f'pipe = DiffusionPipeline.from_pretrained("{folder}"{_dtype(config)})'


def _dtype(config: dict[str, Any]) -> str:
    """The precision that the run sampled in.

    Never left to the default, under which a text encoder keeps the precision of its file.
    """
    return f", dtype=torch.{config['generator.torch_dtype']}"


def _export(folder: str, version_id: str) -> str:
    return f"```sh\ndualipo export pipeline RUN {folder} --version {version_id}\n```"


def _python(*lines: str) -> str:
    used = [name for name in ("AutoModel", "DiffusionPipeline") if name in "".join(lines)]
    imports = ["import torch", f"from diffusers import {', '.join(used)}"]
    return "\n".join(["```python", *imports, "", *lines, "```"])
