"""Clips made by two threads are the same bit for bit, and an end in between leaves whole units."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest
import torch

from dualipo.generator.sample import sample
from dualipo.interrupt import Interrupted
from dualipo.progress import PlainProgress
from dualipo.rounds import sampling, warming
from dualipo.rounds.clip_units import ClipSet
from dualipo.rounds.loop import opened
from dualipo.rounds.run import BASE_ROUND, Run
from dualipo.store import clips as clip_files
from dualipo.store import tensors
from tests.rounds import harness as harnesses
from tests.rounds.harness import Harness

NUM_STEPS = 2  # forward passes a unit, as it is one unguided batch
SECONDS = 30  # far more than decoding takes; only a test that fails waits so long


def inside(harness: Harness, path: Path, body: Callable[[Run], None], *overrides: str) -> int:
    """Do `body` with a run that is ready to sample its first round, in a child."""

    def begin() -> None:
        with opened(harness.recipe(path, *overrides), PlainProgress()) as run:
            warming.register_base(run)
            sampling.choose_fixed_prompts(run)
            body(run)

    return harnesses.in_child(begin, path=path)


def sample_round(run: Run) -> None:
    sampling.sample_candidates(run, 0, sampling.choose_prompts(run, 0))


def on_step(run: Run, step: int, body: Callable[[], object]) -> None:
    """Do `body` when the transformer begins its nth forward pass."""
    steps = iter(range(1_000_000))
    run.generator("base").module.register_forward_pre_hook(
        lambda *_: body() if next(steps) == step else None
    )


def round_latents(state: harnesses.State) -> harnesses.State:
    """Return the latents of the first round's candidates."""
    return {name: state[name] for name in state if name.startswith("latents/000/")}


def test_a_unit_is_denoised_while_the_one_before_is_decoded(keeping: Harness) -> None:
    def overlapped(run: Run) -> None:
        began, waited = Event(), []

        def wait(*_: object) -> None:
            if not waited:
                waited.append(began.wait(SECONDS))

        vae = run.generator("base")._vae  # type: ignore[attr-defined]
        vae.post_quant_conv.register_forward_pre_hook(wait)
        on_step(run, NUM_STEPS, began.set)
        sample_round(run)
        assert waited == [True], "the second unit waited for the first one's decoding"
        require_synchronous_bits(run)

    with harnesses.elsewhere(keeping) as path:
        assert inside(keeping, path, overlapped) == 0, harnesses.log(path)
        assert round_latents(harnesses.state(path)) == round_latents(keeping.clean)


def require_synchronous_bits(run: Run) -> None:
    """Make every unit again in one thread, and require the same bits."""
    rows = {row.candidate_id: row for row in run.ledger.candidates(0)}
    paths = sorted((run.directory.path / "latents" / "000").iterdir())
    assert len(paths) == 2
    settings = run.config.generator
    prompts = sampling.choose_prompts(run, 0)
    clips = ClipSet("candidates", 0, 0, "base", prompts, 2)
    ids = [clips.candidate_id(prompt, k) for prompt in prompts for k in range(2)]
    for n, path in enumerate(paths):
        candidates = [rows[candidate_id] for candidate_id in ids[8 * n : 8 * n + 8]]
        again = sample(
            run.generator("base"),
            captions=[c.caption for c in candidates],
            seeds=[c.seed for c in candidates],
            settings=settings,
        )
        kept = tensors.load(path)
        clips_again = zip(candidates, again.frames_NFHW3, again.latents, strict=True)
        for candidate, frames, latent in clips_again:
            assert torch.equal(kept[f"latent.{candidate.candidate_id}"], latent)
            assert torch.equal(kept[f"text.{candidate.prompt_id}"], again.texts[candidate.caption])
            clip_path = run.clip_store.path(candidate.clip)
            content = clip_files.encode_clip(frames.numpy(), settings.fps)
            assert content == clip_path.read_bytes()


def test_fault_10_an_interrupt_keeps_the_unit_that_the_worker_has(keeping: Harness) -> None:
    def interrupted(run: Run) -> None:
        on_step(run, 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(Interrupted):
            sample_round(run)
        clips = ClipSet("candidates", 0, 0, "base", (), 2)
        assert run.ledger.is_done(clips.unit(0)) and not run.ledger.is_done(clips.unit(1))

    with harnesses.elsewhere(keeping) as path:
        assert inside(keeping, path, interrupted) == 0, harnesses.log(path)
        first = harnesses.state(path)  # no file without a row
        assert len(round_latents(first)) == 1
        assert inside(keeping, path, sample_round) == 0, harnesses.log(path)
        assert "swept" not in harnesses.log(path)
        assert round_latents(harnesses.state(path)) == round_latents(keeping.clean)


def test_an_error_of_the_worker_surfaces_with_its_cause(harness: Harness) -> None:
    def broken(run: Run) -> None:
        def fail(*_: object) -> None:
            raise ZeroDivisionError("in the autoencoder") from KeyError("the cause")

        vae = run.generator("base")._vae  # type: ignore[attr-defined]
        vae.post_quant_conv.register_forward_pre_hook(fail)
        with pytest.raises(ZeroDivisionError, match="in the autoencoder") as raised:
            sample_round(run)
        assert isinstance(raised.value.__cause__, KeyError)
        assert not run.ledger.candidates(0)

    with harnesses.elsewhere(harness) as path:
        assert inside(harness, path, broken) == 0, harnesses.log(path)


def test_several_threads_are_the_worker_s_too_and_are_not_shared(harness: Harness) -> None:
    def threads(run: Run) -> None:
        num_threads: list[int] = []
        vae = run.generator("base")._vae  # type: ignore[attr-defined]
        vae.post_quant_conv.register_forward_pre_hook(
            lambda *_: num_threads.append(torch.get_num_threads())
        )
        torch.set_num_threads(2)
        on_step(run, NUM_STEPS, lambda: num_threads.append(0))
        sample_round(run)
        assert num_threads == [2, 0, 2]  # a unit is decoded, then the next is denoised

    with harnesses.elsewhere(harness) as path:
        assert inside(harness, path, threads) == 0, harnesses.log(path)


def test_texts_of_fixed_prompts_are_encoded_once_for_all_versions(harness: Harness) -> None:
    # The empty caption's text, which guidance needs, is among them; the clips are the same.
    def thrice(run: Run) -> None:
        prompts = sampling.fixed_prompts(run, "monitor")
        sampled = []
        for attempt, texts_of in enumerate(("monitor", "monitor", None)):
            run.forget_models()  # as another version would be read anew
            clips = ClipSet("monitor", BASE_ROUND, attempt, "base", prompts, 1, texts_of=texts_of)
            sampled.append([candidate.clip for candidate in sampling.sample_set(run, clips)])
            was_encoded = "_text_pipeline" in vars(run.generator("base"))
            assert was_encoded == (attempt != 1)
        assert sampled[0] == sampled[1] == sampled[2]

    with harnesses.elsewhere(harness) as path:
        ended = inside(harness, path, thrice, "generator.guidance_scale=3.0")
        assert ended == 0, harnesses.log(path)
