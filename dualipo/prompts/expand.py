"""Expands short captions by a language model behind an OpenAI-compatible server.

    shard -> requests of a few captions each -> numbered lines -> each line checked
          -> what is not usable is asked for once more, each caption alone
          -> what is still not usable stays as it was, and its source says why

A shard is written when all its captions are settled. A server that is gone, refuses, or no longer
answers ends the command with that shard unwritten; repeating the command goes on there.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from dualipo import captions, interrupt
from dualipo.captions import prompt_id, tidy
from dualipo.config import Server
from dualipo.errors import StageError
from dualipo.prompts import caption_files, kept, shards, toml_files
from dualipo.prompts.shards import ShardFolder
from dualipo.prompts.words import words_of
from dualipo.redaction import redact
from dualipo.seeds import derive
from dualipo.servers import completions
from dualipo.servers.endpoint import Answer, Endpoint, Failure
from dualipo.store import atomic

SHIPPED = Path(__file__).parent / "styles"
EXPANDED = "expanded"
NO_ANSWER, UNREADABLE = "no answer", "not readable"
TOO_SHORT, TOO_LONG, LOST = "too short", "too long", "drops an element"
_NUMBERED = re.compile(r"\s*\**(\d{1,9})[.):]\**\s+(.*)")
_TOKENS_PER_WORD = 2  # enough for the longest answer in any tokenizer


class _Example(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    caption: str
    expanded: str


class Style(BaseModel):
    """The length and manner that a generator was trained on, and how to ask for them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instructions: str
    min_words: Annotated[int, Field(ge=1)]
    max_words: Annotated[int, Field(ge=1)]
    temperature: Annotated[float, Field(ge=0)] = 0.7
    examples: tuple[_Example, ...] = ()

    def wording(self) -> str:
        """Return the instructions with the limits in place of their names in braces."""
        text = self.instructions.strip().replace("{min_words}", str(self.min_words))
        return text.replace("{max_words}", str(self.max_words))


@dataclass(frozen=True)
class Settings:
    """The model that expands, the style, and how many captions are sent at once."""

    model: str
    style: Style
    per_request: int = 8
    rows_per_shard: int = 1000
    seed: int = 0


@dataclass
class Report:
    """The numbers of captions by what became of them."""

    num: int = 0
    sources: dict[str, int] = field(default_factory=dict)

    def text(self) -> str:
        """Return the numbers as lines."""
        lines = [f"{self.num:>9,} captions"]
        for source, num in sorted(self.sources.items(), key=lambda item: -item[1]):
            lines.append(f"{num:>9,} {source}")
        return "\n".join(lines)


def load_style(name: str) -> Style:
    """Return a style that ships, by its name, or the one in a TOML file."""
    shipped = sorted(path.stem for path in SHIPPED.glob("*.toml"))
    path = SHIPPED / f"{name}.toml" if name in shipped else Path(name)
    remedy = f"Name a TOML file, or one of the styles that ship: {', '.join(shipped)}."
    return toml_files.read(path, Style, remedy=remedy)


