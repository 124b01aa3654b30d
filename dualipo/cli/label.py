"""`dualipo label RUN`: serve the labelling page, and give out what people answered.

Each person gets a link of their own. Questions are pairs (and single clips) of a round's
candidates, or of the clips that the seed is asked about (`--round -1`); `--next` asks first where
the critic was least certain. Answers stand in RUN/labels.sqlite, which the run itself never writes.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualipo.cli.show import require_run
from dualipo.errors import ConfigError, DataError
from dualipo.store.label_tables import BOOK

if TYPE_CHECKING:
    from dualipo.records import Candidate, Pair, Point
    from dualipo.store.labels import Item, LabelBook

INSTALL = 'The page needs more packages: `pip install -c constraints.txt ".[web]"`.'


def add(verbs: Any) -> None:
    """Declare the verb."""
    parser = verbs.add_parser(
        "label",
        help="serve the page on which people compare clips",
        description="Serve the labelling page of a run and print each person's link.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="a run directory, e.g. runs/quick")
    asked = parser.add_argument_group("what is asked")
    asked.add_argument("--round", type=int, help="default: the newest; -1: the seed's clips")
    asked.add_argument("--num-pairs", type=int, default=200, help="default: %(default)s")
    asked.add_argument("--num-points", type=int, default=0, help="single clips; default: 0")
    asked.add_argument(
        "--next", action="store_true", help="ask first where the critic was least certain"
    )
    asked.add_argument(
        "--double", type=float, default=0.2, help="share asked of two people; default: %(default)s"
    )
    asked.add_argument(
        "--gold", type=Path, help="labels with known answers (what --export writes), mixed in"
    )
    add_people(parser)
    add_serving(parser)
    parser.add_argument(
        "--export", type=Path, metavar="FILE.jsonl", help="write the labels and end"
    )
    parser.set_defaults(act=act)


def add_people(parser: argparse.ArgumentParser) -> None:
    """Who is asked and how they are checked; also used by `dualipo study`."""
    people = parser.add_argument_group("people")
    people.add_argument(
        "--invite", nargs="+", metavar="NAME", help="print a link for each; default: you"
    )
    people.add_argument("--revoke", nargs="+", metavar="NAME", help="make a person's links void")
    people.add_argument(
        "--repeats", type=float, default=0.1, help="share asked again; default: %(default)s"
    )
    people.add_argument("--break-minutes", type=int, default=25, help="0: no reminder")


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Where a page is served; also used by `dualipo study`."""
    where = parser.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="default: %(default)s, nobody else's")
    where.add_argument("--port", type=int, default=8765, help="default: %(default)s; 0: any")
    where.add_argument(
        "--allow-host", nargs="+", default=[], metavar="NAME", help="other names of this server"
    )
    where.add_argument("--no-serve", action="store_true", help="print the links and end")


def act(arguments: argparse.Namespace) -> int:
    """Prepare the questions, print the links, serve; or export."""
    require_run(arguments.run)
    if arguments.export:
        return export(arguments.run / BOOK, arguments.export)
    require_web()
    from dualipo.store.labels import LabelBook

    _require_share("double", arguments.double)
    book = LabelBook(arguments.run / BOOK)
    try:
        num_new = book.add_items(questions(arguments, seed=book.seed))
        print(f"{book.num_items()} questions, {num_new} of them new")
        return open_page(arguments, book)
    finally:
        book.close()


def require_web() -> None:
    """Say what to install where the page's packages are missing."""
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as missing:
        raise ConfigError(f"{missing.name}: not installed. {INSTALL}") from None


