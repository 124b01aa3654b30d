"""Units of clips: one is decoded and stored in the background while the next is denoised.

The main thread encodes texts, runs the transformer and commits, in order; one worker runs the VAE,
looks for faults, and publishes the clips and the latents' file. A unit is committed after the next
is denoised and before that is handed over, so nothing is published beside a commit: what a kill
leaves is what it would leave without the worker. A clip that cannot be used is sampled once more
with the next draw, then left out (faults 19, 23); its text is not encoded again.

On a CUDA device the worker's kernels queue on the same stream as the transformer's, as the device
is full of either; encoding, hashing and writing are what runs beside it. On a CPU of whose cores
the transformer takes several, the main thread waits: two pools of OpenMP threads on the same cores
wait for one another, and nothing would be won.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from dualipo.events import SampleUnitEvent
from dualipo.generator.backbone import Backbone
from dualipo.generator.sample import EMPTY, Denoised, decode, denoise
from dualipo.records import Candidate, Prompt
from dualipo.rounds.run import Run
from dualipo.store import stored, tensors
from dualipo.store.ledger import Unit
from dualipo.store.stored import Place

Kept = tuple[Candidate, Tensor]  # a stored candidate and its latent


@dataclass(frozen=True)
class ClipSet:
    """A set of clips to sample: who makes it, of which prompts, how many each, and where."""

    name: str
    round: int
    attempt: int
    version: str
    prompts: Sequence[Prompt]
    clips_per_prompt: int
    keep_latents: bool = False
    texts_of: str | None = None  # the fixed prompts that these are of: their texts are kept

    def unit(self, index: int) -> Unit:
        """The set's unit of work number `index`."""
        return Unit(self.round, self.attempt, f"sample.{self.name}", index)

    def candidate_id(self, prompt: Prompt, index: int) -> str:
        """Unique in the run, and without a hint of the version (fault 58)."""
        return f"{self.name}-{self.round}-{self.attempt}-{prompt.prompt_id}-{index}"


@dataclass(frozen=True)
class _Drawn:
    """Clips of a unit between the two threads: `kept` are those of an earlier draw."""

    index: int
    prompts: Sequence[Prompt]
    num_wanted: int
    wanted: list[Candidate]
    denoised: Denoised
    kept: list[Kept]


@dataclass(frozen=True)
class _Stored:
    """What the worker made of them."""

    kept: list[Kept]
    rejected: list[Candidate]
    files: tuple[Path, ...]


def sample_units(
    run: Run,
    clips: ClipSet,
    units: Iterable[tuple[int, Sequence[Prompt]]],
    *,
    texts: Mapping[str, Place],
) -> None:
    """Sample the units that are not done. `texts` are those by caption that are known.

    An interrupt or an error still commits the unit that the worker has.
    """
    behind: list[tuple[_Drawn, Future[_Stored]]] = []  # one at most
    # OpenMP counts threads by thread, and sums depend on their number.
    num_threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, "decode", torch.set_num_threads, (num_threads,)) as worker:

        def settle() -> None:
            while behind:
                _commit(run, clips, *behind.pop(), worker=worker)

        try:
            for index, prompts in units:
                if run.is_done(clips.unit(index)):
                    run.progress.advance(len(prompts) * clips.clips_per_prompt)
                    continue
                drawn = _draw(run, clips, index, prompts, texts)
                settle()
                generator = run.generator(clips.version)
                behind.append((drawn, worker.submit(_store, run, clips, generator, drawn)))
                if generator.device.type == "cpu" and num_threads > 1:
                    settle()
        finally:
            settle()


def _draw(
    run: Run, clips: ClipSet, index: int, prompts: Sequence[Prompt], texts: Mapping[str, Place]
) -> _Drawn:
    """The unit's latents, each from its candidate's first seed."""
    wanted = [
        _candidate(run, clips, prompt, k)
        for prompt in prompts
        for k in range(clips.clips_per_prompt)
    ]
    captions = {EMPTY, *(prompt.caption for prompt in prompts)}
    known = {caption: stored.read(texts[caption]) for caption in captions & texts.keys()}
    denoised = _denoised(run, clips, wanted, known)
    return _Drawn(index, prompts, len(wanted), wanted, denoised, kept=[])