def expand(
    source: Path,
    output: Path,
    server: Server,
    settings: Settings,
    *,
    on_rows: Callable[[int], None] = lambda num_rows: None,
) -> Report:
    """Write the shards that are missing in `output`; return what became of all captions."""
    num_rows = sum(len(batch) for batch in caption_files.batches(source))
    num_shards = -(-num_rows // settings.rows_per_shard)
    style = hashlib.sha256(settings.style.model_dump_json().encode()).hexdigest()
    plan = asdict(settings) | {"style": style, "source": caption_files.fingerprint(source)}
    target = ShardFolder(output, command="expand", plan=plan | {"num_shards": num_shards})
    writer = Writer(Endpoint(server, settings_name=None), settings)
    missing = set(target.missing(num_shards))
    tables = shards.cut(caption_files.batches(source), settings.rows_per_shard)
    for index, table in enumerate(tables):
        if index in missing:
            target.write(index, writer.expanded(caption_files.named(table), index))
            on_rows(len(table))
            interrupt.check()
    report = _report(output)
    atomic.write_json(output / shards.REPORT, asdict(report))
    return report


def _report(folder: Path) -> Report:
    sources: Counter[str] = Counter()
    for batch in caption_files.batches(folder):
        sources.update(batch["source"].to_pylist())
    return Report(sources.total(), dict(sources))


@dataclass(frozen=True)
class _Short:
    """A caption to expand, and its elements as JSON."""

    caption: str
    elements: str


@dataclass(frozen=True)
class _Outcome:
    """The longer caption, or "" and the reason why there is none."""

    text: str
    fate: str


class Writer:
    """Asks for longer captions and checks what comes."""

    def __init__(self, endpoint: Endpoint, settings: Settings) -> None:
        self._endpoint = endpoint
        self._settings = settings

    def expanded(self, table: pa.Table, index: int) -> pa.Table:
        """Return the rows of a shard with longer captions where there are usable ones."""
        columns = {name: table[name].to_pylist() for name in table.column_names}
        shorts = [_Short(*row) for row in zip(columns["caption"], columns["elements"], strict=True)]
        seed = derive("expand", self._settings.seed, index)
        for row, outcome in enumerate(self._outcomes(shorts, seed)):
            if outcome.fate != EXPANDED:
                columns["source"][row] += f", {outcome.fate}"
                continue
            columns["original"][row] = columns["caption"][row]
            columns["caption"][row] = outcome.text
            columns["prompt_id"][row] = prompt_id(outcome.text)
            columns["source"][row] = EXPANDED
        return pa.table(columns, schema=shards.SCHEMA)

    def _outcomes(self, shorts: Sequence[_Short], seed: int) -> list[_Outcome]:
        size = self._settings.per_request
        groups = [shorts[start : start + size] for start in range(0, len(shorts), size)]
        outcomes = [o for group in self._ask(groups, seed) for o in group]
        failed = [place for place, outcome in enumerate(outcomes) if outcome.fate != EXPANDED]
        again = self._ask([[shorts[place]] for place in failed], seed + 1)
        for place, (outcome,) in zip(failed, again, strict=True):
            outcomes[place] = outcome
        self._require_life(shorts, outcomes, seed)
        return outcomes

    def _require_life(
        self, shorts: Sequence[_Short], outcomes: Sequence[_Outcome], seed: int
    ) -> None:
        """Stop where captions have no answer because the server died, and not for their own sake.

        It is alive if it answers once more to a caption that it has answered before.
        """
        answered = [s for s, o in zip(shorts, outcomes, strict=True) if o.fate != NO_ANSWER]
        if len(answered) == len(shorts):
            return
        if not answered or self._ask([answered[:1]], seed)[0][0].fate == NO_ANSWER:
            url = redact(self._endpoint.settings.base_url)
            raise StageError(
                f"server {url}: it does not answer any more. See "
                "what it reports, and repeat the command: nothing is lost."
            )

    def _ask(self, groups: Sequence[Sequence[_Short]], seed: int) -> list[list[_Outcome]]:
        model = self._settings.model
        answers = self._endpoint.post_all(
            "/chat/completions",
            [self._body(group, seed + place) for place, group in enumerate(groups)],
            task=f"write with {model!r}",
            remedy="See --model.",
        )
        return [self._read(group, answer) for group, answer in zip(groups, answers, strict=True)]

    def _body(self, group: Sequence[_Short], seed: int) -> dict[str, Any]:
        style = self._settings.style
        messages = [{"role": "system", "content": style.wording()}]
        for example in style.examples:
            messages.append({"role": "user", "content": _numbered([example.caption])})
            messages.append({"role": "assistant", "content": _numbered([example.expanded])})
        shown = _numbered([short.caption for short in group])
        messages.append({"role": "user", "content": shown})
        return {
            "model": self._settings.model,
            "messages": messages,
            "n": 1,
            "temperature": style.temperature,
            "max_tokens": len(group) * style.max_words * _TOKENS_PER_WORD + 16,
            "seed": seed % (1 << 31),
        }

    def _read(self, group: Sequence[_Short], answer: Answer) -> list[_Outcome]:
        if isinstance(answer, Failure):
            return [_Outcome("", NO_ANSWER)] * len(group)
        choices = completions.choices_of(answer)
        is_cut = bool(choices) and choices[0].get("finish_reason") == "length"
        text = completions.text_of(choices[0]) if choices else ""
        lines = numbered_lines(text, len(group), is_cut=is_cut)
        return [
            self._checked(short, lines.get(number)) for number, short in enumerate(group, start=1)
        ]

    def _checked(self, short: _Short, text: str | None) -> _Outcome:
        if not text or captions.screen(text):
            return _Outcome("", UNREADABLE)
        num_words = len(words_of(text))
        if num_words < self._settings.style.min_words:
            return _Outcome("", TOO_SHORT)
        if num_words > self._settings.style.max_words:
            return _Outcome("", TOO_LONG)
        if kept.lost(short.caption, short.elements, text):
            return _Outcome("", LOST)
        return _Outcome(text, EXPANDED)


def _numbered(lines: Sequence[str]) -> str:
    return "\n".join(f"{number}. {tidy(line)}" for number, line in enumerate(lines, start=1))


def numbered_lines(text: str, num: int, *, is_cut: bool = False) -> dict[int, str]:
    """Return the texts behind the numbers 1 to `num`, which may go over several lines.

    A number that comes twice is left out, and so is the last one of an answer that was cut. An
    answer to one caption may stand without its number.
    """
    parts: list[tuple[int, str]] = []
    for line in text.splitlines():
        if (match := _NUMBERED.fullmatch(line)) and 1 <= int(match[1]) <= num:
            parts.append((int(match[1]), match[2]))
        elif parts:
            parts[-1] = (parts[-1][0], f"{parts[-1][1]} {line}")
    if not parts and num == 1:
        parts = [(1, text)]
    if is_cut:
        parts = parts[:-1]
    times = Counter(number for number, _ in parts)
    return {number: tidy(part).strip('"“” ') for number, part in parts if times[number] == 1}
