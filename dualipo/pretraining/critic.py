"""Trains the embedded critic: a VILA folder that describes one clip or two in words.

First the vision tower learns to read what is measured in each frame (`sight`). Then the whole model
learns to describe clips, in sentences and frame by frame (`frame_words`), while the readout of the
frames stays a second loss. A last stage goes on with generators' clips alone. The caption is mostly
wrong, so that the model does not copy from it. The world draws the clips, or generators of several
strengths make them (`clip_pool`). Most questions for sentences ask for all three dimensions, so
that one look at a clip teaches three descriptions.

The descriptions come from the measurement of a clip, which the oracle uses too. The critic is never
shown a preference, a grade or a verdict: the warm start's seed labels teach them (METHOD.md 3.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from dualipo.config import WORLD, Critic
from dualipo.critic import reasoning
from dualipo.critic.models.projector import MmProjector
from dualipo.critic.models.vila import Vila, VilaModule
from dualipo.critic.vlm import Query
from dualipo.pretraining import frame_words, settings, sight
from dualipo.pretraining.clip_pool import DRAWN, GENERATED, ClipPool, SeenClip
from dualipo.pretraining.settings import (
    CAPTIONS,
    FAMILIAR_QUESTIONS,
    QUESTIONS,
    CaptionShares,
    QuestionShares,
)
from dualipo.records import DIMENSIONS, Dimension
from dualipo.seeds import derive
from dualipo.training.loop import Metrics, Objective, train
from dualipo.world.captions import speak
from dualipo.world.descriptions import describe
from dualipo.world.oracle import parts
from dualipo.world.scenes import Scene, alter, draw_scene, other_motion
from dualipo.world.views import view_of_measurement

ALL_DIMENSIONS_SHARE = 0.6  # of the questions for sentences; the others ask for one dimension
PAIR_EVERY = 2  # every second step describes two clips, in half as many items
READING_WEIGHT = 0.3  # of the readout beside the description's loss

TAGS = ("<verdict>", "</verdict>", "<grade>", "</grade>")


@dataclass(frozen=True)
class Example:
    """A question about one clip or two, the description that answers it, and the clips' facts."""

    query: Query
    response: str
    clips: tuple[SeenClip, ...]
    seed: int


class Describing(Objective):
    """The description's mean negative log-likelihood, and the readout of some frames."""

    def __init__(self, vila: Vila, seeing: sight.Sight) -> None:
        self.vila = vila
        self.reading = sight.FrameReading(seeing)

    def loss(self, micro_batch: list[Example], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the loss per response token plus the weighted readout's."""
        log_probs_B, lengths_B = self.vila.log_probs(
            [example.query for example in micro_batch],
            [example.response for example in micro_batch],
        )
        nll = -(log_probs_B.sum() / lengths_B.sum())
        rng = np.random.default_rng(micro_batch[0].seed)
        clips = [clip for example in micro_batch for clip in example.clips]
        reading, metrics = self.reading.loss(sight.frames_to_read(clips, rng), None)
        return nll + READING_WEIGHT * reading, {"nll": float(nll.detach()), **metrics}


def batch(
    step: int,
    *,
    pools: Sequence[ClipPool],
    stage: str,
    captions: CaptionShares = CAPTIONS,
    questions: QuestionShares = QUESTIONS,
) -> list[Example]:
    """Draw the examples of a step, of one clip each or of two; pools take turns."""
    num_clips = 2 if step % PAIR_EVERY == 0 else 1
    return [
        example(
            derive(settings.SEED, stage, step, n),
            pool=pools[n % len(pools)],
            num_clips=num_clips,
            captions=captions,
            questions=questions,
        )
        for n in range(settings.CRITIC_TRAINING.train_batch_size // num_clips)
    ]


def example(
    seed: int,
    *,
    pool: ClipPool,
    num_clips: int,
    captions: CaptionShares = CAPTIONS,
    questions: QuestionShares = QUESTIONS,
) -> Example:
    """Draw a question about one clip or two of a prompt, and the description that answers it.

    The caption is the clips' own prompt, or one that says something else.
    """
    rng = np.random.default_rng(seed)
    clips = pool.draw(rng, num_clips)
    asked = _asked(rng, clips[0].asked, captions)
    dimension = DIMENSIONS[int(rng.integers(len(DIMENSIONS)))]
    drawn = rng.random()
    if drawn < questions.frame_by_frame:
        aspect = frame_words.draw_aspect(rng)
        asks = frame_words.question(aspect)
        words = [frame_words.describe_frames(clip.measurement, aspect) for clip in clips]
    elif drawn < questions.frame_by_frame + questions.one_frame:
        frame = int(rng.integers(len(clips[0].frames_FHW3)))
        asks = frame_words.question_of_one(frame)
        words = [frame_words.describe_one(clip.measurement, frame) for clip in clips]
    else:
        dimensions = DIMENSIONS if rng.random() < ALL_DIMENSIONS_SHARE else (dimension,)
        asks = question(*dimensions)
        words = [_words(clip, asked, dimensions) for clip in clips]
    query = Query(
        kind="pair" if num_clips == 2 else "point",
        caption=speak(asked, rng),
        dimension=dimension,
        clips=tuple(clip.frames_FHW3 for clip in clips),
        clip_hashes=tuple(f"{seed}-{n}" for n in range(num_clips)),
        question=asks,
    )
    response = f"A: {words[0]}\nB: {words[1]}" if num_clips == 2 else words[0]
    return Example(query, response, tuple(clips), seed)


def _asked(rng: np.random.Generator, scene: Scene, captions: CaptionShares) -> Scene:
    """Draw the scene of which the caption speaks."""
    drawn = rng.random()
    if drawn < captions.altered:
        return alter(rng, scene)
    if drawn < captions.altered + captions.moved:
        return replace(scene, motion=other_motion(rng, scene))
    if drawn < captions.altered + captions.moved + captions.other:
        return draw_scene(rng)
    return scene


def question(*dimensions: Dimension) -> str:
    """Ask for a description, in words that differ from the critic's own questions."""
    return f"Describe: {', '.join(WORLD.definition(each) for each in dimensions)}."


def _words(clip: SeenClip, asked: Scene, dimensions: Sequence[Dimension]) -> str:
    view = view_of_measurement(clip.measurement)
    return " ".join(
        describe(view, each, asked=asked, parts=parts(clip.measurement, asked, each))
        for each in dimensions
    )


def build(pools: Sequence[ClipPool]) -> Vila:
    """Build the untrained critic."""
    tokenizer = build_tokenizer(pools)
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.CRITIC_WIDTH,
            intermediate_size=settings.CRITIC_FFN,
            num_hidden_layers=settings.CRITIC_LAYERS,
            num_attention_heads=settings.CRITIC_HEADS,
            max_position_embeddings=settings.CRITIC_CONTEXT,
            tie_word_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    tower = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=settings.TOWER_WIDTH,
            intermediate_size=3 * settings.TOWER_WIDTH,
            num_hidden_layers=settings.TOWER_LAYERS,
            num_attention_heads=4,
            image_size=settings.FRAME_SIZE,
            patch_size=8,
            vision_use_head=False,
        )
    )
    projector = MmProjector(settings.TOWER_WIDTH, settings.CRITIC_WIDTH)
    return Vila(
        VilaModule(llm, tower, projector),
        tokenizer=tokenizer,
        settings=Critic(),
        chat_template="numbered",
        model_max_length=settings.CRITIC_CONTEXT,
    )


