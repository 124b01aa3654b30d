"""One million captions composed and screened: seconds, memory, repeats, and what screening finds.

    python benchmarks/captions.py --against VBench_full_info.json
    python benchmarks/captions.py --num 20000 --output out

Each command runs in a process of its own, so that its time and its peak of memory are its own. Into
the composed captions go 50 near-copies of some of them (`near_copy` says how they differ) and 50
captions that hold an evaluation prompt. A false drop is a composed caption that screening drops
though it repeats no other word for word: it is a near-copy by chance, or overlaps with an
evaluation prompt by chance.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dualipo.captions import prompt_id
from dualipo.evaluation.report.report_tables import Table
from dualipo.prompts import caption_files, screened, shards
from dualipo.store import atomic

NUM_PLANTED = 50
SEED = 0


def _replace_word(words: list[str], rng: random.Random) -> None:
    words[rng.randrange(len(words))] = rng.choice(["golden", "quiet", "distant", "shining"])


def _drop_word(words: list[str], rng: random.Random) -> None:
    del words[rng.randrange(len(words))]


def _add_word(words: list[str], rng: random.Random) -> None:
    words.insert(rng.randrange(len(words)), rng.choice(["very", "slowly", "beautiful", "old"]))


def _mistype(words: list[str], rng: random.Random) -> None:
    place = max(range(len(words)), key=lambda n: (len(words[n]), rng.random()))
    word = words[place]
    words[place] = word[:2] + word[3:]


def _swap_words(words: list[str], rng: random.Random) -> None:
    place = rng.randrange(len(words) - 1)
    words[place : place + 2] = words[place + 1], words[place]


def _move_end(words: list[str], rng: random.Random) -> None:
    words[:0] = [words.pop(), words.pop()][::-1]


def _shout(words: list[str], rng: random.Random) -> None:
    words[:] = [word.upper().rstrip(".,:") for word in words]


EDITS: Mapping[str, Callable[[list[str], random.Random], None]] = {
    "a word replaced": _replace_word,
    "a word dropped": _drop_word,
    "a word added": _add_word,
    "a letter dropped": _mistype,
    "two words swapped": _swap_words,
    "the end moved to the front": _move_end,
    "other case and punctuation": _shout,
}


def near_copy(caption: str, edit: str, rng: random.Random) -> str:
    """Return a caption that differs from another one by a single edit."""
    words = caption.split()
    EDITS[edit](words, rng)
    return " ".join(words)


def run(*arguments: str) -> dict[str, float]:
    """Run a command of `dualipo captions`; return its seconds, and its peak memory in MB."""
    command = [sys.executable, "-m", "dualipo.cli.main", "captions", *arguments]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return {
        "seconds": time.perf_counter() - began,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_mb": used.ru_maxrss / 1024,
    }


def plant(composed: Path, folder: Path, prompts: Sequence[str]) -> dict[str, str]:
    """Put composed and planted captions into one folder; return the kind of each planted one."""
    rng = random.Random(SEED)
    paths = shards.files(composed)
    folder.mkdir()
    for path in paths:
        os.link(path, folder / path.name)
    rows = pq.read_table(rng.choice(paths)).to_pylist()
    edits = list(EDITS)
    planted = {
        near_copy(row["caption"], edits[n % len(edits)], rng): f"near-copy: {edits[n % len(edits)]}"
        for n, row in enumerate(rng.sample(rows, NUM_PLANTED))
    }
    long_enough = [prompt for prompt in prompts if len(prompt.split()) >= 5]
    for n, prompt in enumerate(rng.sample(long_enough, NUM_PLANTED)):
        other = rng.choice(rows)["caption"]
        planted[f"{other} {prompt}"] = "evaluation prompt"
        assert len(planted) == NUM_PLANTED + n + 1
    texts = list(planted)
    rng.shuffle(texts)
    columns = {
        "prompt_id": [prompt_id(text) for text in texts],
        "caption": texts,
        "source": ["planted"] * len(texts),
    }
    pq.write_table(pa.table(columns), folder / "planted.parquet")
    return planted


def compared(folder: Path, planted: Mapping[str, str], num: int) -> dict[str, Any]:
    """Compare what was dropped with what was planted."""
    dropped = pq.read_table(folder / screened.DROPPED).to_pylist()
    own = Counter(row["reason"] for row in dropped if row["source"] == "composed")
    caught = {row["caption"] for row in dropped if row["source"] == "planted"}
    numbers = {
        kind: [sum(text in caught for text, other in planted.items() if other == kind), number]
        for kind, number in Counter(planted.values()).items()
    }
    copies = [pair for kind, pair in numbers.items() if kind.startswith("near-copy")]
    false_drops = own.total() - own[REPEAT]
    return {
        "composed captions dropped": dict(own),
        "false drops": false_drops / num,
        "caught of planted": numbers,
        "recall of near-copies": sum(pair[0] for pair in copies) / sum(pair[1] for pair in copies),
        "recall of evaluation prompts": numbers["evaluation prompt"][0] / NUM_PLANTED,
    }


REPEAT = "a repeat"


def table(result: Mapping[str, Any]) -> str:
    """Format the result in markdown."""
    head = ["", "seconds", "of a processor", "peak memory"]
    rows = [
        [f"{name} {result['num']:,} captions", *(f"{result[name][key]:,.0f}" for key in _COSTS)]
        for name in ("compose", "screen")
    ]
    for row in rows:
        row[-1] += " MB"
    dropped = result["composed captions dropped"]
    numbers = ", ".join(f"{reason} {num:,}" for reason, num in sorted(dropped.items()))
    lines = [
        Table(head, rows).in_markdown(),
        "",
        f"Dropped of the composed captions: {numbers}. Without the repeats that is "
        f"{100 * result['false drops']:.2f} %. Of {NUM_PLANTED} planted near-copies "
        f"{100 * result['recall of near-copies']:.0f} % are found, of {NUM_PLANTED} captions with "
        f"an evaluation prompt {100 * result['recall of evaluation prompts']:.0f} %.",
    ]
    return "\n".join(lines)


_COSTS = ("seconds", "cpu_seconds", "peak_mb")


def main() -> None:
    """Compose, plant, screen; print the result and write it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num", type=int, default=1_000_000)
    parser.add_argument("--against", type=Path, help="Evaluation prompts (default: composed ones).")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        work = Path(name)
        against = arguments.against or work / "prompts"
        if arguments.against is None:
            run("compose", str(against), "--num", "1000", "--seed", "1")
        num, seed = str(arguments.num), str(SEED)
        result: dict[str, Any] = {"num": arguments.num, "num_cores": os.cpu_count()}
        result["compose"] = run("compose", str(work / "composed"), "--num", num, "--seed", seed)
        planted = plant(work / "composed", work / "source", caption_files.read(against)[0])
        source, output = str(work / "source"), work / "screened"
        result["screen"] = run("screen", source, str(output), "--against", str(against))
        result |= compared(output, planted, arguments.num)
    print(table(result))
    atomic.make_folder(arguments.output)
    atomic.write_json(arguments.output / "captions.json", result)


if __name__ == "__main__":
    main()
