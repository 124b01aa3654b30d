"""Captions change places only where an answer must not depend on them, and as often as asked."""

import pytest

from dualipo.config import CriticTraining
from dualipo.critic.asks import CAPTIONLESS, Ask
from dualipo.critic.learning import warm_start
from dualipo.critic.learning.caption_exchange import exchanged
from dualipo.records import DIMENSIONS
from tests.critic.conftest import BOTH, make_vila, pair, shade

ASKS = [Ask(f"x{n}", "pair", f"caption {n}", DIMENSIONS[n % 3], ("a", "b")) for n in range(600)]
CAPTIONS = [ask.caption for ask in ASKS]


def num_changed(share: float) -> dict[str, int]:
    shown = exchanged(ASKS, CAPTIONS, share=share, seed=1)
    changed = [ask.dimension for ask, own in zip(shown, ASKS, strict=True) if ask != own]
    return {dimension: changed.count(dimension) for dimension in DIMENSIONS}


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_of_the_captionless_changes_and_consistency_keeps_its_caption(share) -> None:
    counts = num_changed(share)
    assert counts.pop("consistency") == 0 and set(counts) == set(CAPTIONLESS)
    # Within four standard deviations of the share of 200; one in 600 draws its own caption.
    slack = 4 * (200 * share * (1 - share)) ** 0.5 + 3 * share
    assert all(abs(num - 200 * share) <= slack for num in counts.values())


def test_what_changes_is_the_caption_alone_and_draws_are_the_same_again() -> None:
    shown = exchanged(ASKS, CAPTIONS, share=0.5, seed=1)
    assert shown == exchanged(ASKS, CAPTIONS, share=0.5, seed=1)
    assert shown != exchanged(ASKS, CAPTIONS, share=0.5, seed=2)
    for ask, own in zip(shown, ASKS, strict=True):
        assert ask.caption in CAPTIONS
        assert (ask.item_id, ask.dimension, ask.clip_hashes) == (
            own.item_id, own.dimension, own.clip_hashes,
        )  # fmt: skip


@pytest.mark.slow
def test_fine_tuning_under_exchanged_captions_learns_other_weights(tmp_path) -> None:
    """Expect a share of 0 to train as without the setting, bit for bit."""
    traces = warm_start.traces([*BOTH, pair(3)])
    traces = [
        warm_start.Trace(ask, trace.response)
        for trace, ask in zip(
            traces, exchanged([t.ask for t in traces], ["a lamp", "a cat"], share=1, seed=0),
            strict=True,
        )
    ]  # fmt: skip
    hashes = []
    for share in (0.0, 0.0, 1.0):
        vila = make_vila()
        settings = CriticTraining(
            max_train_steps=2, train_batch_size=2, caption_exchange_share=share
        )
        warm_start.supervise(
            vila, traces, clips=shade, settings=settings, seed=0,
            checkpoint_folder=tmp_path / str(len(hashes)),
        )  # fmt: skip
        hashes.append(vila.hash())
    assert hashes[0] == hashes[1] != hashes[2]