def open_page(arguments: argparse.Namespace, book: "LabelBook") -> int:
    """Print the links of those invited and serve until stopped."""
    from dualipo.preferences.queue import Mix
    from dualipo.store.clips import ClipStore
    from dualipo.web import server
    from dualipo.web.labelling_page import Desk, create_app
    from dualipo.web.security import LOOPBACK

    _require_share("repeats", arguments.repeats)
    for name in arguments.revoke or []:
        print(f"{name}: {book.revoke(name)} links are void now")
    desk = Desk(
        book=book,
        clip_store=ClipStore(arguments.run / "clips"),
        title=arguments.run.resolve().name,
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
        print("Ctrl-C ends the server; every answer is on disk already.", flush=True)
        server.serve(create_app(desk), listening)
    return 0


def questions(arguments: argparse.Namespace, *, seed: int) -> list["Item"]:
    """The items that the arguments ask for."""
    from dualipo.preferences import queue

    candidates = read_candidates(arguments.run, arguments.round)
    if arguments.next:
        pairs = _uncertain(arguments, candidates)[: arguments.num_pairs]
    else:
        pairs = queue.pair_items(candidates, num=arguments.num_pairs, seed=seed)
    points = queue.point_items(candidates, num=arguments.num_points, seed=seed)
    asked = queue.with_double([*pairs, *points], share=arguments.double, seed=seed)
    if not asked:
        raise DataError(
            f"{arguments.run}: nothing to ask. Raise --num-pairs or --num-points, or name another "
            "--round."
        )
    gold = queue.gold_items(read_records(arguments.gold)) if arguments.gold else []
    return [*asked, *gold]


def _uncertain(arguments: argparse.Namespace, candidates: Sequence["Candidate"]) -> list["Item"]:
    from dualipo.preferences import queue
    from dualipo.store.ledger import Ledger

    ledger = Ledger(arguments.run / "ledger.sqlite", read_only=True)
    try:
        round = candidates[0].round if candidates else -1
        votes = [ledger.votes(round, attempt, "pair") for attempt in (1, 0)]
    finally:
        ledger.close()
    items = queue.uncertain_items(candidates, next((some for some in votes if some), []))
    if not items:
        raise DataError(
            f"{arguments.run}: the critic has not compared clips of round {round} yet, so nobody "
            f"knows where it is uncertain. Run `dualipo judge {arguments.run}` first, or leave "
            "--next out."
        )
    return items


def read_candidates(run: Path, round: int | None) -> list["Candidate"]:
    """The clips of a round, or of the seed; clips that measure a run are never asked about."""
    from dualipo.records import Candidate
    from dualipo.store import tables

    seed = run / "rounds" / "base" / "attempt-0" / "seed.parquet"
    rounds = sorted((run / "rounds").glob("[0-9]*/candidates.parquet"))
    paths = {int(path.parent.name): path for path in rounds} | {-1: seed}
    here = max(number for number, path in paths.items() if path.is_file() or number == -1)
    path = paths.get(here if round is None else round)
    if path is None or not path.is_file():
        wanted = "" if round is None else f" of round {round}"
        raise DataError(
            f"{run}: no clips{wanted} yet. Run `dualipo sample {run}` first; there are rounds "
            f"{', '.join(str(number) for number in sorted(paths)) or 'none'} (-1: the seed)."
        )
    return tables.read_records(path, record_type=Candidate)


def export(book: Path, target: Path) -> int:
    """Write every label that people gave as native records, one JSON object a line."""
    from dualipo.store import atomic
    from dualipo.store.label_records import read_labels

    pairs, points = read_labels(book)
    lines = [
        json.dumps(row, ensure_ascii=False) for row in (*map(asdict, pairs), *map(asdict, points))
    ]
    atomic.write_text(target, "".join(f"{line}\n" for line in lines))
    print(f"{target}: {len(pairs)} pairs, {len(points)} points")
    return 0


def read_records(path: Path) -> list["Pair | Point"]:
    """Read what `export` wrote; a line that does not fit is named (fault 39)."""
    from dualipo.records import Pair, Point

    if not path.is_file():
        raise DataError(f"{path}: no such file. Give the labels that `--export` wrote.")
    found: list[Pair | Point] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            found.append(Pair(**row) if "pair_id" in row else Point(**row))
        except (ValueError, TypeError) as broken:
            raise DataError(f"{path}, line {number}: {broken}. Mend or drop that line.") from None
    return found


def _require_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise ConfigError(f"--{name}: {share} is no share from 0 to 1. Give one.")
