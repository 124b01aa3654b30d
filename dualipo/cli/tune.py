"""`dualipo tune PREFERENCES --generator DIR --output OUT`: align on preferences that exist.

PREFERENCES is a label set, the folder of a run or its round (`RUN#1`), a folder with `winner/` and
`loser/`, or any file or folder that `dualipo import` reads. No critic, no rounds: the generator is
aligned once, and a part of the preferences is held out to say what carries over.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualipo import config, recipes
from dualipo.cli.importing import FORMATS, add_reading, reading_options, root_of
from dualipo.cli.terminal import counting_rows, watching
from dualipo.cli.verbs import add_verb
from dualipo.errors import ConfigError
from dualipo.store import rundir

if TYPE_CHECKING:
    from dualipo.config import Config
    from dualipo.preferences.trainable import Trainable
    from dualipo.rounds.tuning import Source

_DESCRIPTION = (
    "Align a generator on preferences that exist. It takes neither a critic nor rounds. The same "
    "command again resumes the tuning where it stopped."
)
ENCODINGS = "encodings"  # beside the tunings that share it
# The settings that a tuning reads.
_OWN = ("align.", "generator.", "seed", "report_to", "logging_dir")


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "tune",
        _DESCRIPTION,
        epilog="`dualipo settings align` explains the keys; docs/tune.md tells more.",
    )
    parser.add_argument(
        "preferences",
        help="A label set, a run, a run's round (RUN#1), a folder with winner/ and loser/, or a "
        "file or folder that `dualipo import` reads.",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="Set align.*, generator.* or seed, e.g. align.beta_dpo=3000 align.rank=64.",
    )
    parser.add_argument(
        "--generator", help="The pipeline's folder (default: the recipe's, or the embedded one)."
    )
    parser.add_argument("--output", required=True, help="The folder of the tuning.")
    parser.add_argument(
        "--recipe", type=Path, help="A recipe whose settings of generator and align to take."
    )
    parser.add_argument(
        "--validation-prompt",
        action="append",
        default=[],
        metavar="CAPTION",
        help="A caption to make clips of before and after, with the same seed; may be repeated.",
    )
    parser.add_argument(
        "--encodings",
        type=Path,
        help="The folder of encoded clips, which tunings share (default: beside the output).",
    )
    _add_formats(parser)
    parser.set_defaults(act=act)


def _add_formats(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=FORMATS, metavar="FORMAT", help="The format (default: by the columns)."
    )
    add_reading(parser)
    parser.add_argument(
        "--only",
        metavar="DIMENSION",
        help="Learn from labels of this dimension alone (default: all of them together).",
    )


def act(arguments: argparse.Namespace) -> int:
    """Read the preferences, tune, and say what came of it."""
    flat = _flat(arguments)
    # How many are held out by default is known once the preferences are read.
    settings = _resolved({"align.num_holdout": 1} | flat)
    from dualipo.preferences import trainable
    from dualipo.rounds import preflight, tuning  # import torch: only after the settings are read

    preflight.require_tuning(settings, known=list(_absent(arguments.preferences)))
    source = _source(arguments)
    items = trainable.read(
        source.labels, loss_type=settings.align.loss_type, dimension=arguments.only
    )
    if "align.num_holdout" not in flat:
        flat["align.num_holdout"] = tuning.default_holdout(len(items.items))
    settings = _resolved(flat)
    request = tuning.Request(arguments.validation_prompt, _encodings(arguments), arguments.command)
    print(_intention(source, items, settings), flush=True)
    with watching() as progress:
        path = tuning.tune(settings, source, items, request, progress)
    from dualipo.evaluation import tunings

    print(tunings.text(path))
    return 0


def _flat(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the tuning's settings by key: the recipe's, the user's, and those that follow."""
    tree: dict[str, Any] = {}
    for override in arguments.overrides:
        recipes.apply(tree, override)
    given = recipes.flat(tree)
    if strange := [key for key in given if not key.startswith(_OWN)]:
        raise ConfigError(
            f"{', '.join(strange)}: a tuning has no critic and no rounds, so it reads align.*, "
            "generator.* and seed alone. Leave out the others."
        )
    of_recipe = recipes.flat(recipes.read(arguments.recipe)) if arguments.recipe else {}
    flat = {key: value for key, value in of_recipe.items() if key.startswith(_OWN)} | given
    if arguments.generator:
        flat["generator.pretrained_model_name_or_path"] = arguments.generator
    prompts = list(dict.fromkeys(arguments.validation_prompt))
    return flat | {
        "output_dir": arguments.output,
        "rounds": 1,
        "prompts.source": "file",
        "prompts.path": arguments.preferences,
        "prompts.num_test_prompts": len(prompts),
        "monitor.num_gallery_prompts": len(prompts),
    }


