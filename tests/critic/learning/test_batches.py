"""The critic's batches: shuffled items with a share of anchors."""

from dualipo.critic.learning.batches import mixed, shuffled


def test_every_epoch_sees_every_item_once_in_another_order():
    batch = shuffled(10, batch_size=4, seed=1)
    seen = [i for step in range(5) for i in batch(step)]
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10)) and seen[:10] != seen[10:]
    assert batch(3) == shuffled(10, batch_size=4, seed=1)(3)
    both = mixed(10, 5, share=0.25, batch_size=8, seed=1)(7)
    assert sum(i >= 10 for i in both) == 2 and max(both) < 15
    assert max(mixed(10, 0, share=0.25, batch_size=8, seed=1)(7)) < 10
