"""The shuffled stream: every item once an epoch, the same for the same seed and step."""

from dualipo.training import epochs


def stream_of(num_steps: int, *, batch_size: int = 3, seed: int = 1) -> list[tuple[int, int]]:
    return [
        place
        for step in range(num_steps)
        for place in epochs.places(
            step, num_items=5, batch_size=batch_size, seed=seed, stream="order"
        )
    ]


def test_each_epoch_has_each_item_once_in_its_own_order() -> None:
    orders = [[item for item, epoch in stream_of(7) if epoch == number] for number in range(4)]
    assert all(sorted(order) == list(range(5)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_the_batch_size_cuts_the_stream_and_does_not_change_it() -> None:
    assert stream_of(4, batch_size=5) == stream_of(2, batch_size=10)
    assert stream_of(4, seed=2) != stream_of(4, seed=1)


def test_a_seed_gives_the_order_that_earlier_runs_had() -> None:
    """Runs that began with an earlier version resume: their order must never change."""
    items = [item for item, _ in stream_of(5)]
    assert items == [4, 0, 2, 1, 3, 2, 4, 1, 3, 0, 2, 0, 4, 3, 1]
