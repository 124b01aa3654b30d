"""Preferences: which of them a step uses, what is refused, and how they reach another process."""

import json
from collections import Counter
from pathlib import Path

import pytest
import torch

from dualipo.errors import DataError
from dualipo.generator.preference_sets import PointSet, PreferenceSet, slot_places
from dualipo.store import tensors
from dualipo.store.stored import StoredList, StoredTable


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
        PreferenceSet(ids=[], caption_keys=[], texts={}, winners=nothing, losers=nothing)


@pytest.mark.parametrize("desirable", [[True, True], [False, False]])
def test_fault_35_one_class_of_labels_is_refused(desirable: list[bool]) -> None:
    clips = torch.empty(2, 4, 3, 4, 4)
    with pytest.raises(DataError, match=r"[02] desirable and [02] undesirable.*extremes"):
        PointSet(
            ids=["a", "b"], caption_keys=["x", "x"], texts={}, clips=clips, desirable=desirable
        )


def test_a_set_goes_to_another_process_by_the_places_of_its_tensors(tmp_path: Path) -> None:
    file = str(tmp_path / "unit.safetensors")
    clips = {"a": torch.zeros(3), "b": torch.ones(3)}
    tensors.save(Path(file), clips | {"text": torch.ones(2)}, metadata={})
    points = PointSet(
        ids=["a", "b"],
        caption_keys=["x", "x"],
        texts=StoredTable({"x": (file, "text")}),
        clips=StoredList([(file, "a"), (file, "b")]),
        desirable=[True, False],
        certainties=[0.5, 1.0],
    )
    copy = PointSet.from_places(json.loads(json.dumps(points.as_places())))
    assert (copy.ids, copy.desirable, copy.certainties) == (
        ["a", "b"],
        [True, False],
        [0.5, 1.0],
    )
    assert torch.equal(copy.stack("clips", [1, 0]), torch.stack([clips["b"], clips["a"]]))
    assert torch.equal(copy.stack_texts([1]), torch.ones(1, 2))
