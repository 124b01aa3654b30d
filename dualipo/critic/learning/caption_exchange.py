"""Captions exchanged at random in training, where an answer must not depend on them.

Faithfulness and motion are in the clips, whatever the caption says (`asks.CAPTIONLESS`). A critic
that met every clip under its own caption alone also follows the words. So a share of the questions
in these dimensions carries another question's caption, and the answer stays. Questions of
consistency keep theirs.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from dualipo import seeds
from dualipo.critic.asks import CAPTIONLESS, Ask


def exchanged(
    asks: Sequence[Ask],
    captions: Sequence[str],
    *,
    share: float,
    seed: int,
    captionless: Collection[str] = CAPTIONLESS,
) -> list[Ask]:
    """Give about `share` of the questions that need no caption one of `captions` instead."""
    shown = []
    for place, ask in enumerate(asks):
        if ask.dimension in captionless and seeds.chance(share, seed, "exchange", place):
            drawn = seeds.derive(seed, "caption", place) % len(captions)
            ask = replace(ask, caption=captions[drawn])
        shown.append(ask)
    return shown
