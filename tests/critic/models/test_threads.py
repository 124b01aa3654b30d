"""A small model's inference takes one thread, and gives the others back."""

import pytest
import torch
from torch import nn

from dualipo.critic.models import threads


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_one_thread_inside_and_as_many_as_before_after_an_error():
    with pytest.raises(KeyError), threads.few_for(nn.Linear(2, 2)):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == 2


def test_a_large_model_keeps_its_threads():
    with torch.device("meta"):
        large = nn.Linear(threads.SMALL, 1)
    with threads.few_for(large):
        assert torch.get_num_threads() == 2