def build_tokenizer(pools: Sequence[ClipPool]) -> PreTrainedTokenizerFast:
    """Learn a byte-level tokenizer from the questions, captions and descriptions of the pools."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.CRITIC_VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(pools), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def _texts(pools: Sequence[ClipPool]) -> list[str]:
    texts = []
    for n in range(1500):
        drawn = example(
            derive(settings.SEED, "tokens", n), pool=pools[n % len(pools)], num_clips=1 + n % 2
        )
        query = drawn.query
        texts += [reasoning.fence(query.caption), drawn.response, query.question or ""]
        texts += [reasoning.question(kind, query.dimension) for kind in ("pair", "point")]
    labels = ["A: it. Grade: good", "B: it. Grade: normal", "A: it. Grade: bad", "USER: ASSISTANT:"]
    tags = ["<verdict>A</verdict>", "<verdict>B</verdict>", "<verdict>tie</verdict>"]
    grades = ["<grade>good</grade>", "<grade>normal</grade>", "<grade>bad</grade>"]
    return texts + (labels + tags + grades + ["Video A:\n", "Video B:\n", "Video:\n"]) * 300


def pools_of(folder: Path, work: Path, *, device: str) -> list[ClipPool]:
    """Return the pools from which a step draws by turns: of drawn clips first, then of generated.

    Generated clips come from the generator beside `folder`, and from what alignment makes of it.
    """
    make = partial(ClipPool, folder.parent / "generator", work, device=device)
    drawn = make(kinds=(DRAWN,), shards_per_kind=settings.NUM_DRAWN_SHARDS)
    generated = make(kinds=GENERATED, shards_per_kind=settings.SHARDS_PER_GENERATOR)
    return [drawn, *[generated] * settings.GENERATED_TURNS]


def pretrain(folder: Path, work: Path, *, device: str = "cpu", on_step: Any = None) -> None:
    """Train the critic in three stages on clips of `pools_of`; save it in half precision."""
    pools = pools_of(folder, work, device=device)
    _, *generated = pools
    torch.manual_seed(derive(settings.SEED, "critic weights") % 2**32)
    vila = build(pools)
    seeing = sight.Sight(vila.module)
    train(
        seeing,
        sight.FrameReading(seeing),
        batches=partial(sight.batch, pools=pools),
        settings=settings.TOWER_TRAINING,
        checkpoint_folder=work / "tower",
        seed=settings.SEED,
        on_step=on_step,
    )
    vila.module.to(device)
    whole = nn.ModuleList([vila.module, seeing.readout, seeing.words])
    familiar = partial(batch, pools=generated, questions=FAMILIAR_QUESTIONS)
    for name, stage, draw in (
        ("critic", settings.CRITIC_TRAINING, partial(batch, pools=pools)),
        ("familiar", settings.FAMILIAR_TRAINING, familiar),
    ):
        train(
            whole,
            Describing(vila, seeing),
            batches=partial(draw, stage=name),
            settings=stage,
            checkpoint_folder=work / name,
            seed=settings.SEED,
            on_step=on_step,
            split=_split,
        )
    save(folder, vila)


def save(folder: Path, vila: Vila) -> None:
    """Add the answer's tags to the tokenizer, untrained, and save in half precision.

    Otherwise the small tokenizer would split a tag into four pieces, and the warm start would have
    to learn to spell it. No answer is shown here.
    """
    vila.tokens.tokenizer.add_tokens(list(TAGS))
    vila.module.llm.resize_token_embeddings(len(vila.tokens.tokenizer), mean_resizing=False)
    vila.module.to("cpu", torch.float16)
    vila.save(folder)


def _split(examples: list[Example], num_micro_batches: int) -> list[list[Example]]:
    return [examples[n::num_micro_batches] for n in range(num_micro_batches)]
