"""Prompts and clips: which captions a run uses for what, and what a generator makes of them.

Test, monitor and seed prompts are drawn once and never used to train; a round's prompts are fresh.
Clips are sampled in fixed units (`clip_units`): prompts x candidates, one seed each, named by (set,
prompt, k, draw), so the test clips of every version start from the same noise. The texts of the
test and monitor prompts are encoded once for all versions, as alignment trains no text encoder. A
prompt with fewer than two clips that can be used is dropped (faults 19, 23).

Artifacts: reads `prompts-<set>.parquet`; writes `texts-<set>.safetensors`, `<set>.parquet`, clips,
latents and candidate rows.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dualipo.config import Config
from dualipo.events import BadClipEvent, PromptsEvent, SampleEvent
from dualipo.generator.sample import EMPTY, encode_texts
from dualipo.prompts.corpus import CaptionList, Folded, choose
from dualipo.records import Candidate, Prompt
from dualipo.rounds import file_sources, world_sources
from dualipo.rounds.bench import Bench
from dualipo.rounds.clip_units import (
    ClipSet,
    again_unit,
    latents_path,
    sample_again,
    sample_units,
)
from dualipo.rounds.clock import Clock
from dualipo.rounds.run import BASE_ROUND, CUT, Run
from dualipo.rounds.versions import generator_before
from dualipo.store import stored, tables, tensors
from dualipo.store.ledger import Unit
from dualipo.store.stored import Place
from dualipo.workers.job import Work

REPEATS = "captions folded into another spelling"
ROUND = "candidates"  # the set that a round trains on; its latents and texts are kept


def choose_fixed_prompts(run: Run) -> None:
    """Draw the prompts of tests, of the monitor and of the seed, apart from one another."""
    unit = Unit(BASE_ROUND, 0, "prompts")
    if run.is_done(unit):
        return
    settings = run.config.prompts
    wanted = {
        "test": settings.num_test_prompts,
        "monitor": settings.num_monitor_prompts,
        "seed": run.config.seed_labels.num_prompts,
    }
    imported = _imported_prompts(run)
    taken = [prompt.caption for prompt in imported]
    files: list[Path] = []
    left: dict[str, list[str]] = {}
    # Sets with a file of their own first, so that no draw takes their captions.
    for name in sorted(wanted, key=lambda name: file_sources.fixed_path(run.config, name) is None):
        if name == "seed" and imported:
            chosen = imported
        elif file_sources.fixed_path(run.config, name) is not None:
            folded = file_sources.fixed_prompts(run.config, name, exclude=taken)
            chosen, own_left = list(folded.prompts), _left_out(folded)
            left = {why: left.get(why, []) + own_left.get(why, []) for why in left | own_left}
        else:
            chosen, own_left = _draw(run, num=wanted[name], purpose=name, exclude=taken)
            left |= own_left
        files.append(write_fixed_prompts(run, name, chosen))
        taken += [prompt.caption for prompt in chosen]
    _require_captions(run, taken)
    run.commit_without(unit, left, files=tuple(files))


def _require_captions(run: Run, taken: Sequence[str]) -> None:
    """Refuse a list of captions that does not last for all rounds, before days of work."""
    if run.config.prompts.source == "file":
        num = run.config.prompts.num_prompts * run.config.rounds
        _draw(run, num=num, purpose="all rounds", exclude=taken)


def _imported_prompts(run: Run) -> list[Prompt]:
    """Return the captions of the seed's label set, each once; none where annotators are asked."""
    seed = file_sources.imported_seed(run.config)
    labels = [] if seed is None else seed.labels.every
    prompts = {label.prompt_id: Prompt(label.prompt_id, label.prompt) for label in labels}
    return list(prompts.values())


def fixed_prompts(run: Run, name: str) -> list[Prompt]:
    """Return the prompts of the set "test", "monitor" or "seed"."""
    return run.records(_prompts_path(run, name), Prompt)


def choose_prompts(run: Run, round: int) -> list[Prompt]:
    """Draw fresh prompts for the round, apart from the fixed prompts and all earlier rounds'."""
    unit = Unit(round, 0, "prompts")
    path = run.directory.round_path(round) / "prompts.parquet"
    if not run.is_done(unit):
        run.directory.back_up(round)
        taken = [p for name in ("test", "monitor", "seed") for p in fixed_prompts(run, name)]
        for earlier in range(round):
            earlier_path = run.directory.round_path(earlier) / "prompts.parquet"
            taken += run.records(earlier_path, Prompt)
        exclude = [prompt.caption for prompt in taken]
        num = run.config.prompts.num_prompts
        prompts, left = _draw(run, num=num, purpose=f"round {round}", exclude=exclude)
        _write_prompts(path, prompts)
        num_folded = sum(prompt.multiplicity - 1 for prompt in prompts)
        screened = {why: len(refused) for why, refused in left.items() if why != REPEATS}
        event = PromptsEvent(num=len(prompts), num_folded=num_folded, screened=screened)
        run.commit(unit, files=(path,), events=[event])
    return run.records(path, Prompt)


