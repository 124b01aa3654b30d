"""`dualipo label RUN`: serve the labelling page, and export what people answered.

Each person gets a link of their own. Questions are pairs and single clips of a round's candidates,
or of the seed's clips (`--round -1`); `--next` asks first where the critic was least certain.
Answers are kept in RUN/labels.sqlite, which the run itself never writes.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualipo import text_files
from dualipo.cli.show import require_run
from dualipo.cli.verbs import add_port, add_run, add_verb
from dualipo.config import Questions
from dualipo.errors import ConfigError, DataError
from dualipo.store.label_tables import BOOK

if TYPE_CHECKING:
    from dualipo.records import Candidate, Pair, Point
    from dualipo.store.labels import LabelBook, LabelItem

INSTALL = 'The page needs more packages. Run `pip install -c constraints.txt ".[web]"`.'


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = add_verb(
        verbs,
        "label",
        "Serve the page on which people compare a run's clips. Each person gets a link.",
    )
    add_run(parser)
    parser.add_argument(
        "--export", type=Path, metavar="FILE.jsonl", help="Write the labels to a file, and end."
    )
    _add_questions(parser)
    add_people(parser)
    add_serving(parser)
    parser.set_defaults(act=act)


def _add_questions(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the questions."""
    asked = parser.add_argument_group("what is asked")
    asked.add_argument(
        "--round",
        type=int,
        help="The round whose clips are shown, or -1 for the seed's (default: the newest).",
    )
    asked.add_argument(
        "--audit",
        type=int,
        metavar="ROUND",
        help="Ask what the run waits for in this round, which only measures unless the recipe says "
        "otherwise; the other options of this group have no effect then.",
    )
    asked.add_argument(
        "--num-pairs", type=int, default=200, help="The number of pairs (default: %(default)s)."
    )
    asked.add_argument(
        "--num-points",
        type=int,
        default=0,
        help="The number of single clips (default: %(default)s).",
    )
    asked.add_argument(
        "--next", action="store_true", help="Ask first where the critic was least certain."
    )
    asked.add_argument(
        "--double",
        type=float,
        default=0.2,
        help="The share of questions that two people are asked (default: %(default)s).",
    )
    asked.add_argument(
        "--gold",
        type=Path,
        help="A file that --export wrote, whose known answers are mixed in as a check.",
    )


def add_people(parser: argparse.ArgumentParser) -> None:
    """Add the options on who is asked and how people are checked; `dualipo study` has them too."""
    people = parser.add_argument_group("people")
    people.add_argument(
        "--invite", nargs="+", metavar="NAME", help="Print a link for each NAME (default: you)."
    )
    people.add_argument(
        "--revoke", nargs="+", metavar="NAME", help="Make the links of each NAME void."
    )
    people.add_argument(
        "--repeats",
        type=float,
        default=0.1,
        help="The share of questions that a person is asked again (default: %(default)s).",
    )
    people.add_argument(
        "--break-minutes",
        type=int,
        default=25,
        help="Suggest a break after so many minutes, 0 for never (default: %(default)s).",
    )


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Add the options on where a page is served; `dualipo study` has them too."""
    serving = parser.add_argument_group("where the page is served")
    serving.add_argument(
        "--host",
        default="127.0.0.1",
        help="The address to listen on (default: %(default)s, which only this machine reaches).",
    )
    add_port(serving, default=8765)
    serving.add_argument(
        "--allow-host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="Names under which other machines reach this server.",
    )
    serving.add_argument("--no-serve", action="store_true", help="Print the links, and end.")


def act(arguments: argparse.Namespace) -> int:
    """Prepare the questions, print the links and serve the page; or export the labels."""
    require_run(arguments.run)
    if arguments.export:
        return export(arguments.run / BOOK, arguments.export)
    require_web()
    from dualipo.store import audit_questions
    from dualipo.store.labels import LabelBook
    from dualipo.store.run_reader import RunReader

    _require_share("double", arguments.double)
    audit, asked = arguments.audit, RunReader(arguments.run).questions
    items = None if audit is None else audit_questions.read(arguments.run, audit)
    name = BOOK if audit is None else audit_questions.BOOK
    book = LabelBook(arguments.run / name, dimensions=asked.names)
    try:
        num_new = book.add_items(items or questions(arguments, seed=book.seed))
        print(f"{book.num_items()} questions, {num_new} of them new.")
        return open_page(arguments, book, asked)
    finally:
        book.close()


def require_web() -> None:
    """Raise ConfigError, which says what to install, where the page's packages are missing."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as missing:
        raise ConfigError(f"{missing.name}: it is not installed. {INSTALL}") from None