def _denoised(
    run: Run, clips: ClipSet, wanted: Sequence[Candidate], texts: Mapping[str, Tensor]
) -> Denoised:
    generator = run.generator(clips.version)
    generator.load_decoder()
    return denoise(
        generator,
        captions=[candidate.caption for candidate in wanted],
        seeds=[candidate.seed for candidate in wanted],
        settings=run.config.generator,
        texts=texts,
    )


def _store(run: Run, clips: ClipSet, generator: Backbone, drawn: _Drawn) -> _Stored:
    """In the worker: decode, store what can be used, and the latents once nothing is redrawn."""
    kept, rejected = list(drawn.kept), []
    made = decode(generator, drawn.denoised)
    for candidate, clip in zip(drawn.wanted, made, strict=True):
        if clip.fault is None:
            name = run.clip_store.put(clip.frames_FHW3.numpy(), run.config.generator.fps)
            kept.append((replace(candidate, clip=name), clip.latent))
        elif not candidate.draw:
            rejected.append(candidate)
    files: tuple[Path, ...] = ()
    if clips.keep_latents and not rejected:
        files = (_save_latents(run, clips, drawn, kept, generator),)
    return _Stored(kept, rejected, files)


def _save_latents(
    run: Run, clips: ClipSet, drawn: _Drawn, kept: Sequence[Kept], generator: Backbone
) -> Path:
    path = latents_path(run, clips.round, drawn.index)
    named = {f"latent.{one.candidate_id}": latent.to(run.latents_dtype) for one, latent in kept}
    ids = {prompt.caption: prompt.prompt_id for prompt in drawn.prompts}
    named |= {f"text.{ids[caption]}": drawn.denoised.texts[caption] for caption in ids}
    tensors.save(path, named, metadata={"axes": generator.latent_axes[1:]})
    return path


def _commit(
    run: Run, clips: ClipSet, drawn: _Drawn, future: Future[_Stored], *, worker: ThreadPoolExecutor
) -> None:
    """Wait for the worker, draw once more what it rejected, and commit the unit."""
    found = future.result()
    if found.rejected:
        wanted = [_next_draw(run, candidate) for candidate in found.rejected]
        denoised = _denoised(run, clips, wanted, drawn.denoised.texts)
        again = replace(drawn, wanted=wanted, denoised=denoised, kept=found.kept)
        generator = run.generator(clips.version)
        found = worker.submit(_store, run, clips, generator, again).result()
    candidates = [candidate for candidate, _ in found.kept]
    run.commit(
        clips.unit(drawn.index),
        files=found.files,
        clips=tuple(dict.fromkeys(candidate.clip for candidate in candidates)),
        candidates=candidates,
        events=[SampleUnitEvent(wanted=drawn.num_wanted, made=len(candidates))],
    )
    run.progress.advance(drawn.num_wanted)


def _candidate(run: Run, clips: ClipSet, prompt: Prompt, index: int) -> Candidate:
    """A candidate to be: the seed is named by the set, and by the round where it is trained on."""
    where = (clips.round,) if clips.keep_latents else ()
    return Candidate(
        candidate_id=clips.candidate_id(prompt, index),
        prompt_id=prompt.prompt_id,
        caption=prompt.caption,
        index=index,
        draw=0,
        seed=run.seed("sample", clips.name, *where, prompt.prompt_id, index, 0),
        clip="",
        generator_version=clips.version,
        round=clips.round,
    )


def _next_draw(run: Run, candidate: Candidate) -> Candidate:
    draw = candidate.draw + 1
    return replace(candidate, draw=draw, seed=run.seed("resample", candidate.seed, draw))


def latents_path(run: Run, round: int, index: int) -> Path:
    """Where a unit's latents and texts are."""
    return run.directory.path / "latents" / f"{round:03d}" / f"unit-{index:04d}.safetensors"
