"""Reads, screens, folds and draws the captions to make clips of (METHOD.md section 2).

Two spellings of one caption (case, whitespace, compatibility characters) are one prompt whose
multiplicity counts them (fault 36). A caption that no model should be given is refused with its
reason (fault 37). A draw depends on the seed and the set of captions, not on their order.

Left out: how captions are made, expanded and screened by the million (`compose`, `expand`,
`screen`). How one caption is spelled and screened is in `dualipo/captions.py`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

from dualipo.captions import MAX_CHARACTERS, normalise, prompt_id, screen, tidy
from dualipo.errors import DataError
from dualipo.prompts import caption_files
from dualipo.records import Prompt
from dualipo.seeds import derive


@dataclass(frozen=True, slots=True)
class Refusal:
    """A caption that was screened out, and why."""

    caption: str
    reason: str

    @property
    def kind(self) -> str:
        """The reason without the character or the length that is this caption's own."""
        return self.reason.partition(" (")[0] if len(self.caption) <= MAX_CHARACTERS else "too long"


@dataclass(frozen=True, slots=True)
class Folded:
    """Prompts, the captions that were refused, and those folded into an earlier spelling."""

    prompts: tuple[Prompt, ...]
    refused: tuple[Refusal, ...]
    repeats: tuple[str, ...] = ()


class ExhaustedCaptions(DataError):
    """A list with fewer usable captions than are to be drawn."""


@dataclass(frozen=True)
class CaptionList:
    """Captions as a file lists them, and the category of each where it has any."""

    captions: Sequence[str]
    categories: Sequence[str] | None = None


def fold(
    captions: CaptionList | Iterable[str],
    *,
    exclude: Iterable[str] = (),
    right_to_left: bool = False,
) -> Folded:
    """Screen captions and fold duplicates into one prompt; leave out the captions in `exclude`."""
    listed = _listed(captions)
    excluded = {normalise(caption) for caption in exclude}
    first: dict[str, tuple[str, str]] = {}
    multiplicity: dict[str, int] = {}
    refused, repeats = [], []
    categories = repeat("") if listed.categories is None else listed.categories
    for caption, category in zip(listed.captions, categories, strict=False):
        if reason := screen(caption, right_to_left=right_to_left):
            refused.append(Refusal(caption, reason))
        elif (key := normalise(caption)) not in excluded:
            if key in first:
                repeats.append(caption)
            first.setdefault(key, (tidy(caption), category))
            multiplicity[key] = multiplicity.get(key, 0) + 1
    prompts = (
        Prompt(prompt_id(key), text, multiplicity[key], category)
        for key, (text, category) in first.items()
    )
    return Folded(tuple(prompts), tuple(refused), tuple(repeats))


def choose(
    captions: CaptionList | Iterable[str],
    *,
    num: int,
    seed: int,
    exclude: Iterable[str] = (),
    right_to_left: bool = False,
) -> Folded:
    """Draw `num` distinct prompts. `exclude` holds evaluation captions and those of past rounds.

    Where the list has categories, each one gets the share of the draw that it has of the list. What
    was refused or folded in the whole list is returned with the prompts.
    """
    listed = _listed(captions)
    folded = fold(listed, exclude=exclude, right_to_left=right_to_left)
    if len(folded.prompts) < num:
        raise ExhaustedCaptions(
            f"prompts: only {len(folded.prompts)} distinct captions can be used "
            f"({len(folded.refused)} were refused), but {num} are asked for. Add captions, or "
            "lower the number of prompts."
        )
    drawn = sorted(folded.prompts, key=lambda prompt: derive("prompt", seed, prompt.prompt_id))
    chosen = drawn[:num]
    if listed.categories is not None:
        chosen = _by_quota(drawn, quotas(Counter(listed.categories), num))
    return replace(folded, prompts=tuple(chosen))


def quotas(counts: Mapping[str, int], num: int) -> dict[str, int]:
    """Share `num` out as the counts are: each within one of its share, and all `num` in sum."""
    total = sum(counts.values())
    shares = {name: num * count / total for name, count in counts.items()}
    whole = {name: int(share) for name, share in shares.items()}
    by_rest = sorted(shares, key=lambda name: (whole[name] - shares[name], name))
    for name in by_rest[: num - sum(whole.values())]:
        whole[name] += 1
    return whole


def _by_quota(drawn: Sequence[Prompt], wanted: Mapping[str, int]) -> list[Prompt]:
    """Take the first prompts of each category; a category that runs out leaves room for others."""
    left = Counter(wanted)
    chosen, spare = [], []
    for prompt in drawn:
        if left[prompt.category] > 0:
            left[prompt.category] -= 1
            chosen.append(prompt)
        else:
            spare.append(prompt)
    places = {prompt.prompt_id: place for place, prompt in enumerate(drawn)}
    chosen += spare[: sum(wanted.values()) - len(chosen)]
    return sorted(chosen, key=lambda prompt: places[prompt.prompt_id])


def _listed(captions: CaptionList | Iterable[str]) -> CaptionList:
    return captions if isinstance(captions, CaptionList) else CaptionList(list(captions))


def read_captions(path: Path) -> CaptionList:
    """Read the captions of a folder of shards, or a parquet, CSV, JSON, JSON Lines or text file.

    A text file has one caption a line, in UTF-8; blank lines are skipped.
    """
    return CaptionList(*caption_files.read(path))
