"""Which prompts begin alike, and where they part (METHOD.md 3.1: judged once).

Prompts about the same clips and caption share their tokens up to the question. The division is
made on token ids, so that prefix and rest are together exactly the prompt.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Division:
    """`rests[u][q]` follows `prefixes[u]`; prompt i is prefix and rest at `places[i]`.

    `firsts[u]` is the first prompt of a prefix.
    """

    prefixes: tuple[tuple[int, ...], ...]
    rests: tuple[tuple[tuple[int, ...], ...], ...]
    places: tuple[tuple[int, int], ...]
    firsts: tuple[int, ...]

    @property
    def num_questions(self) -> int:
        """The most that follow one prefix."""
        return max(map(len, self.rests))

    def slots(self, num_paths: int) -> list[list[int]]:
        """Where the paths of each prompt are drawn, counted over all rows."""
        starts = [(row * self.num_questions + place) * num_paths for row, place in self.places]
        return [list(range(start, start + num_paths)) for start in starts]


def divide(prompts: Sequence[Sequence[int]], subjects: Sequence[Hashable]) -> Division:
    """Group prompts by their subject, in order of first appearance; every rest has a token."""
    members: dict[Hashable, list[int]] = {}
    for index, subject in enumerate(subjects):
        members.setdefault(subject, []).append(index)
    prefixes, rests = [], []
    places: list[tuple[int, int]] = [(0, 0)] * len(prompts)
    for row, indices in enumerate(members.values()):
        group = [tuple(prompts[index]) for index in indices]
        shared = num_shared(group)
        prefixes.append(group[0][:shared])
        rests.append(tuple(prompt[shared:] for prompt in group))
        for slot, index in enumerate(indices):
            places[index] = row, slot
    firsts = tuple(indices[0] for indices in members.values())
    return Division(tuple(prefixes), tuple(rests), tuple(places), firsts)


def num_shared(rows: Sequence[Sequence[int]]) -> int:
    """Length of the longest prefix that all rows share, short of any row's last token."""
    shared = 0
    for column in zip(*(row[:-1] for row in rows), strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    return shared
