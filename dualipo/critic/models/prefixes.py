"""Prefix sharing: prompts that begin alike are computed once (METHOD.md 3.1, judged once).

A prompt shows its clips and caption first and asks last, so the questions on several dimensions of
one pair differ in their last tokens only. `divide` groups prompts by their subject (the same clips
and caption) and cuts each group where its members first differ:

    prompts, subject x   1 2 3 4        prefixes[0]  1 2        rests[0]  3 4
                         1 2 5                                            5
                         1 2 3 7                                          3 7
             subject y   9 8            prefixes[1]  9          rests[1]  8

`places[i]` = (u, q) says that prompt i is `prefixes[u] + rests[u][q]`. Every rest keeps at least
one token, because the model's answer to a prompt is read at its last token. The cut is made on
token ids, so that prefix and rest are together exactly the prompt. `decode` gives each (prefix,
question, path) a slot; `slots` counts them over all prefixes, as if each had `num_questions`.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Division:
    """Prompts divided into shared prefixes and the rests that follow them.

    `rests[u][q]` follows `prefixes[u]`, prompt i stands at `places[i]`, and `firsts[u]` is the
    first prompt with prefix u.
    """

    prefixes: tuple[tuple[int, ...], ...]
    rests: tuple[tuple[tuple[int, ...], ...], ...]
    places: tuple[tuple[int, int], ...]
    firsts: tuple[int, ...]

    @property
    def num_questions(self) -> int:
        """The largest number of questions that follow one prefix."""
        return max(map(len, self.rests))

    def slots(self, num_paths: int) -> list[list[int]]:
        """Return the slots of each prompt's paths, counted over all prefixes."""
        starts = [
            (prefix * self.num_questions + question) * num_paths for prefix, question in self.places
        ]
        return [list(range(start, start + num_paths)) for start in starts]


def divide(prompts: Sequence[Sequence[int]], subjects: Sequence[Hashable]) -> Division:
    """Divide prompts into the prefix that each subject's prompts share, and their rests.

    Prefixes are in the order in which their subjects first appear.
    """
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
        for question, index in enumerate(indices):
            places[index] = row, question
    firsts = tuple(indices[0] for indices in members.values())
    return Division(tuple(prefixes), tuple(rests), tuple(places), firsts)


def num_shared(rows: Sequence[Sequence[int]]) -> int:
    """Return the length of the longest common prefix that leaves every row a last token."""
    shared = 0
    for column in zip(*(row[:-1] for row in rows), strict=False):
        if len(set(column)) > 1:
            break
        shared += 1
    return shared
