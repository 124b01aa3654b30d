"""`dualipo study size | ask | result`: a blind comparison of generators by people.

Decide with `size` how many prompts it takes, serve the page with `ask`, read `result` at the end:
a table on the screen, `result.json` and `result.html` in RUN/study. Looking earlier is possible,
but stopping when the numbers please makes the intervals lie.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualipo.cli import label
from dualipo.errors import ConfigError, DataError
from dualipo.store import atomic
from dualipo.store.label_tables import BOOK

if TYPE_CHECKING:
    from dualipo.evaluation.study.study_items import Clip

FOLDER = "study"


def add(verbs: Any) -> None:
    """Declare the verb and its three parts."""
    parser = verbs.add_parser("study", help="let people compare generators blindly")
    parts = parser.add_subparsers(metavar="PART", required=True)
    _add_size(parts)
    ask = parts.add_parser(
        "ask", help="serve the page and print people's links", allow_abbrev=False
    )
    ask.add_argument("run", type=Path, help="a run directory, or any folder with --manifest")
    ask.add_argument(
        "--generators", nargs="+", metavar="VERSION", help="of the run, e.g. base g002.0"
    )
    ask.add_argument("--manifest", type=Path, help="JSON lines: generator, prompt, seed, video")
    ask.add_argument("--num-prompts", type=int, help="default: all")
    ask.add_argument(
        "--answers", type=int, default=1, help="people asked about each pair; default: 1"
    )
    label.add_people(ask)
    label.add_serving(ask)
    ask.set_defaults(act=act_ask)
    result = parts.add_parser("result", help="print the result and write its page")
    result.add_argument("run", type=Path, help="the folder that `ask` was given")
    result.set_defaults(act=act_result)


def _add_size(parts: Any) -> None:
    size = parts.add_parser("size", help="how many prompts a study needs", allow_abbrev=False)
    size.add_argument("--win-rate", type=float, required=True, help="the smallest that matters")
    size.add_argument("--ties", type=float, default=0.2, help="default: %(default)s")
    size.add_argument("--answers-per-prompt", type=int, default=3, help="default: %(default)s")
    size.add_argument(
        "--likeness", type=float, default=0.3, help="of answers about one prompt; default: 0.3"
    )
    size.add_argument("--power", type=float, default=0.8, help="default: %(default)s")
    size.set_defaults(act=act_size)


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
        f"{size.num_prompts} prompts, {size.num_answers} answers in each dimension: enough to see "
        f"a win rate of {arguments.win_rate} in {arguments.power:.0%} of such studies"
    )
    return 0


def act_ask(arguments: argparse.Namespace) -> int:
    """Prepare the comparisons and serve them."""
    label.require_web()
    from dataclasses import replace

    from dualipo.evaluation.study import study_items
    from dualipo.store.labels import LabelBook

    clips = _clips(arguments)
    book = LabelBook(_book(arguments.run), dimensions=study_items.DIMENSIONS)
    try:
        chosen = study_items.items(clips, num_prompts=arguments.num_prompts, seed=book.seed)
        book.add_items([replace(item, num_wanted=arguments.answers) for item in chosen])
        print(f"{book.num_items()} pairs, each in {len(book.dimensions)} dimensions")
        return label.open_page(arguments, book)
    finally:
        book.close()


def act_result(arguments: argparse.Namespace) -> int:
    """Print the table; publish result.json and result.html."""
    path = _book(arguments.run)
    if not path.is_file():
        raise DataError(f"{path}: no study yet. Begin one with `dualipo study ask`.")
    from dualipo.evaluation.study import study_page, win_rates
    from dualipo.store.label_records import answers
    from dualipo.store.labels import LabelBook

    book = LabelBook(path)
    try:
        found = win_rates.evaluate(answers(book), dimensions=book.dimensions)
    finally:
        book.close()
    atomic.write_json(path.with_name("result.json"), study_page.as_json(found))
    title = arguments.run.resolve().name
    atomic.write_text(path.with_name("result.html"), study_page.build(found, title=title))
    print(study_page.table(found))
    print(path.with_name("result.html"))
    return 0


def _clips(arguments: argparse.Namespace) -> list["Clip"]:
    from dualipo.cli.show import require_run
    from dualipo.evaluation.study import study_items
    from dualipo.store.clips import ClipStore

    if arguments.manifest:
        return study_items.of_manifest(arguments.manifest, ClipStore(arguments.run / "clips"))
    require_run(arguments.run)
    if not arguments.generators or len(set(arguments.generators)) < 2:
        raise ConfigError("--generators: name two or more versions, e.g. base g000.0.")
    return study_items.of_run(arguments.run, arguments.generators)


def _book(run: Path) -> Path:
    return run / FOLDER / BOOK
