"""Units of clips: one is decoded and stored in the background while the next is denoised.

    main thread   denoise 0 | denoise 1           | commit 0, denoise 2           | commit 1 ...
    worker                  | decode and store 0  | decode and store 1            | ...

The main thread encodes texts, runs the transformer and commits, in order. The worker runs the VAE,
looks for faults, and publishes the clips and the latents' file. A unit is committed after the next
one is denoised and before that one is handed over. So nothing is published beside a commit, and a
kill leaves what it would leave without the worker. A clip that cannot be used is sampled once more
with the next draw, then left out (fault 23); its text is not encoded again. So is a clip whose file
goes bad later (faults 19, 20; `bad_clips`).

So it is where the driver samples itself. Where workers do (`Run.spread`), each does a whole unit,
one half after the other, and the driver commits.

On a CUDA device the worker's kernels queue on the transformer's stream, as either fills the device;
encoding, hashing and writing run beside it. On a CPU whose cores the transformer shares, the main
thread waits instead: two pools of OpenMP threads on the same cores would wait for one another.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from dualipo import left_out
from dualipo.events import SampledAgainEvent, SampleUnitEvent
from dualipo.generator.backbone import Backbone
from dualipo.generator.sample import EMPTY, Denoised, decode, denoise
from dualipo.records import Candidate, Prompt
from dualipo.rounds.bench import Bench
from dualipo.rounds.run import CUT, Run
from dualipo.store import stored, tensors
from dualipo.store.ledger import Unit
from dualipo.store.stored import Place
from dualipo.workers.job import Cost, Work

Kept = tuple[Candidate, Tensor]  # a stored candidate and its latent


@dataclass(frozen=True)
class ClipSet:
    """A set of clips to sample: which version makes it, of which prompts, and how many each.

    `texts_of` names the fixed prompts that these belong to, whose texts are encoded once a run.
    """

    name: str
    round: int
    attempt: int
    version: str
    prompts: Sequence[Prompt]
    clips_per_prompt: int
    keep_latents: bool = False
    texts_of: str | None = None

    def unit(self, index: int) -> Unit:
        """Return the set's unit of work number `index`; -1 closes the set."""
        return Unit(self.round, self.attempt, f"sample.{self.name}", index)

    def candidate_id(self, prompt: Prompt, index: int) -> str:
        """Return an id that is unique in the run and does not betray the version (fault 58)."""
        return f"{self.ids_begin}{prompt.prompt_id}-{index}"

    @property
    def ids_begin(self) -> str:
        """Return what the ids of the set's candidates begin with, and no other set's do."""
        return f"{self.name}-{self.round}-{self.attempt}-"


@dataclass(frozen=True)
class _Drawn:
    """A unit of denoised clips, for the worker; `kept` are usable clips of an earlier draw."""

    unit: Unit
    file_name: str
    prompts: Sequence[Prompt]
    num_wanted: int
    wanted: list[Candidate]
    denoised: Denoised
    kept: list[Kept]


@dataclass(frozen=True)
class _Stored:
    """A unit that the worker stored, and the candidates that it could not use."""

    kept: list[Kept]
    rejected: list[Candidate]
    hashed: dict[str, str]  # the latents' file, by name in the run


def sample_units(
    run: Run,
    clips: ClipSet,
    units: Iterable[tuple[int, Sequence[Prompt]]],
    *,
    texts: Mapping[str, Place],
) -> None:
    """Sample the units that are not done; `texts` are known text embeddings by caption.

    An interrupt or an error still commits the unit that the worker has.
    """
    if not run.is_inline:
        return _spread_units(run, clips, units, texts)
    behind: list[tuple[_Drawn, Future[_Stored]]] = []  # one at most
    # A new thread has its own OpenMP setting, and sums depend on the number of threads.
    num_threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, "decode", torch.set_num_threads, (num_threads,)) as worker:

        def settle() -> None:
            while behind:
                _settled(run, clips, *behind.pop(), worker=worker)

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
    bench: Bench, clips: ClipSet, index: int, prompts: Sequence[Prompt], texts: Mapping[str, Place]
) -> _Drawn:
    """Denoise a unit, each clip from its candidate's first seed."""
    wanted = [
        _candidate(bench, clips, prompt, k)
        for prompt in prompts
        for k in range(clips.clips_per_prompt)
    ]
    captions = {EMPTY, *(prompt.caption for prompt in prompts)}
    known = {caption: stored.read(texts[caption]) for caption in captions & texts.keys()}
    denoised = _denoised(bench, clips, wanted, known)
    unit = clips.unit(index)
    return _Drawn(unit, f"{index:04d}", prompts, len(wanted), wanted, denoised, kept=[])


