"""The critic's batches: shuffled items with a share of anchors."""

from dualipo.critic.learning.batches import mixed, shuffled


def test_every_epoch_sees_every_item_once_in_another_order():
    batch = shuffled(10, batch_size=4, seed=1)
    seen = [i for step in range(5) for i in batch(step)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10)) and seen[:10] != seen[10:]
    assert batch(3) == shuffled(10, batch_size=4, seed=1)(3)


def test_the_anchors_share_falls_evenly_and_both_streams_go_on_without_a_gap():
    batch = mixed(10, 5, shares=(1.0, 0.5), num_steps=5, batch_size=8, seed=1)
    batches = [batch(step) for step in range(5)]
    assert [sum(i >= 10 for i in chosen) for chosen in batches] == [8, 7, 6, 5, 4]
    items = [i for chosen in batches for i in chosen if i < 10]
    anchors = [i - 10 for chosen in batches for i in chosen if i >= 10]
    assert sorted(items) == list(range(10))
    assert all(sorted(anchors[n : n + 5]) == list(range(5)) for n in range(0, 30, 5))
    assert batch(3) == batches[3]
    alone = mixed(10, 0, shares=(1.0, 0.5), num_steps=5, batch_size=8, seed=1)
    assert alone(3) == shuffled(10, batch_size=8, seed=1)(3)
