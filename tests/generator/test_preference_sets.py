"""Which pairs and slots a step uses."""

from collections import Counter

import pytest
import torch

from dualipo.errors import DataError
from dualipo.generator.preference_sets import PointSet, PreferenceSet, slot_places


def test_pairs_use_all_their_slots_equally() -> None:
    places = [
        place
        for step in range(10)
        for place in slot_places(step, num_items=5, num_slots=4, batch_size=4, seed=1)
    ]
    assert set(Counter(places).values()) == {2} and len(set(places)) == 20


def test_no_pair_is_refused() -> None:
    nothing = torch.empty(0, 4, 3, 4, 4)
    with pytest.raises(DataError, match="no preference pair"):
        PreferenceSet([], [], nothing, nothing, {})


@pytest.mark.parametrize("desirable", [[True, True], [False, False]])
def test_fault_35_one_class_of_labels_is_refused(desirable: list[bool]) -> None:
    clips = torch.empty(2, 4, 3, 4, 4)
    with pytest.raises(DataError, match=r"[02] desirable and [02] undesirable.*extremes"):
        PointSet(["a", "b"], ["x", "x"], clips, desirable, {})
