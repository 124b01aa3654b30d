"""The section "Use" of a model card: how stock diffusers loads a generator version.

A LoRA is what one round added to the weights that it began from, so from the second round on it
does not belong on the base model alone. Words in capitals stand for folders of the reader's.
"""

from pathlib import Path
from typing import Any

from dualipo.store.ledger import Version
from dualipo.store.run_reader import RunReader

LORA = "pytorch_lora_weights.safetensors"
BASE = "base"  # the version of the model that the recipe names

# Models that ship and keep every frame in their latent: diffusers' WanPipeline rounds the number of
# frames to a multiple of the VAE's step, which is 1 here, and adds one.
_EVERY_FRAME = ("embedded", "embedded-large")
_SETTINGS = (
    *("num_frames", "height", "width", "num_inference_steps", "guidance_scale"),
    "max_sequence_length",
)


def section(
    settings: dict[str, Any], run: RunReader, version: Version, *, is_pipeline: bool = False
) -> str:
    """Return the section for a card beside a transformer, or in a whole pipeline's folder."""
    if not version.path:
        return ""
    whole = _as_pipeline(settings, "FOLDER" if is_pipeline else "OUT")
    if is_pipeline:
        parts = [
            "This is a whole pipeline; its weights hold what any LoRA learnt. FOLDER is where this "
            "card is: a folder, or a repository on the Hub.",
            whole,
        ]
    else:
        parts = ["A whole pipeline, whose weights hold what any LoRA learnt:"]
        parts += [_export("OUT", version.version_id), whole, *_as_transformer(settings, version)]
    parts += _as_lora(settings, run, version, is_beside=not is_pipeline)
    return "\n\n".join(["## Use", _legend(settings, "".join(parts)), *parts])


def _legend(settings: dict[str, Any], text: str) -> str:
    """Explain the words in capitals that the text uses."""
    base = _base(settings)
    shipped = base == "embedded" or base.startswith("embedded-")
    inside = base.replace("embedded", "dualipo/world/weights/generator", 1)
    folders = {
        "RUN": "the run's folder",
        "BASE": f"the base model's{f' (`{inside}`, which ships)' if shipped else ''}",
    }
    used = [f"{word} is {folder}" for word, folder in folders.items() if word in text]
    return "; ".join(["With diffusers", *used]) + "."


def _as_pipeline(settings: dict[str, Any], folder: str) -> str:
    values = {name: settings[f"generator.{name}"] for name in _SETTINGS}
    values["num_frames"] -= _base(settings) in _EVERY_FRAME
    lines = [f"    {name}={value}," for name, value in values.items()]
    call = ["frames = pipe(", '    "a caption",', *lines, ").frames[0]"]
    return _python(_opened(settings, folder), *call)


def _as_transformer(settings: dict[str, Any], version: Version) -> list[str]:
    """Show how to use the `transformer/` folder beside the card without the run.

    The pipeline gets it afterwards: `DiffusionPipeline.from_pretrained(..., transformer=...)` drops
    it silently where a pipeline's class, as Wan's, calls its transformer optional.
    """
    text = (
        "The transformer alone, in the base model's pipeline; FOLDER holds `transformer/`: "
        f"RUN/{_folder(version)}, or this card's repository on the Hub."
    )
    dtype = _dtype(settings)
    return [text, _python(
        f'own = AutoModel.from_pretrained("FOLDER", subfolder="transformer"{dtype})',
        _opened(settings, "BASE"),
        "pipe.register_modules(transformer=own)",
    )]  # fmt: skip


def _as_lora(
    settings: dict[str, Any], run: RunReader, version: Version, *, is_beside: bool
) -> list[str]:
    """Show how to load the version's LoRA and the weights that it belongs on.

    Either every version of a run has a LoRA, or none has, as every weight was trained.
    """
    if not (run.path / _folder(version) / LORA).is_file():
        return []
    line = _lineage(run, version)
    text = f"What round {version.round} learnt, as a LoRA: `{LORA}` in RUN/{_folder(version)}"
    text += ", on the Hub beside this card. It " if is_beside else ". It "
    if len(line) == 1:
        return [f"{text}belongs on the base model.", _stacked(settings, line)]
    text += f"belongs on the weights that its round began from, those of `{version.parent}`"
    load = f'pipe.load_lora_weights("RUN/{_folder(version)}")'
    return [
        f"{text}; on the base model alone it is something else.",
        _export("START", str(version.parent)),
        _python(_opened(settings, "START"), load),
        "Or on the base model, with those of all rounds before it, each at scale 1:",
        _stacked(settings, line),
    ]


def _stacked(settings: dict[str, Any], line: list[Version]) -> str:
    names = [version.version_id.replace(".", "_") for version in line]  # PEFT takes no dot
    loads = [
        f'pipe.load_lora_weights("RUN/{_folder(version)}", adapter_name="{name}")'
        for version, name in zip(line, names, strict=True)
    ]
    return _python(_opened(settings, "BASE"), *loads, f"pipe.set_adapters({names})")


def _lineage(run: RunReader, version: Version) -> list[Version]:
    """Return the versions from the first that was trained on the base model to this one."""
    line = [version]
    while (parent := line[0].parent) and parent != BASE:
        line.insert(0, run.version("generator", parent))
    return line


def _base(settings: dict[str, Any]) -> str:
    return str(settings["generator.pretrained_model_name_or_path"])


def _folder(version: Version) -> str:
    """Return the folder that holds a version's `transformer/`, relative to the run."""
    return Path(version.path).parent.as_posix()


def _opened(settings: dict[str, Any], folder: str) -> str:
    return f'pipe = DiffusionPipeline.from_pretrained("{folder}"{_dtype(settings)})'


def _dtype(settings: dict[str, Any]) -> str:
    """Return the argument that loads a model in the precision that the run sampled in.

    Without it a text encoder would keep the precision of its file.
    """
    return f", dtype=torch.{settings['generator.torch_dtype']}"


def _export(folder: str, version_id: str) -> str:
    return f"```sh\ndualipo export pipeline RUN {folder} --version {version_id}\n```"


def _python(*lines: str) -> str:
    used = [name for name in ("AutoModel", "DiffusionPipeline") if name in "".join(lines)]
    imports = ["import torch", f"from diffusers import {', '.join(used)}"]
    return "\n".join(["```python", *imports, "", *lines, "```"])
