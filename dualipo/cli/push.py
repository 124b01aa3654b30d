"""`dualipo push model | dataset`: publish a generator or labels on the Hugging Face Hub.

Only this command and `push_to_hub = true` send anything; the token is HF_TOKEN of the environment.
"""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dualipo.cli.show import require_run
from dualipo.errors import DataError

if TYPE_CHECKING:
    from dualipo.evaluation.share.hub import Files


def add(verbs: Any) -> None:
    """Declare the verb and its two parts."""
    parser = verbs.add_parser("push", help="publish a generator or labels on the Hub")
    parts = parser.add_subparsers(metavar="WHAT", required=True)
    model = parts.add_parser("model", help="a run's generator, with its card and recipe")
    model.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
    model.add_argument("repo", help="OWNER/NAME")
    model.add_argument("--version", help="e.g. g001.0 (default: the one that serves)")
    model.add_argument(
        "--pipeline", action="store_true", help="whole, with the base model's other parts"
    )
    model.set_defaults(act=push_model)
    data = parts.add_parser("dataset", help="labels with their clips, as a videofolder")
    data.add_argument("source", type=Path, help="a label set, a run, or its labels.sqlite")
    data.add_argument("repo", help="OWNER/NAME")
    data.add_argument("--round", type=int, help="of a run: that round's preferences")
    data.set_defaults(act=push_dataset)
    for part in (model, data):
        part.add_argument("--public", action="store_true", help="a new repository is private else")
        part.add_argument("--dry-run", action="store_true", help="print the card and the files")


def push_model(arguments: argparse.Namespace) -> int:
    """Publish a generator version."""
    require_run(arguments.run)
    if arguments.pipeline:
        from dualipo.rounds import publishing

        return _push(
            arguments, publishing.pipeline_files(arguments.run, arguments.version), "model"
        )
    from dualipo.evaluation.share import hub

    return _push(arguments, hub.model_files(arguments.run, arguments.version), "model")


def push_dataset(arguments: argparse.Namespace) -> int:
    """Export a videofolder beside the source, so that clips can be linked, and publish it."""
    from dualipo.preferences.exporters.card import card, nameless
    from dualipo.preferences.exporters.export import export, read_source
    from dualipo.store import atomic

    labels, store = read_source(arguments.source, round=arguments.round)
    labels = nameless(labels)
    beside = arguments.source if arguments.source.is_dir() else arguments.source.parent
    with tempfile.TemporaryDirectory(dir=beside, prefix=atomic.TEMPORARY_PREFIX) as temporary:
        folder = Path(temporary) / "videofolder"
        outlet = export("videofolder", labels, store, output=folder, link=True)
        if not outlet.num_rows:
            raise DataError(f"{arguments.source}: no label to publish.\n{outlet.text()}")
        inside = sorted(path for path in folder.rglob("*") if path.is_file())
        files: dict[str, Path | bytes] = {"README.md": card(labels, outlet).encode()}
        files |= {path.relative_to(folder).as_posix(): path for path in inside}
        return _push(arguments, files, "dataset")


def _push(arguments: argparse.Namespace, files: "Files", kind: Literal["model", "dataset"]) -> int:
    if arguments.dry_run:
        readme = files["README.md"]
        assert isinstance(readme, bytes)
        print(readme.decode())
        print("\n".join(name for name in files))
        return 0
    from dualipo.evaluation.share import hub

    print(hub.push(files, arguments.repo, kind=kind, is_public=arguments.public))
    return 0
