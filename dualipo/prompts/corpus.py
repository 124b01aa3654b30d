"""Reads, screens, folds and draws the captions to make clips of (METHOD.md section 2).

Two spellings of one caption (case, whitespace, compatibility characters) are one prompt whose
multiplicity counts them (fault 36). A caption that no model should be given is refused with its
reason (fault 37). A draw depends on the seed and the set of captions, not on their order.

Left out: composing and expanding captions by a language model. How captions are spelled and
screened is in `dualipo/captions.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dualipo.captions import normalise, prompt_id, screen, tidy
from dualipo.errors import DataError
from dualipo.records import Prompt
from dualipo.seeds import derive


@dataclass(frozen=True, slots=True)
class Refusal:
    """A caption that was screened out, and why."""

    caption: str
    reason: str


@dataclass(frozen=True, slots=True)
class Folded:
    """The prompts made of captions, in order of first appearance, and the refused captions."""

    prompts: tuple[Prompt, ...]
    refused: tuple[Refusal, ...]


def fold(captions: Iterable[str], *, exclude: Iterable[str] = ()) -> Folded:
    """Screen captions and fold duplicates into one prompt; leave out the captions in `exclude`."""
    excluded = {normalise(caption) for caption in exclude}
    first: dict[str, str] = {}
    multiplicity: dict[str, int] = {}
    refused = []
    for caption in captions:
        if reason := screen(caption):
            refused.append(Refusal(caption, reason))
        elif (key := normalise(caption)) not in excluded:
            first.setdefault(key, tidy(caption))
            multiplicity[key] = multiplicity.get(key, 0) + 1
    prompts = (Prompt(prompt_id(key), text, multiplicity[key]) for key, text in first.items())
    return Folded(tuple(prompts), tuple(refused))


def choose(
    captions: Iterable[str], *, num: int, seed: int, exclude: Iterable[str] = ()
) -> list[Prompt]:
    """Draw `num` distinct prompts. `exclude` holds evaluation captions and those of past rounds."""
    folded = fold(captions, exclude=exclude)
    if len(folded.prompts) < num:
        raise DataError(
            f"prompts: only {len(folded.prompts)} distinct captions can be used "
            f"({len(folded.refused)} were refused), but {num} are asked for. Add captions, or "
            "lower the number of prompts."
        )
    drawn = sorted(folded.prompts, key=lambda prompt: derive("prompt", seed, prompt.prompt_id))
    return drawn[:num]


def read_captions(path: Path) -> list[str]:
    """Read a UTF-8 text file with one caption a line, unchanged; blank lines are skipped."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        fact = (error.strerror or "unreadable").lower()
        raise DataError(f"{path}: {fact}. Set prompts.path to a list of captions.") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: it is not UTF-8 (byte {error.start}). Save it as UTF-8."
        ) from error
    return [line for line in text.split("\n") if line.strip()]