def _draw(
    run: Run, *, num: int, purpose: str, exclude: Sequence[str]
) -> tuple[list[Prompt], dict[str, list[str]]]:
    """Return the prompts of one purpose, and the captions of the recipe's list that are left out.

    The embedded world composes more captions than it needs; those are not a user's, who lost them.
    """
    if num == 0:
        return [], {}
    captions = source_captions(run.config, num=num, purpose=purpose)
    drawn = choose(
        captions,
        num=num,
        seed=run.seed("prompts", purpose),
        exclude=exclude,
        right_to_left=run.config.prompts.right_to_left,
    )
    is_own = run.config.prompts.source == "file"
    return list(drawn.prompts), _left_out(drawn) if is_own else {}


def _left_out(drawn: Folded) -> dict[str, list[str]]:
    """Return the captions of a list that are no prompts, by reason."""
    left: dict[str, list[str]] = {}
    for refusal in drawn.refused:
        left.setdefault(f"captions refused ({refusal.kind})", []).append(refusal.caption)
    left[REPEATS] = list(drawn.repeats)
    return left


def source_captions(config: Config, *, num: int, purpose: str) -> CaptionList:
    """Return captions to choose `num` from: the world's, or all of the recipe's file."""
    if config.prompts.source == "world":
        return CaptionList(world_sources.captions(config, num=num, purpose=purpose))
    return file_sources.captions(config)


def write_fixed_prompts(run: Run, name: str, prompts: Sequence[Prompt]) -> Path:
    """Publish the prompts of the set "test", "monitor" or "seed"; return their file."""
    path = _prompts_path(run, name)
    _write_prompts(path, prompts)
    return path


def _write_prompts(path: Path, prompts: Sequence[Prompt]) -> None:
    """Publish prompts; they have a column of categories only where the captions have any."""
    columns, rows = tables.columns_of(Prompt), [asdict(prompt) for prompt in prompts]
    if not any(prompt.category for prompt in prompts):
        del columns["category"]
        rows = [{name: row[name] for name in columns} for row in rows]
    tables.write_rows(path, rows, kind=Prompt.__name__, columns=columns)


def _prompts_path(run: Run, name: str) -> Path:
    return run.directory.round_path(BASE_ROUND) / f"prompts-{name}.parquet"


def sample_candidates(run: Run, round: int, prompts: Sequence[Prompt]) -> list[Candidate]:
    """Sample the round's candidates by the newest generator; keep their latents and texts."""
    clips = ClipSet(
        name=ROUND,
        round=round,
        attempt=0,
        version=generator_before(run, round),
        prompts=prompts,
        clips_per_prompt=run.config.generator.num_candidates,
        keep_latents=True,
    )
    return sample_set(run, clips)


def sample_set(run: Run, clips: ClipSet) -> list[Candidate]:
    """Sample every unit that is not there yet; return the usable candidates of the whole set.

    One whose clip went bad is sampled once more, unless a critic has graded it; where it stays bad
    it is still returned, for what was made of it (`bad_clips.intact` leaves it out).
    """
    closing = clips.unit(-1)
    if not run.is_done(closing):
        num_clips = len(clips.prompts) * clips.clips_per_prompt
        run.progress.stage(closing.stage, round=clips.round, attempt=clips.attempt, total=num_clips)
        clock, num_before = Clock(), run.ledger.num_candidates(clips.ids_begin)
        sample_units(run, clips, enumerate(units_of(run, clips)), texts=_known_texts(run, clips))
        _close_set(run, clips, closing, clock, num_before=num_before)
    return _with_redrawn(run, clips, run.records(_set_path(run, clips), Candidate))