def open_page(arguments: argparse.Namespace, book: "LabelBook", asked: Questions) -> int:
    """Print the links of the people invited, and serve the page until it is stopped."""
    from dualipo.preferences.label_queue import Mix
    from dualipo.store.clips import ClipStore
    from dualipo.web import server
    from dualipo.web.labelling_page import Desk, create_app
    from dualipo.web.security import LOOPBACK

    _require_share("repeats", arguments.repeats)
    for name in arguments.revoke or []:
        print(f"{name}: {book.revoke(name)} links are void now.")
    desk = Desk(
        book=book,
        clip_store=ClipStore(arguments.run / "clips"),
        title=arguments.run.resolve().name,
        questions=asked,
        hosts=frozenset({*LOOPBACK, arguments.host, *arguments.allow_host}),
        mix=Mix(repeats=arguments.repeats),
        break_minutes=arguments.break_minutes,
    )
    listening = None if arguments.no_serve else server.listen(arguments.host, arguments.port)
    host = arguments.allow_host[0] if arguments.allow_host else arguments.host
    base = server.address(listening, host) if listening else f"http://{host}:{arguments.port}"
    for name in arguments.invite or [os.environ.get("USER") or "annotator"]:
        print(f"{name}: {base}/join#{book.invite(name)}", flush=True)
    if listening is not None:
        print(f"organiser: {base}/join#{desk.organiser_token}", flush=True)
        print("Ctrl-C ends the page. Every answer is on disk already.", flush=True)
        server.serve(create_app(desk), listening)
    return 0


def questions(arguments: argparse.Namespace, *, seed: int) -> list["LabelItem"]:
    """Return the items that the arguments ask for."""
    from dualipo.preferences import label_queue

    candidates = read_candidates(arguments.run, arguments.round)
    if arguments.next:
        pairs = _uncertain(arguments, candidates)[: arguments.num_pairs]
    else:
        pairs = label_queue.pair_items(candidates, num=arguments.num_pairs, seed=seed)
    points = label_queue.point_items(candidates, num=arguments.num_points, seed=seed)
    asked = label_queue.with_double([*pairs, *points], share=arguments.double, seed=seed)
    if not asked:
        raise DataError(
            f"{arguments.run}: there is nothing to ask. Raise --num-pairs or --num-points, or name "
            "another --round."
        )
    gold = label_queue.gold_items(read_records(arguments.gold)) if arguments.gold else []
    return [*asked, *gold]


def _uncertain(
    arguments: argparse.Namespace, candidates: Sequence["Candidate"]
) -> list["LabelItem"]:
    """Return the pairs that the critic compared, the least certain first."""
    from dualipo.preferences import label_queue
    from dualipo.store.run_reader import RunReader

    run = RunReader(arguments.run)
    round = candidates[0].round if candidates else -1
    # The second attempt's votes are the newer ones, where there was one.
    votes = run.attempt_votes(round, 1, "pair") or run.attempt_votes(round, 0, "pair")
    items = label_queue.uncertain_items(candidates, votes)
    if not items:
        raise DataError(
            f"{arguments.run}: the critic has not compared clips of round {round} yet, so nobody "
            f"knows where it is uncertain. Run `dualipo judge {arguments.run}` first, or leave "
            "--next out."
        )
    return items


def read_candidates(run: Path, round: int | None) -> list["Candidate"]:
    """Read the clips of a round or of the seed; clips that measure a run are never asked about."""
    from dualipo.records import Candidate
    from dualipo.store import tables

    seed = run / "rounds" / "base" / "attempt-0" / "seed.parquet"
    rounds = sorted((run / "rounds").glob("[0-9]*/candidates.parquet"))
    paths = {int(path.parent.name): path for path in rounds} | {-1: seed}
    newest = max(number for number, path in paths.items() if path.is_file() or number == -1)
    path = paths.get(newest if round is None else round)
    if path is None or not path.is_file():
        wanted = "" if round is None else f" of round {round}"
        raise DataError(
            f"{run}: there are no clips{wanted} yet. Run `dualipo sample {run}` first, or name one "
            f"of the rounds {', '.join(str(number) for number in sorted(paths))} (-1 is the seed)."
        )
    return tables.read_records(path, record_type=Candidate)


def export(book: Path, target: Path) -> int:
    """Write every label that people gave as native records, one JSON object a line."""
    from dualipo.store import atomic
    from dualipo.store.label_records import read_answers, records

    standing = read_answers(book)
    pairs, points = records(standing)
    lines = [
        json.dumps(row, ensure_ascii=False) for row in (*map(asdict, pairs), *map(asdict, points))
    ]
    atomic.write_text(target, "".join(f"{line}\n" for line in lines))
    num_tests = sum(answer.is_test for answer in standing)
    num_empty = len(standing) - num_tests - len(lines)
    left_out = [
        *([f"{num_tests} answers that measured the annotator"] if num_tests else []),
        *([f"{num_empty} points without a grade"] if num_empty else []),
    ]
    and_left_out = f"; left out: {', '.join(left_out)}" if left_out else ""
    print(f"{target}: {len(pairs)} pairs, {len(points)} points{and_left_out}")
    return 0


def read_records(path: Path) -> list["Pair | Point"]:
    """Read what `export` wrote; a line that does not fit is named (fault 39)."""
    from dualipo.records import Pair, Point

    if not path.is_file():
        raise DataError(f"{path}: there is no such file. Give the labels that `--export` wrote.")
    labels: list[Pair | Point] = []
    for number, row in text_files.json_lines(path):
        try:
            if isinstance(row, text_files.Unreadable):
                raise row
            labels.append(Pair(**row) if "pair_id" in row else Point(**row))
        except (ValueError, TypeError) as broken:
            raise DataError(
                f"{path}:{number}: it is no label ({broken}). Correct or remove that line."
            ) from None
    return labels


def _require_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ConfigError(f"--{name}: {share} is no share. Give a number from 0 to less than 1.")
