"""`dualipo export FORMAT SOURCE OUTPUT`: labels, preferences and generators for other programs."""

import argparse
from pathlib import Path
from typing import Any

from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_verb
from dualipo.errors import ConfigError

# The names in `preferences.exporters.export.FORMATS`, repeated because that imports pyarrow.
FORMATS = (
    *("native", "trl", "trl-kto", "videoalign", "videofolder", "label-studio"),
    *("flow-factory", "simpletuner"),
)
PIPELINE, LORA = "pipeline", "lora"
# The names in `training.lora_names.NAMES`, repeated because that imports torch.
LORA_NAMES = ("diffusers", "peft", "comfyui")


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "export",
        "Write labels, preferences or a generator for other programs. Labels and preferences are "
        f"written with their clips, and a generator ({PIPELINE}) as a folder that diffusers loads. "
        f"What a round learnt as a LoRA ({LORA}) is written under the names of other programs.",
        epilog="docs/FORMATS.md describes the formats and what they cannot keep.",
    )
    names = (*FORMATS, PIPELINE, LORA)
    parser.add_argument(
        "format", choices=names, metavar="FORMAT", help=f"One of: {', '.join(names)}."
    )
    parser.add_argument(
        "source", type=Path, help="A label set, the folder of a run, or its labels.sqlite."
    )
    parser.add_argument("output", type=Path, help="The folder to make.")
    parser.add_argument(
        "--round",
        type=int,
        help="Export the preferences of this round of the run (default: its seed labels).",
    )
    parser.add_argument(
        "--version",
        help="Export this version of the generator, e.g. g001.0 (default: the recommended).",
    )
    parser.add_argument(
        "--link", action="store_true", help="Make hard links to the stored clips, not copies."
    )
    parser.add_argument(
        "--original",
        action="store_true",
        help="Copy clips as they are stored, lossless 4:4:4 (default: H.264 4:2:0, except native).",
    )
    parser.add_argument(
        "--names",
        choices=LORA_NAMES,
        help="The program whose names a LoRA's weights get (default: diffusers).",
    )
    parser.set_defaults(act=act)


def act(arguments: argparse.Namespace) -> int:
    """Export, and print what the format could not keep."""
    _refuse_what_does_not_belong(arguments)
    if arguments.format == PIPELINE:
        return _export_pipeline(arguments)
    if arguments.format == LORA:
        return _export_lora(arguments)
    if arguments.version is not None:
        raise ConfigError(
            f"--version: {arguments.format} holds labels, which have no version. Leave it out."
        )
    from dualipo.preferences.exporters.export import export_labels, read_source

    labels, store = read_source(arguments.source, round=arguments.round)
    outlet = export_labels(
        arguments.format,
        labels,
        store,
        output=arguments.output,
        link=arguments.link,
        original=arguments.original,
    )
    print(f"{arguments.output}: {arguments.format}\n{outlet.text()}")
    return 0


def _refuse_what_does_not_belong(arguments: argparse.Namespace) -> None:
    """Raise ConfigError where an option would have no effect."""
    is_lora, is_model = arguments.format == LORA, arguments.format in (PIPELINE, LORA)
    for option, given, fits in (
        ("--names", arguments.names is not None, is_lora),
        ("--original", arguments.original, not is_model),
        ("--link", arguments.link, not is_lora),
    ):
        if given and not fits:
            raise ConfigError(f"{option}: it has no effect on {arguments.format}. Leave it out.")


def _export_pipeline(arguments: argparse.Namespace) -> int:
    require_run(arguments.source)
    if arguments.round is not None:
        raise ConfigError(
            "--round: a pipeline is one version of the generator. Give --version, e.g. g001.0."
        )
    from dualipo.rounds import publishing

    version_id = publishing.export_pipeline(
        arguments.source, arguments.output, version_id=arguments.version, link=arguments.link
    )
    print(f"{arguments.output}: {version_id} as a pipeline. Its README.md says how to load it.")
    return 0


def _export_lora(arguments: argparse.Namespace) -> int:
    require_run(arguments.source)
    names = arguments.names or LORA_NAMES[0]
    if arguments.round is not None:
        raise ConfigError("--round: a LoRA is of one version. Give --version, e.g. g001.0.")
    from dualipo.rounds import publishing

    version_id = publishing.export_lora(
        arguments.source, arguments.output, version_id=arguments.version, names=names
    )
    print(f"{arguments.output}: the LoRA of {version_id} under the names of {names}.")
    return 0
