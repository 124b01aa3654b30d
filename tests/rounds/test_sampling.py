"""Generators that make clips nobody can use, and latents that go when their round is over."""

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from diffusers import WanPipeline

from dualipo.events import PreferEvent, SampleEvent
from dualipo.progress import PlainProgress
from dualipo.records import Candidate
from dualipo.rounds import sampling, warming
from dualipo.rounds.loop import opened
from dualipo.store import tables
from tests.generator.conftest import make_pipeline
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

LARGEST_FLOAT = 3.4e38


@pytest.fixture
def spoilt(memory: Path, request: pytest.FixtureRequest) -> Callable[..., Path]:
    def make(spoil: Callable[[WanPipeline], None]) -> Path:
        pipeline = make_pipeline()
        spoil(pipeline)
        folder = memory / request.node.name
        pipeline.save_pretrained(folder)
        return folder

    return make


def overflow(pipeline: WanPipeline) -> None:
    """Let a latent beyond 1.8 overflow on its way to the decoder; the others are unchanged."""
    vae = pipeline.vae
    first, *others = vae.config.latents_std
    std = LARGEST_FLOAT / 1.8
    vae.register_to_config(latents_std=[std, *others])
    vae.post_quant_conv.weight.data[:, 0] *= first / std


def look_away(pipeline: WanPipeline) -> None:
    """Hide the latent from the decoder, so that it draws one picture."""
    pipeline.vae.post_quant_conv.weight.data.zero_()


def test_fault_23_what_overflows_is_sampled_once_more_then_left_out(
    harness: Harness, spoilt: Callable[..., Path]
) -> None:
    folder = spoilt(overflow)
    with harnesses.elsewhere(harness) as path:
        name = f"generator.pretrained_model_name_or_path={folder}"
        settings = harness.recipe(path, name)

        def sample() -> None:
            with opened(settings, PlainProgress()) as run:
                warming.register_base(run)
                sampling.choose_fixed_prompts(run)
                sampling.sample_candidates(run, 0, sampling.choose_prompts(run, 0))

        assert harnesses.in_child(sample, path=path) == 0, harnesses.log(path)
        [event] = harnesses.events(path, SampleEvent)
        with harnesses.ledger_of(path) as ledger:
            candidates = ledger.candidates(0)
        published = path / "rounds" / "000" / "candidates.parquet"
        table = tables.read_records(published, record_type=Candidate)
    assert event.num_clips == len(candidates) == 16 - event.num_rejected < 16
    again = [candidate for candidate in candidates if candidate.draw == 1]
    assert event.num_resampled == len(again) > 0
    assert {candidate.draw for candidate in candidates} == {0, 1}
    whole = {candidate.prompt_id for candidate in table}
    assert event.num_prompts_dropped == 8 - len(whole) > 0
    assert len(table) == 2 * len(whole)


def test_fault_24_clips_without_contrast_make_no_pair(
    harness: Harness, spoilt: Callable[..., Path]
) -> None:
    folder = spoilt(look_away)
    with harnesses.elsewhere(harness) as path:
        name = f"generator.pretrained_model_name_or_path={folder}"
        settings = harness.recipe(path, name, "seed_labels.holdout_share=0.01")
        assert harnesses.ended(settings) == 0
        said = harnesses.log(path)
        [event] = harnesses.events(path, PreferEvent)
        with harnesses.ledger_of(path) as ledger:
            assert len({candidate.clip for candidate in ledger.candidates(0)}) == 1
    num_alike = event.dropped.pop("no contrast")
    assert event.kept == 0 and event.dropped.keys() <= {"unreadable"}
    assert f"{num_alike} of 8 prompts have no contrast" in said
    assert "no preference was kept (dropped: " in said


@pytest.mark.parametrize("point", ["ledger.before_commit", "ledger.after_commit"])
def test_rounds_that_are_over_leave_no_latents_even_if_killed(
    harness: Harness, keeping: Harness, point: str
) -> None:
    # A finished run that kept them is resumed without keeping them: as if it never had.
    assert folders_of_latents(keeping.clean) == {"000", "001", "real"}
    assert folders_of_latents(harness.clean) == {"real"}
    with harnesses.elsewhere(keeping) as path:
        settings = keeping.recipe(path, "generator.keep_latents=false")
        names = path.with_name("names")
        shutil.copytree(keeping.path, path)
        assert harnesses.ended(settings, fail=f"count@{names}") == 0, harnesses.log(path)
        assert harnesses.state(path) == harness.clean
        shutil.rmtree(path)
        shutil.copytree(keeping.path, path)
        hit = 1 + names.read_text().split().index(point)
        assert harnesses.ended(settings, fail=f"kill@{hit}") == -signal.SIGKILL
        assert harnesses.ended(settings) == 0, harnesses.log(path)
        is_committed = point == "ledger.after_commit"
        assert ("swept latents/000/" in harnesses.log(path)) == is_committed
        assert harnesses.state(path) == harness.clean


def folders_of_latents(state: harnesses.State) -> set[str]:
    """Return the folders that hold latents: those of rounds, and "real"."""
    return {name.split("/")[1] for name in state if name.startswith("latents/")}
