"""Composed captions: what may stand together does, shares are exact, shards can be made again."""

import json
import shutil
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from dualipo.errors import ConfigError, DataError
from dualipo.prompts import caption_files, elements
from dualipo.prompts.compose import Composer, Order, compose
from dualipo.prompts.elements import SHIPPED, Group


@pytest.fixture(scope="module")
def shipped() -> elements.Elements:
    return elements.load()


@pytest.fixture(scope="module")
def rows(shipped: elements.Elements, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("composed") / "out"
    compose(folder, Order(num=6000, seed=3, rows_per_shard=2500), shipped)
    return [row for batch in caption_files.batches(folder) for row in batch.to_pylist()]


def groups_by_text(shipped: elements.Elements) -> dict[tuple[str, str], list[Group]]:
    groups: dict[tuple[str, str], list[Group]] = {}
    for group in shipped.groups:
        for element in group.elements:
            groups.setdefault((element.kind, element.text), []).append(group)
    return groups


@pytest.mark.slow
def test_every_caption_says_its_elements_and_they_go_together(shipped, rows):
    owners = groups_by_text(shipped)
    for row in rows:
        parts = json.loads(row["elements"])
        said = row["caption"].lower()
        for kind, text in parts.items():
            noun = text.split(maxsplit=1)[1] if kind == "place" else text
            assert noun.lower() in said
        chosen = product(*(owners[part] for part in parts.items()))
        assert any(all(a.goes_with(b) for a in groups for b in groups) for groups in chosen), row


def test_what_excludes_itself_never_meets(rows):
    for row in rows:
        parts = json.loads(row["elements"])
        place = parts["place"]
        if "reef" in place or "deep sea" in place:
            assert not set(parts.values()) & {"parked at the side", "reading a book"}
            assert "car" not in parts.get("vehicle", "").split()
        if "sedan" in parts.get("vehicle", ""):
            assert not place.startswith(("in the sky", "in orbit"))


@pytest.mark.parametrize("rows_per_shard", [1, 7, 250, 1000])
def test_shares_are_exact_in_sum_and_within_a_row_in_every_part(shipped, rows_per_shard):
    order = Order(num=1000, shares={"human": 3, "animal": 2, "place": 0.5, "style": 0.25})
    starts = range(0, order.num, rows_per_shard)
    parts = [order.quotas(shipped, s, min(s + rows_per_shard, order.num)) for s in starts]
    for start, part in zip(starts, parts, strict=True):
        assert sum(part.values()) == min(rows_per_shard, order.num - start)
        assert min(part.values()) >= 0
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    for name, share in order.shares.items():
        assert abs(total[name] - order.num * share / 5.75) <= 2
    assert total["vehicle"] == 0


def test_weights_are_followed(shipped):
    category = next(c for c in shipped.categories if c.name == "human")
    _, parts = Composer(category).compose(20_000, np.random.default_rng(0))
    weights = {
        element.text: element.weight
        for group in category.groups["subject"]
        for element in group.elements
    }
    drawn = Counter(json.loads(part)["human"] for part in parts)
    for text, weight in weights.items():
        expected = 20_000 * weight / sum(weights.values())
        assert abs(drawn[text] - expected) < 6 * expected**0.5


def test_a_folder_is_made_again_byte_for_byte_and_goes_on_where_it_stopped(shipped, tmp_path):
    order = Order(num=900, seed=1, rows_per_shard=200)
    compose(tmp_path / "whole", order, shipped)
    compose(tmp_path / "begun", order, shipped)
    for name in ("captions-00001.parquet", "captions-00004.parquet"):
        (tmp_path / "begun" / name).unlink()
    with pytest.raises(DataError, match="has not filled it yet"):
        list(caption_files.batches(tmp_path / "begun"))
    sizes: list[int] = []
    compose(tmp_path / "begun", order, shipped, on_shard=sizes.append)
    assert sizes == [200, 100]
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "begun" / path.name).read_bytes()
    with pytest.raises(DataError, match=r"made by another command .*seed"):
        compose(tmp_path / "begun", Order(num=900, seed=2, rows_per_shard=200), shipped)
    with pytest.raises(ConfigError, match="no such category"):
        compose(tmp_path / "new", Order(num=9, shares={"humans": 1}), shipped)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "before", "after", "message"),
    [
        ("action.toml", '"human"', '"humann"', "names the tag 'humann', which no subject has"),
        ("place.toml", "preposition", "prepositoin", "kitchens.prepositoin: Extra inputs"),
        ("categories.toml", '{camera}."', '{camra}."', "has the field {camra}"),
        ("categories.toml", '{camera}."', '{camera."', "human: .*expected '}'"),
        ("light.toml", '"at dawn"', '"at sunrise"', "has an entry twice"),
        ("human.toml", "entries = [", "entries = ", "not TOML"),
    ],
)
def test_a_wrong_list_is_told_by_its_file(tmp_path: Path, name, before, after, message):
    folder = tmp_path / "lists"
    shutil.copytree(SHIPPED, folder)
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8").replace(before, after, 1), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        elements.load(folder)


def test_a_choice_that_leaves_nothing_is_told_by_the_elements(shipped, tmp_path):
    folder = tmp_path / "lists"
    shutil.copytree(SHIPPED, folder)
    path = folder / "light.toml"
    path.write_text(path.read_text(encoding="utf-8").replace('["space"]', '["desert"]'))
    composer = Composer(next(c for c in elements.load(folder).categories if c.name == "vehicle"))
    with pytest.raises(DataError, match=r"of vehicle: no light goes with '.*"):
        composer.compose(5000, np.random.default_rng(0))


@pytest.mark.slow
def test_the_lists_that_ship_leave_a_light_a_camera_and_a_style_for_every_choice(shipped):
    for category in shipped.categories:
        groups = category.groups
        for chosen in product(groups["subject"], groups["action"], groups["place"]):
            if all(a.goes_with(b) for a in chosen for b in chosen if a is not b):
                lights = [g for g in groups["light"] if all(g.goes_with(c) for c in chosen)]
                cameras = [g for g in groups["camera"] if all(g.goes_with(c) for c in chosen)]
                assert lights and cameras, [group.name for group in chosen]
    for kind in elements.KINDS:
        texts = {e.text for g in shipped.groups for e in g.elements if e.kind == kind}
        assert len(texts) >= 95, kind
