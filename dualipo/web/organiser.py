"""The organiser's figures: how far everyone is, how far they agree, who may need help."""

from dataclasses import asdict
from typing import Any

from dualipo.preferences import agreement
from dualipo.store.label_records import StandingAnswer, answers
from dualipo.store.labels import ItemKind, LabelBook

KINDS: tuple[ItemKind, ...] = ("pair", "point")


def overview(book: LabelBook) -> dict[str, Any]:
    """Return counts, annotators and agreement from the answers that were not taken back."""
    given = answers(book)
    counted = [answer for answer in given if not answer.is_test]
    return {
        "num_items": book.num_items(),
        "num_answers": len(given),
        "num_items_answered": len({answer.item_id for answer in counted}),
        "annotators": [asdict(row) for row in agreement.annotators(given)],
        "agreement": [
            _agreement(counted, dimension, kind)
            for kind in KINDS
            for dimension in book.dimensions
            if any(answer.kind == kind for answer in counted)
        ],
    }


def _agreement(counted: list[StandingAnswer], dimension: str, kind: ItemKind) -> dict[str, Any]:
    units = agreement.units_of(counted, dimension, kind)
    return {
        "kind": kind,
        "dimension": dimension,
        "num_shared": sum(len(answered) > 1 for answered in units.values()),
        "alpha": agreement.krippendorff_alpha(units, metric="nominal"),
        "alpha_ordinal": agreement.krippendorff_alpha(units, metric="ordinal"),
        "kappas": [
            {"annotators": list(names), "kappa": kappa, "num": num}
            for names, (kappa, num) in agreement.kappas(units).items()
        ],
    }
