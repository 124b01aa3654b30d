"""A critic's estimate: counts on the meta device are those of a real step of the same model."""

from pathlib import Path

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel

from dualipo.config import Critic, CriticTraining, Generator
from dualipo.critic import estimate
from dualipo.critic.models import contexts, published
from dualipo.critic.models.transformers_vlm import TransformersVlm
from dualipo.critic.models.vila import Vila
from dualipo.training import optim
from dualipo.training.live_bytes import LiveBytes
from tests.critic import vlms
from tests.critic.conftest import make_query, make_tokenizer, make_vila

CLIPS = Generator(num_frames=4, height=32, width=32)
ANSWER = "A: good " * 12


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("critics")
    make_vila(scale=1).save(folder / "vila")
    model = vlms.make("qwen2_5_vl", scale=1)
    TransformersVlm(model, tokenizer=make_tokenizer(), settings=Critic()).save(folder / "qwen")
    return {"vila": folder / "vila", "qwen": folder / "qwen"}


@pytest.mark.parametrize("is_checkpointed", [False, True])
@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("kind", ["vila", "qwen"])
def test_a_step_keeps_as_many_bytes_as_are_estimated(
    kind: str, rank: int, is_checkpointed: bool, folders: dict[str, Path]
) -> None:
    settings = Critic(
        max_frames=3, rank=rank, gradient_checkpointing=is_checkpointed, max_new_tokens=60
    )
    critic = (Vila if kind == "vila" else TransformersVlm).load(folders[kind], settings=settings)
    critic.adapt(seed=0)
    critic.module.train()
    size = estimate.measure(folders[kind], settings=settings, clips=CLIPS)
    assert size is not None
    assert size.num_trained == sum(w.numel() for w in optim.trainable(critic.module).values())
    queries = [make_query(), make_query(seed=5)]
    own = [*critic.module.parameters(), *critic.module.buffers()]
    with critic.learning(), sdpa_kernel([SDPBackend.FLASH_ATTENTION]), LiveBytes(own) as live:
        sums_B, lengths_B = critic.log_probs(queries, [ANSWER, ANSWER])
        sums_B.sum().backward()
    num_answer = int(lengths_B[0])
    settings = settings.model_copy(update={"max_new_tokens": num_answer})
    size = estimate.measure(folders[kind], settings=settings, clips=CLIPS)
    training = CriticTraining(max_train_steps=1, train_batch_size=2)
    told = estimate.training_memory(size, training, paths_an_item=1)
    counted = told["gradients"] + told["activations of 2 paths"]
    assert counted == pytest.approx(live.peak, rel=0.15)
    assert told["optimizer"] == 8 * size.num_trained


@pytest.mark.parametrize("kind", ["vila", "qwen"])
def test_the_form_of_an_answer_counts_where_it_is_told(kind: str, folders: dict[str, Path]) -> None:
    told = Critic(max_frames=3, reader="tolerant")
    counted = [
        contexts.of_pair(folders[kind], settings=settings, clips=CLIPS)
        for settings in (Critic(max_frames=3), told)
    ]
    trained, untrained = [prompt.length for prompt in counted if prompt]
    form = make_tokenizer().encode(f"{told.instructions('pair')}\n\n", add_special_tokens=False)
    assert untrained - trained == pytest.approx(len(form), abs=2)  # where it joins other words


@pytest.mark.parametrize(
    ("name", "billions"),
    [("vila1.5-13b", 13.49), ("qwen2.5-vl-3b-instruct", 3.755), ("qwen2.5-vl-7b-instruct", 8.292)],
)
def test_a_published_critic_is_as_large_as_its_release(
    name: str, billions: float, tmp_path: Path
) -> None:
    published.write(tmp_path, published.PUBLISHED[name])
    size = estimate.measure(tmp_path, settings=Critic(max_frames=8), clips=CLIPS)
    assert size is not None
    assert size.num_parameters == pytest.approx(billions * 1e9, rel=1e-3)