def _denoised(
    bench: Bench, clips: ClipSet, wanted: Sequence[Candidate], texts: Mapping[str, Tensor]
) -> Denoised:
    """Denoise candidates; texts that are not known are encoded."""
    generator = bench.generator(clips.version)
    generator.load_decoder()
    return denoise(
        generator,
        captions=[candidate.caption for candidate in wanted],
        seeds=[candidate.seed for candidate in wanted],
        settings=bench.config.generator,
        texts=texts,
    )


def _store(bench: Bench, clips: ClipSet, generator: Backbone, drawn: _Drawn) -> _Stored:
    """Decode a unit and store its usable clips, in the worker; its latents once none is redrawn."""
    kept, rejected = list(drawn.kept), []
    decoded = decode(generator, drawn.denoised)
    for candidate, clip in zip(drawn.wanted, decoded, strict=True):
        if clip.fault is None:
            name = bench.clip_store.put(clip.frames_FHW3.numpy(), bench.config.generator.fps)
            kept.append((replace(candidate, clip=name), clip.latent))
        elif not candidate.draw:
            rejected.append(candidate)
    hashed = {}
    if clips.keep_latents and not rejected:
        hashed = _save_latents(bench, clips, drawn, kept, generator)
    return _Stored(kept, rejected, hashed)


def _save_latents(
    bench: Bench, clips: ClipSet, drawn: _Drawn, kept: Sequence[Kept], generator: Backbone
) -> dict[str, str]:
    """Publish the latents of the kept clips and the texts of their prompts in one file."""
    path = latents_path(bench, clips.round, drawn.file_name)
    named = {f"latent.{c.candidate_id}": latent.to(bench.latents_dtype) for c, latent in kept}
    ids = {prompt.caption: prompt.prompt_id for prompt in drawn.prompts}
    texts, padding = stored.without_zeros(
        {f"text.{ids[caption]}": drawn.denoised.texts[caption] for caption in ids}
    )
    metadata = {"axes": generator.latent_axes[1:], **padding}
    sha256 = tensors.save(path, named | texts, metadata=metadata)
    return {path.relative_to(bench.path).as_posix(): sha256}


def _settled(
    run: Run, clips: ClipSet, drawn: _Drawn, future: Future[_Stored], *, worker: ThreadPoolExecutor
) -> None:
    """Wait for the worker, draw once more what it rejected, and commit the unit."""
    stored_unit = future.result()
    if again := _again(run, clips, drawn, stored_unit):
        stored_unit = worker.submit(
            _store, run, clips, run.generator(clips.version), again
        ).result()
    _commit(run, _row(run, clips, drawn, stored_unit))


def _again(bench: Bench, clips: ClipSet, drawn: _Drawn, before: _Stored) -> _Drawn | None:
    """Draw what was rejected once more; None where nothing was."""
    if not before.rejected:
        return None
    wanted = [_next_draw(bench, candidate) for candidate in before.rejected]
    denoised = _denoised(bench, clips, wanted, drawn.denoised.texts)
    return replace(drawn, wanted=wanted, denoised=denoised, kept=before.kept)


@dataclass(frozen=True)
class SampledUnit:
    """The row of a unit: its candidates with their clips' hashes, and the latents' file."""

    unit: Unit
    num_wanted: int
    candidates: list[Candidate]
    hashed: dict[str, str]
    cut: list[str]


def _row(bench: Bench, clips: ClipSet, drawn: _Drawn, stored_unit: _Stored) -> SampledUnit:
    captions = [prompt.caption for prompt in drawn.prompts if clips.texts_of is None]
    return SampledUnit(
        drawn.unit,
        drawn.num_wanted,
        [candidate for candidate, _ in stored_unit.kept],
        stored_unit.hashed,
        list(bench.generator(clips.version).cut_captions(captions)),
    )


def _commit(run: Run, sampled: SampledUnit, *, cost: Cost | None = None) -> None:
    run.commit(
        sampled.unit,
        hashed=sampled.hashed,
        clips=tuple(dict.fromkeys(candidate.clip for candidate in sampled.candidates)),
        candidates=sampled.candidates,
        cost=cost,
        events=[
            SampleUnitEvent(wanted=sampled.num_wanted, made=len(sampled.candidates)),
            *left_out.events_of({CUT: sampled.cut}),
        ],
    )
    run.progress.advance(sampled.num_wanted)


@dataclass(frozen=True)
class ClipWork:
    """A unit for a worker: its number in the set, the set with these prompts alone, known texts."""

    index: int
    clips: ClipSet
    texts: Mapping[str, Place]


