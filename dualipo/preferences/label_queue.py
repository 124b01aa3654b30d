"""Chooses what people are asked: which clips of a run, in which order, with checks mixed in.

Each annotator has an own random order, or items come by how uncertain the critic was
(`uncertainty`). A coin swaps the sides; some items return with their sides exchanged (repeats), and
some have a known answer (gold). All draws derive from (book, annotator, item), so a restart changes
nothing.

Left out: asking a single dimension of an item; people judge all of them while they look.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from statistics import fmean

from dualipo.errors import DataError
from dualipo.records import Candidate, Dimension, Pair, Point, Vote, pairs_by_id
from dualipo.seeds import derive
from dualipo.store.labels import Choice, LabelItem, QueueItem, as_shown


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of an annotator's tasks that are checks.

    A repeat comes at least `least_distance` tasks after its first showing.
    """

    repeats: float = 0.1
    gold: float = 0.1
    least_distance: int = 8


def pair_items(candidates: Sequence[Candidate], *, num: int, seed: int) -> list[LabelItem]:
    """Draw `num` pairs of clips of one prompt: one of every prompt, then a second, and so on."""
    by_prompt = {
        prompt_id: [_pair_item(a, b) for a, b in combinations(group, 2) if a.clip != b.clip]
        for prompt_id, group in _by_prompt(candidates).items()
    }
    return _spread(by_prompt, num, seed, item_name="pair", prompt_name="prompt")


def point_items(candidates: Sequence[Candidate], *, num: int, seed: int) -> list[LabelItem]:
    """Draw `num` single clips, spread evenly over the prompts."""
    by_prompt = {
        prompt_id: [LabelItem("point", prompt_id, c.caption, c.clip, round=c.round) for c in group]
        for prompt_id, group in _by_prompt(candidates).items()
    }
    return _spread(by_prompt, num, seed, item_name="point", prompt_name="prompt of points")


def _spread(
    by_prompt: Mapping[str, list[LabelItem]],
    num: int,
    seed: int,
    *,
    item_name: str,
    prompt_name: str,
) -> list[LabelItem]:
    """Take one random item of every prompt, then a second, and so on, up to `num`."""
    layers: list[tuple[int, int, LabelItem]] = []
    for prompt_id, items in by_prompt.items():
        items.sort(key=lambda item: derive(seed, item_name, item.item_id))
        draw = derive(seed, prompt_name, prompt_id)
        layers += [(layer, draw, item) for layer, item in enumerate(items)]
    return [item for _, _, item in sorted(layers, key=lambda entry: entry[:2])[:num]]


def uncertain_items(candidates: Sequence[Candidate], votes: Iterable[Vote]) -> list[LabelItem]:
    """Return the pairs that the critic judged, with its uncertainty as their priority."""
    pairs = pairs_by_id(candidates)
    items = []
    for pair_id, priority in uncertainty(votes).items():
        first, second = pairs.get(pair_id, (None, None))
        if first and second and first.clip != second.clip:
            items.append(replace(_pair_item(first, second), priority=priority))
    return sorted(items, key=lambda item: -item.priority)


def disputed(pairs: Sequence[LabelItem], votes: Iterable[Vote], *, num: int) -> list[LabelItem]:
    """Return the `num` pairs on which the critic is the least certain; equal ones in their order.

    The votes name a pair by its item id.
    """
    doubts = uncertainty(votes)
    return sorted(pairs, key=lambda pair: -doubts.get(pair.item_id, 0.0))[:num]


def uncertainty(votes: Iterable[Vote]) -> dict[str, float]:
    """Return the critic's uncertainty about each pair: 0 where all paths agree, at most 2.

    A dimension's uncertainty is the share of votes outside the majority (ties and abstentions are
    outside), plus the change of A's share when A and B are swapped. A pair's is the mean over its
    dimensions.
    """
    grouped: dict[str, dict[Dimension, list[Vote]]] = {}
    for vote in votes:
        grouped.setdefault(vote.item, {}).setdefault(vote.dimension, []).append(vote)
    return {
        item: fmean(_unsure(of_dimension) for of_dimension in dimensions.values())
        for item, dimensions in grouped.items()
    }


def with_double(items: Iterable[LabelItem], *, share: float, seed: int) -> list[LabelItem]:
    """Ask two annotators for a share of the items, so that their agreement can be measured."""
    return [
        replace(item, num_wanted=2) if _coin(share, seed, "double", item.item_id) else item
        for item in items
    ]