def _resolved(flat: dict[str, Any]) -> "Config":
    return config.resolve(recipes.nested(flat), subject="dualipo tune")


def _absent(preferences: str) -> Iterator[ConfigError]:
    """Yield an error where there are no such preferences."""
    folder, _, _ = preferences.rpartition("#")
    if not any(Path(name).expanduser().exists() for name in (preferences, folder) if name):
        yield ConfigError(f"{preferences}: there is nothing. Name a file or folder of preferences.")


def _source(arguments: argparse.Namespace) -> "Source":
    """Read the labels that PREFERENCES names; import them first where they are another's."""
    from dualipo.preferences import label_set
    from dualipo.preferences.exporters import export
    from dualipo.rounds.tuning import Source

    name = arguments.preferences
    folder, mark, number = name.rpartition("#")
    if mark and (Path(folder) / rundir.MARKER).is_file():
        if not number.isdecimal():
            raise ConfigError(f"{name}: {number!r} is no round. Write RUN#0 for the first round.")
        return Source(name, *export.read_source(Path(folder), round=int(number)))
    path = Path(name).expanduser()
    is_label_set = (path / label_set.MANIFEST).is_file() or path.suffix == ".sqlite"
    if is_label_set or (path / rundir.MARKER).is_file():
        return Source(name, *export.read_source(path))
    imported = _imported(arguments, path)
    return Source(name, label_set.read(imported), label_set.clip_store(imported))


def _imported(arguments: argparse.Namespace, path: Path) -> Path:
    """Import a file or folder into a label set beside the encodings, once; return the set."""
    from dualipo.preferences import label_set
    from dualipo.preferences.importers import guess
    from dualipo.preferences.importers.load import identity, import_labels
    from dualipo.seeds import derive

    name = arguments.format or guess.format_of(path, is_mapped=bool(arguments.map))
    options = reading_options(arguments)
    root = arguments.root or root_of(path)
    read = (name, str(path.resolve()), identity(path), str(root.resolve()), repr(options))
    output = _encodings(arguments) / f"labels-{derive(*read):016x}"
    is_whole = (output / label_set.MANIFEST).is_file()
    if is_whole and label_set.read_manifest(output)["imports"]:
        return output
    with counting_rows() as on_row:
        report = import_labels(
            name, [path], root=root, output=output, options=options, on_row=on_row
        )
    print(report.text())
    return output


def _encodings(arguments: argparse.Namespace) -> Path:
    given: Path | None = arguments.encodings
    return given or Path(arguments.output).parent / ENCODINGS


def _intention(source: "Source", items: "Trainable", settings: "Config") -> str:
    """Say how many preferences there are, what was left out, and how many are held out."""
    kind = "pairs" if settings.align.loss_type == "dpo" else "labelled clips"
    dropped = [f"{num} {reason}" for reason, num in items.dropped.items()]
    left_out = f"; left out: {', '.join(dropped)}" if dropped else ""
    held = settings.align.num_holdout
    return (
        f"{source.name}: {len(items.items)} {kind} of {items.num_questions} questions{left_out}. "
        + (f"About {held} of them are held out." if held else "None of them is held out.")
    )