def units_of(run: Run, clips: ClipSet) -> list[Sequence[Prompt]]:
    """Return the prompts of each unit of a set, in order."""
    per_unit = max(1, run.config.generator.sample_batch_size // clips.clips_per_prompt)
    starts = range(0, len(clips.prompts), per_unit)
    return [clips.prompts[start : start + per_unit] for start in starts]


def _with_redrawn(run: Run, clips: ClipSet, sampled: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates as they are now; sample bad clips' once more, each at most once."""
    if not run.ledger.events(BadClipEvent):
        return list(sampled)
    now = {candidate.candidate_id: candidate for candidate in run.ledger.candidates(clips.round)}
    graded = run.ledger.graded(clips.round) if clips.keep_latents else set()
    for candidate in [now[before.candidate_id] for before in sampled]:
        is_open = candidate.clip in run.bad_clips and candidate.candidate_id not in graded
        if is_open and not run.is_done(again_unit(clips, candidate)):
            run.forget_models()  # the critic, beside which a generator may not fit
            sample_again(run, clips, candidate)
    now = {candidate.candidate_id: candidate for candidate in run.ledger.candidates(clips.round)}
    return [now[before.candidate_id] for before in sampled]


def _known_texts(run: Run, clips: ClipSet) -> dict[str, Place]:
    """Return where the texts of the fixed prompts are, by caption; encode them at the first use."""
    if clips.texts_of is None or not clips.prompts:
        return {}
    unit = Unit(BASE_ROUND, 0, f"texts.{clips.texts_of}")
    path = run.directory.round_path(BASE_ROUND) / f"texts-{clips.texts_of}.safetensors"
    names = {p.caption: f"text.{p.prompt_id}" for p in fixed_prompts(run, clips.texts_of)}
    if run.config.generator.guidance_scale > 1.0:
        names[EMPTY] = "empty"
    if not run.is_done(unit):
        asked = TextsWork(path.absolute(), clips.version, names)
        work = Work(unit.stage, tuple(names), asked)
        for done in run.spread(encode_known, [work], generator=clips.version):
            run.commit_without(unit, {CUT: done.row}, files=(path,))
    run.hashes.checked(path)
    return {caption: (str(path.absolute()), name) for caption, name in names.items()}


@dataclass(frozen=True)
class TextsWork:
    """Captions to encode for all versions: the file, and each embedding's name in it."""

    path: Path
    version: str
    names: Mapping[str, str]


def encode_known(bench: Bench, asked: TextsWork) -> list[str]:
    """Encode captions and publish their embeddings; return the captions that were cut."""
    generator, size = bench.generator(asked.version), bench.config.generator.sample_batch_size
    captions = [caption for caption in asked.names if caption != EMPTY]
    texts = encode_texts(generator, captions=captions, batch_size=size)
    texts |= encode_texts(generator, captions=[EMPTY], batch_size=1)
    named, padding = stored.without_zeros({name: texts[c] for c, name in asked.names.items()})
    tensors.save(asked.path, named, metadata=padding)
    return list(generator.cut_captions(captions))


def _sampled(run: Run, clips: ClipSet) -> list[Candidate]:
    """Return the clips of a set that are sampled so far."""
    return list(run.ledger.candidates_named(clips.ids_begin))


def _close_set(run: Run, clips: ClipSet, closing: Unit, clock: Clock, *, num_before: int) -> None:
    """Publish the set's table, without prompts that have fewer than two clips to compare.

    `num_before` clips were sampled before the clock began.
    """
    sampled = _sampled(run, clips)
    num_wanted = len(clips.prompts) * clips.clips_per_prompt
    needed = min(2, clips.clips_per_prompt)
    counts = Counter(candidate.prompt_id for candidate in sampled)
    order = {prompt.prompt_id: n for n, prompt in enumerate(clips.prompts)}
    usable = [c for c in sampled if counts[c.prompt_id] >= needed]
    usable.sort(key=lambda candidate: (order[candidate.prompt_id], candidate.index))
    path = _set_path(run, clips)
    tables.write_records(path, usable, record_type=Candidate)
    event = SampleEvent(
        num_clips=len(sampled),
        num_rejected=num_wanted - len(sampled),
        num_resampled=sum(candidate.draw > 0 for candidate in sampled),
        num_prompts_dropped=sum(counts[p.prompt_id] < needed for p in clips.prompts),
    )
    run.commit(
        closing,
        files=(path,),
        clock=clock,
        events=[event] if clips.keep_latents else [],
        num_clips=len(sampled) - num_before,
    )
    run.say_left_out(closing)


def _set_path(run: Run, clips: ClipSet) -> Path:
    if clips.keep_latents:
        return run.directory.round_path(clips.round) / f"{clips.name}.parquet"
    return run.directory.attempt_path(clips.round, clips.attempt) / f"{clips.name}.parquet"


def stored_latents(
    run: Run, round: int, *, candidates: Collection[str]
) -> tuple[dict[str, Place], dict[str, Place]]:
    """Return where these candidates' latents are, by candidate, and their texts, by prompt.

    The files that hold them are verified; of the round's other files only headers are read.
    """
    latents: dict[str, Place] = {}
    texts: dict[str, Place] = {}
    wanted = {f"latent.{candidate}" for candidate in candidates}
    for path in _latents_files(run, round):
        names = stored.names(str(path))
        if wanted.isdisjoint(names):
            continue
        run.hashes.checked(path)
        for name in names:
            kind, _, key = name.partition(".")
            (latents if kind == "latent" else texts)[key] = str(path), name
    return latents, texts


def drop_latents(run: Run, round: int) -> None:
    """Remove the latents and texts of a round that is over: nothing reads them again."""
    unit = Unit(round, 0, "drop_latents")
    if not run.config.generator.keep_latents and not run.is_done(unit):
        run.drop(unit, _latents_files(run, round))


def _latents_files(run: Run, round: int) -> list[Path]:
    return sorted(latents_path(run, round, "").parent.glob("unit-*.safetensors"))
