"""Read the documents: their code spans, fenced blocks, links, tables and headings.

`test_documents` compares what these name with what the repository holds.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Fence:
    """A fenced block: the language named behind its three backticks, and its text."""

    language: str
    text: str


@cache
def read(document: Path) -> str:
    """Return the text of a document."""
    return document.read_text(encoding="utf-8")


@cache
def prose(document: Path) -> str:
    """Return the text of a document without its fenced blocks."""
    return _FENCE.sub("", read(document))


def fences(document: Path, *languages: str) -> list[Fence]:
    """List the fenced blocks of a document that are in one of the languages."""
    blocks = [Fence(*match.groups()) for match in _FENCE.finditer(read(document))]
    return [block for block in blocks if block.language in languages]


def spans(document: Path) -> list[str]:
    """List the code spans of a document's prose."""
    return _SPAN.findall(prose(document))


def links(document: Path) -> list[str]:
    """List the targets of a document's links that lead to a file or to a heading."""
    return [link for link in _LINK.findall(prose(document)) if "://" not in link]


def anchors(document: Path) -> set[str]:
    """Return the anchors that a web page makes of a document's headings."""
    headings = _HEADING.findall(prose(document))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(document: Path) -> Iterator[str]:
    """Yield the command lines of a document's `sh` blocks: comments cut, continued lines joined."""
    for block in fences(document, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            command = re.sub(r"(^|\s)#.*$", "", line).strip()
            if command:
                yield command


def column(document: Path, title: str) -> Iterator[str]:
    """Yield the code spans below a title in every table of a document."""
    place = None
    for line in prose(document).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not cells:
            place = None
        elif place is None:
            place = cells.index(title) if title in cells else -1
        elif place >= 0 and place < len(cells):
            yield from _SPAN.findall(cells[place])