def sample_unit(bench: Bench, asked: ClipWork) -> SampledUnit:
    """Sample one whole unit and publish its files."""
    clips = asked.clips
    drawn = _draw(bench, clips, asked.index, clips.prompts, asked.texts)
    generator = bench.generator(clips.version)
    stored_unit = _store(bench, clips, generator, drawn)
    if again := _again(bench, clips, drawn, stored_unit):
        stored_unit = _store(bench, clips, generator, again)
    return _row(bench, clips, drawn, stored_unit)


def _spread_units(
    run: Run,
    clips: ClipSet,
    units: Iterable[tuple[int, Sequence[Prompt]]],
    texts: Mapping[str, Place],
) -> None:
    """Have workers sample the units that are not done, and commit what they made."""
    works = []
    for index, prompts in units:
        if run.is_done(clips.unit(index)):
            run.progress.advance(len(prompts) * clips.clips_per_prompt)
            continue
        captions = [EMPTY, *(prompt.caption for prompt in prompts)]
        known = {caption: texts[caption] for caption in captions if caption in texts}
        works.append(
            Work(
                name=f"sample.{clips.name} {index} of round {clips.round}",
                items=tuple(prompt.prompt_id for prompt in prompts),
                content=ClipWork(index, replace(clips, prompts=tuple(prompts)), known),
            )
        )
    for done in run.spread(sample_unit, works, generator=clips.version):
        _commit(run, done.row, cost=done.cost)


def sample_again(run: Run, clips: ClipSet, candidate: Candidate) -> None:
    """Sample a bad clip's candidate once more with the next draw, in a unit of its own.

    It is a batch of one, whichever clips went bad beside it. What cannot be used stays bad.
    """
    unit = again_unit(clips, candidate)
    own = [prompt for prompt in clips.prompts if prompt.prompt_id == candidate.prompt_id]
    asked = AgainWork(unit, replace(clips, prompts=own), _next_draw(run, candidate))
    work = Work(f"{unit.stage} {unit.index}", (candidate.candidate_id,), asked)
    [done] = run.spread(draw_again, [work], generator=clips.version)
    redrawn, hashed = done.row
    event = SampledAgainEvent(candidate_id=candidate.candidate_id, is_usable=bool(redrawn))
    run.commit(
        unit,
        hashed=hashed,
        clips=tuple(kept.clip for kept in redrawn),
        redrawn=redrawn,
        events=[event],
    )


@dataclass(frozen=True)
class AgainWork:
    """A single candidate to sample: its unit, its set with its prompt alone, and its next draw."""

    unit: Unit
    clips: ClipSet
    candidate: Candidate


def draw_again(bench: Bench, asked: AgainWork) -> tuple[list[Candidate], dict[str, str]]:
    """Sample the candidate; return it if it can be used, and the file of its latent by its name."""
    denoised = _denoised(bench, asked.clips, [asked.candidate], {})
    drawn = _Drawn(
        unit=asked.unit,
        file_name=f"again-{asked.unit.index:04d}",
        prompts=asked.clips.prompts,
        num_wanted=1,
        wanted=[asked.candidate],
        denoised=denoised,
        kept=[],
    )
    stored_unit = _store(bench, asked.clips, bench.generator(asked.clips.version), drawn)
    return [kept for kept, _ in stored_unit.kept], stored_unit.hashed


def again_unit(clips: ClipSet, candidate: Candidate) -> Unit:
    """Return the unit in which a candidate of the set is sampled once more."""
    stage = f"sample_again.{clips.name}"
    return Unit(clips.round, clips.attempt, stage, _place(clips, candidate))


def _place(clips: ClipSet, candidate: Candidate) -> int:
    """Return a candidate's place in its set."""
    order = [prompt.prompt_id for prompt in clips.prompts]
    return order.index(candidate.prompt_id) * clips.clips_per_prompt + candidate.index


def _candidate(bench: Bench, clips: ClipSet, prompt: Prompt, index: int) -> Candidate:
    """Return a candidate without its clip yet.

    Its seed is named by the set and, in a set that is trained on, by the round too.
    """
    own_round = (clips.round,) if clips.keep_latents else ()
    return Candidate(
        candidate_id=clips.candidate_id(prompt, index),
        prompt_id=prompt.prompt_id,
        caption=prompt.caption,
        index=index,
        draw=0,
        seed=bench.seed("sample", clips.name, *own_round, prompt.prompt_id, index, 0),
        clip="",
        generator_version=clips.version,
        round=clips.round,
    )


def _next_draw(bench: Bench, candidate: Candidate) -> Candidate:
    draw = candidate.draw + 1
    return replace(candidate, draw=draw, seed=bench.seed("resample", candidate.seed, draw))


def latents_path(bench: Bench, round: int, name: str) -> Path:
    """Return the file of a unit's latents and texts; those sampled once more come last by name."""
    return bench.path / "latents" / f"{round:03d}" / f"unit-{name}.safetensors"
