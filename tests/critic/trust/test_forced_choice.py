"""Forced choice: the lean of a critic on a pair, without a preference for a position."""

import torch

from dualipo.config import Critic
from dualipo.critic.asks import Item
from dualipo.critic.trust import forced_choice
from dualipo.records import DIMENSIONS
from tests.critic.conftest import Scripted, brightest, shade

SETTINGS = Critic(max_frames=3)
PAIRS = [Item(f"p{i}", "a lamp", ("shade200", f"shade{20 * i}")) for i in range(6)]


def test_forced_choice_cancels_position_and_counts_halves():
    def lean(vlm):
        return forced_choice.margins(vlm, PAIRS, clips=shade, settings=SETTINGS)

    truth = {(item.item_id, d): "a" for item in PAIRS for d in DIMENSIONS}
    assert forced_choice.accuracy(lean(Scripted(brightest)), truth) == 1.0
    always_first = Scripted(lambda query, seed: "A: x\nB: x\n<verdict>A</verdict>")
    assert forced_choice.accuracy(lean(always_first), truth) == 0.5
    assert forced_choice.accuracy({}, {("p", "motion"): "tie"}) is None


def test_fault_26_forced_choice_asks_fewer_at_once_when_memory_runs_out():
    class Small(Scripted):
        most = 0

        def sample(self, queries, sampling):
            if len(queries) > 5:
                raise torch.OutOfMemoryError
            self.most = max(self.most, len(queries))
            return super().sample(queries, sampling)

    def lean(vlm):
        return forced_choice.margins(vlm, PAIRS, clips=shade, settings=SETTINGS)

    small = Small(brightest)
    assert lean(small) == lean(Scripted(brightest)) and small.most == 5  # 36, 18, 9, 5


def test_a_tag_in_a_thought_does_not_end_the_evidence():
    text = "<think>maybe <verdict>B</verdict></think>\nAnswer: A"
    assert forced_choice.up_to("<verdict>", text) == f"{text}\n<verdict>"
    assert forced_choice.up_to("<verdict>", "A: x\n<verdict>A</verdict>") == "A: x\n<verdict>"
