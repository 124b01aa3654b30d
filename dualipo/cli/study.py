"""`dualipo study size | ask | result`: a blind comparison of generators by people.

Decide with `size` how many prompts the study takes, serve the page with `ask`, and read `result` at
the end: a table on the screen, and `result.json` and `result.html` in RUN/study. One may look
earlier, but a study that is stopped when its numbers please has intervals that lie.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualipo.cli import label
from dualipo.cli.verbs import add_verb, positive
from dualipo.errors import ConfigError, DataError
from dualipo.store import atomic
from dualipo.store.label_tables import BOOK

if TYPE_CHECKING:
    from dualipo.evaluation.study.study_items import Clip

FOLDER = "study"


def add(verbs: Any) -> None:
    """Declare the verb and its three parts."""
    parser = add_verb(
        verbs,
        "study",
        "Let people compare generators without knowing which is which. A study has three parts: "
        "size, ask, result.",
    )
    parts = parser.add_subparsers(metavar="PART", required=True)
    _add_size(parts)
    _add_ask(parts)
    result = add_verb(parts, "result", "Print the result and write its page.")
    result.add_argument("run", type=Path, help="The folder that `study ask` was given.")
    result.set_defaults(act=act_result)


def _add_size(parts: Any) -> None:
    size = add_verb(parts, "size", "Calculate how many prompts a study needs.")
    size.add_argument(
        "--win-rate",
        type=float,
        required=True,
        help="The win rate that the study has to notice; closer to 0.5 takes more prompts.",
    )
    size.add_argument(
        "--ties",
        type=float,
        default=0.2,
        help="The share of answers that are ties (default: %(default)s).",
    )
    size.add_argument(
        "--answers-per-prompt",
        type=positive,
        default=3,
        help="The number of answers about each prompt (default: %(default)s).",
    )
    size.add_argument(
        "--likeness",
        type=float,
        default=0.3,
        help="The correlation of answers about one prompt (default: %(default)s).",
    )
    size.add_argument(
        "--power",
        type=float,
        default=0.8,
        help="The share of such studies that notice it (default: %(default)s).",
    )
    size.set_defaults(act=act_size)


def _add_ask(parts: Any) -> None:
    ask = add_verb(parts, "ask", "Serve the page of a study and print people's links.")
    ask.add_argument(
        "run", type=Path, help="The folder of a run, or any folder where --manifest is given."
    )
    ask.add_argument(
        "--generators",
        nargs="+",
        metavar="VERSION",
        help="The versions of the run's generator, e.g. base g002.0; or, with a folder that is no "
        "run, versions of several runs, e.g. runs/a:base runs/b:g002.0.",
    )
    ask.add_argument(
        "--manifest",
        type=Path,
        help="A file of clips made elsewhere: JSON lines with generator, prompt, seed and video.",
    )
    ask.add_argument(
        "--clips",
        choices=("test", "monitor"),
        default="test",
        help="The run's fixed clips that are compared: of its test or its monitor prompts "
        "(default: %(default)s).",
    )
    ask.add_argument("--num-prompts", type=positive, help="The number of prompts (default: all).")
    ask.add_argument(
        "--answers",
        type=positive,
        default=1,
        help="The number of people who are asked about each pair (default: %(default)s).",
    )
    label.add_people(ask)
    label.add_serving(ask)
    ask.set_defaults(act=act_ask)


def act_size(arguments: argparse.Namespace) -> int:
    """Print the number of prompts."""
    from dualipo.evaluation.study.study_size import smallest_study

    size = smallest_study(
        arguments.win_rate,
        ties=arguments.ties,
        answers_per_prompt=arguments.answers_per_prompt,
        likeness=arguments.likeness,
        power=arguments.power,
    )
    print(
        f"{size.num_prompts} prompts with {size.num_answers} answers in each dimension are enough "
        f"to notice a win rate of {arguments.win_rate} in {arguments.power:.0%} of such studies."
    )
    return 0


def act_ask(arguments: argparse.Namespace) -> int:
    """Prepare the comparisons and serve them."""
    label.require_web()
    from dataclasses import replace

    from dualipo.config import WORLD
    from dualipo.evaluation.study import study_items
    from dualipo.records import OVERALL
    from dualipo.store import rundir
    from dualipo.store.labels import LabelBook
    from dualipo.store.run_reader import RunReader

    clips = _clips(arguments)
    is_run = (arguments.run / rundir.MARKER).is_file()
    asked = RunReader(arguments.run).questions if is_run else WORLD
    book = LabelBook(_book(arguments.run), dimensions=(*asked.names, OVERALL))
    try:
        chosen = study_items.items(clips, num_prompts=arguments.num_prompts, seed=book.seed)
        book.add_items([replace(item, num_wanted=arguments.answers) for item in chosen])
        print(f"{book.num_items()} pairs, each in {len(book.dimensions)} dimensions.")
        return label.open_page(arguments, book, asked)
    finally:
        book.close()


def act_result(arguments: argparse.Namespace) -> int:
    """Print the table, and write result.json and result.html."""
    path = _book(arguments.run)
    if not path.is_file():
        raise DataError(f"{path}: there is no study yet. Begin one with `dualipo study ask`.")
    from dualipo.evaluation.study import study_page, win_rates
    from dualipo.store.label_records import answers
    from dualipo.store.labels import LabelBook

    book = LabelBook(path, read_only=True)
    try:
        rates = win_rates.evaluate(answers(book), dimensions=book.dimensions)
    finally:
        book.close()
    atomic.write_json(path.with_name("result.json"), study_page.as_json(rates))
    title = arguments.run.resolve().name
    atomic.write_text(path.with_name("result.html"), study_page.build(rates, title=title))
    print(study_page.table(rates))
    print(path.with_name("result.html"))
    return 0


def _clips(arguments: argparse.Namespace) -> list["Clip"]:
    from dualipo.cli.show import require_run
    from dualipo.evaluation.study import study_items
    from dualipo.store.clips import ClipStore

    if arguments.manifest:
        return study_items.of_manifest(arguments.manifest, ClipStore(arguments.run / "clips"))
    named = arguments.generators or []
    is_across_runs = bool(named) and all(":" in name for name in named)
    if not is_across_runs:
        require_run(arguments.run)
    if len(set(named)) < 2:
        raise ConfigError(
            "--generators: a study compares two or more versions. Name them, e.g. base g000.0."
        )
    if is_across_runs:
        return _clips_of_runs(arguments)
    return study_items.of_run(arguments.run, named, name=arguments.clips)


def _clips_of_runs(arguments: argparse.Namespace) -> list["Clip"]:
    """Copy the clips of several runs into the study's own folder."""
    from dualipo.evaluation.study import study_items
    from dualipo.store.clips import ClipStore
    from dualipo.store.rundir import MARKER, require_run

    if (arguments.run / MARKER).is_file():
        raise ConfigError(
            f"{arguments.run}: it is a run, which removes clips that are not its own. Name a "
            "folder for the study instead, e.g. studies/mine."
        )
    parts = [name.rpartition(":") for name in arguments.generators]
    named = [(Path(run), version) for run, _, version in parts]
    for run, _ in named:
        require_run(run)
    store = ClipStore(arguments.run / "clips")
    return study_items.of_runs(named, store, name=arguments.clips)


def _book(run: Path) -> Path:
    return run / FOLDER / BOOK