def gold_items(known: Iterable[Pair | Point]) -> list[LabelItem]:
    """Make the items whose answers these records give, with all their dimensions together."""
    items: dict[str, LabelItem] = {}
    for record in known:
        item, outcome = _known(record)
        item = items.setdefault(item.item_id, item)
        if item.gold.get(record.dimension, outcome) != outcome:
            raise DataError(
                f"gold: it holds two answers about {record.prompt!r} in {record.dimension}. "
                "Keep one of them."
            )
        if outcome != "abstain":
            gold = {**item.gold, record.dimension: outcome}
            items[item.item_id] = replace(item, gold=gold)
    return [item for item in items.values() if item.gold]


def choose_next(
    annotator: str, position: int, items: Sequence[QueueItem], *, seed: int, mix: Mix
) -> Choice | None:
    """Choose what the annotator sees at `position`; None when there is nothing left to ask."""
    draw = derive(seed, annotator, position, "mix") % 1000
    if draw < 1000 * mix.repeats and (old := _repeat(items, position, mix)):
        return Choice(old.item_id, not old.is_swapped, True)
    is_check = 1000 * mix.repeats <= draw < 1000 * (mix.repeats + mix.gold)
    gold = [item for item in items if item.is_gold and not item.seen_at]
    if is_check and gold:
        return _fresh(gold, annotator, seed)
    fresh = [item for item in items if not item.is_gold and not item.seen_at]
    free = [item for item in fresh if item.num_taken < item.num_wanted]
    # Somebody who left with open tasks must not keep them: when nothing else is free, others take
    # them over.
    left = free or [item for item in fresh if item.num_done < item.num_wanted]
    return _fresh(left, annotator, seed) if left else None


def num_left(items: Sequence[QueueItem]) -> int:
    """Count the items that an annotator may still be asked, checks aside."""
    return sum(
        not item.is_gold and not item.seen_at and item.num_done < item.num_wanted for item in items
    )


def _fresh(items: Sequence[QueueItem], annotator: str, seed: int) -> Choice:
    def rank(item: QueueItem) -> tuple[float, int]:
        return -item.priority, derive(seed, annotator, "order", item.item_id)

    chosen = min(items, key=rank)
    return Choice(chosen.item_id, _coin(0.5, seed, annotator, "side", chosen.item_id), False)


def _repeat(items: Sequence[QueueItem], position: int, mix: Mix) -> QueueItem | None:
    once = [item for item in items if len(item.seen_at) == 1]
    old = [item for item in once if item.seen_at[0] <= position - mix.least_distance]
    return min(old, key=lambda item: item.seen_at) if old else None


def _unsure(votes: Sequence[Vote]) -> float:
    voted = [sum(vote.weights.get(side, 0.0) for vote in votes) for side in ("a", "b")]
    lacking = 1 - max(voted) / len(votes)
    shares = [_share_of_a([v for v in votes if v.order == order]) for order in ("ab", "ba")]
    known = [share for share in shares if share is not None]
    return lacking + (abs(known[0] - known[1]) if len(known) == 2 else 0.0)


def _share_of_a(votes: Sequence[Vote]) -> float | None:
    for_a, for_b = (sum(vote.weights.get(side, 0.0) for vote in votes) for side in ("a", "b"))
    return for_a / (for_a + for_b) if for_a + for_b else None


def _pair_item(a: Candidate, b: Candidate) -> LabelItem:
    clips = {a.clip: a.generator_version, b.clip: b.generator_version}
    return LabelItem.of_pair(a.prompt_id, a.caption, clips, round=a.round)


def _known(record: Pair | Point) -> tuple[LabelItem, str]:
    if isinstance(record, Point):
        content = (record.prompt_id, record.prompt, record.video)
        return LabelItem("point", *content, round=record.round), record.grade
    clips = {record.video_a: "", record.video_b: ""}
    item = LabelItem.of_pair(record.prompt_id, record.prompt, clips, round=record.round)
    return item, as_shown(record.verdict, item.clip_a != record.video_a)


def _by_prompt(candidates: Sequence[Candidate]) -> Mapping[str, list[Candidate]]:
    grouped: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        grouped.setdefault(candidate.prompt_id, []).append(candidate)
    return grouped


def _coin(share: float, *name: int | str) -> bool:
    return derive(*name) % 10_000 < 10_000 * share
