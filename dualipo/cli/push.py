"""`dualipo push model | dataset`: publish a generator or labels on the Hugging Face Hub.

Only this command and `push_to_hub = true` send anything. The token is HF_TOKEN of the environment.
"""

import argparse
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_run, add_verb
from dualipo.errors import DataError

if TYPE_CHECKING:
    from dualipo.evaluation.share.hub import Files


def add(verbs: Any) -> None:
    """Declare the verb and its two parts."""
    parser = add_verb(
        verbs,
        "push",
        "Publish a generator or labels on the Hugging Face Hub. The token is taken from the "
        "environment variable HF_TOKEN.",
    )
    parts = parser.add_subparsers(metavar="WHAT", required=True)
    model = add_verb(parts, "model", "Publish a run's generator with its card and its recipe.")
    add_run(model)
    model.add_argument("repo", help="The repository, as OWNER/NAME.")
    model.add_argument(
        "--version", help="The generator's version, e.g. g001.0 (default: the recommended)."
    )
    model.add_argument(
        "--pipeline",
        action="store_true",
        help="Publish a whole pipeline, with the base model's other parts.",
    )
    model.set_defaults(act=push_model)
    dataset = add_verb(parts, "dataset", "Publish labels with their clips as a videofolder.")
    dataset.add_argument(
        "source", type=Path, help="A label set, the folder of a run, or its labels.sqlite."
    )
    dataset.add_argument("repo", help="The repository, as OWNER/NAME.")
    dataset.add_argument(
        "--round", type=int, help="Publish the preferences of this round of the run."
    )
    dataset.set_defaults(act=push_dataset)
    for part in (model, dataset):
        part.add_argument(
            "--public", action="store_true", help="Make a new repository public, not private."
        )
        part.add_argument(
            "--dry-run", action="store_true", help="Print the card and the files, send nothing."
        )


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
    """Export a videofolder beside the source, where there is space for clips, and publish it."""
    from dualipo.preferences.exporters.card import nameless
    from dualipo.preferences.exporters.export import export_labels, read_source
    from dualipo.store import temporaries

    labels, store = read_source(arguments.source, round=arguments.round)
    labels = nameless(labels)
    beside = arguments.source if arguments.source.is_dir() else arguments.source.parent
    with tempfile.TemporaryDirectory(dir=beside, prefix=temporaries.prefix()) as temporary:
        folder = Path(temporary) / "videofolder"
        outlet = export_labels("videofolder", labels, store, output=folder)
        if not outlet.num_rows:
            raise DataError(f"{arguments.source}: it holds no label to publish.\n{outlet.text()}")
        inside = sorted(path for path in folder.rglob("*") if path.is_file())
        files: dict[str, Path | bytes] = {
            path.relative_to(folder).as_posix(): path for path in inside
        }
        files["README.md"] = (folder / "README.md").read_bytes()
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
