"""Trains the embedded critic: a VILA folder that describes one clip or two in words.

First the vision tower learns to see frames (`sight`), then projector and language model learn to
describe clips of the world, defects included, against a caption that may be wrong. Most questions
ask for all three dimensions at once, so that one look at a clip teaches three descriptions. In the
last stage all parts, the tower too, learn to describe the base generator's clips among the others
(`generated`). The descriptions come from the world's ground truth: from what was drawn, or measured
in a generator's clip. The critic is never shown a preference, a grade or a verdict: the warm
start's seed labels teach them (METHOD.md 3.3).
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
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
from dualipo.pretraining import settings, sight
from dualipo.pretraining.degradation import degrade
from dualipo.pretraining.generated import GeneratedClips
from dualipo.records import DIMENSIONS, Dimension
from dualipo.seeds import derive
from dualipo.training.loop import Metrics, Objective, train
from dualipo.world.captions import speak
from dualipo.world.clips import render
from dualipo.world.descriptions import describe
from dualipo.world.scenes import DEFECTS, Scene, alter, draw_defect, draw_scene
from dualipo.world.views import View, view_of_truth

DEFECT_SHARE = 0.6
TRUE_CAPTION_SHARE = 0.45
ALTERED_CAPTION_SHARE = 0.35
ALL_DIMENSIONS_SHARE = 0.6  # of the questions; the others ask for one
GENERATED_SHARE = 0.8  # of the last stage's examples
PAIR_EVERY = 2  # every second step describes two clips, in half as many items

TAGS = ("<verdict>", "</verdict>", "<grade>", "</grade>")

Example = tuple[Query, str]


class Describing(Objective):
    """The mean negative log-likelihood of the description's tokens."""

    def __init__(self, vila: Vila) -> None:
        self.vila = vila

    def loss(self, micro_batch: list[Example], prepared: None) -> tuple[Tensor, Metrics]:
        """Return the loss per response token."""
        queries, responses = zip(*micro_batch, strict=True)
        log_probs_B, lengths_B = self.vila.log_probs(queries, responses)
        return -(log_probs_B.sum() / lengths_B.sum()), {}


def batch(step: int, *, clips: GeneratedClips | None = None) -> list[Example]:
    """Draw the examples of a step, of one clip each or of two."""
    training = settings.FAMILIAR_TRAINING if clips else settings.CRITIC_TRAINING
    size, stage = training.train_batch_size, "familiar " if clips else ""
    if step % PAIR_EVERY == 0:
        seeds = [derive(settings.SEED, f"{stage}pair", step, n) for n in range(size // 2)]
        return [example(seed, num_clips=2, clips=clips) for seed in seeds]
    seeds = [derive(settings.SEED, f"{stage}point", step, n) for n in range(size)]
    return [example(seed, num_clips=1, clips=clips) for seed in seeds]


def example(seed: int, *, num_clips: int, clips: GeneratedClips | None = None) -> Example:
    """Draw a question about one clip or two, and the description that answers it.

    With `clips`, most examples show those of a generator, against their own prompt or an altered
    one.
    """
    rng = np.random.default_rng(seed)
    dimension = DIMENSIONS[int(rng.integers(len(DIMENSIONS)))]
    dimensions = DIMENSIONS if rng.random() < ALL_DIMENSIONS_SHARE else (dimension,)
    if clips is not None and rng.random() < GENERATED_SHARE:
        drawn = clips.draw(rng, num_clips)
        asked = drawn[0][0]
        asked = alter(rng, asked) if rng.random() < ALTERED_CAPTION_SHARE else asked
        shown = [(frames, _words(rng, view, asked, dimensions)) for _, frames, view in drawn]
    else:
        asked = draw_scene(rng)
        shown = [_clip(rng, asked, dimensions) for _ in range(num_clips)]
    frames, words = zip(*shown, strict=True)
    query = Query(
        kind="pair" if num_clips == 2 else "point",
        caption=speak(asked, rng),
        dimension=dimension,
        clips=frames,
        clip_hashes=tuple(f"{seed}-{n}" for n in range(num_clips)),
        question=question(*dimensions),
    )
    return query, f"A: {words[0]}\nB: {words[1]}" if num_clips == 2 else words[0]


def question(*dimensions: Dimension) -> str:
    """Ask for a description, in words that differ from the critic's own questions."""
    return f"Describe: {', '.join(WORLD.definition(each) for each in dimensions)}."


def _clip(
    rng: np.random.Generator, asked: Scene, dimensions: Sequence[Dimension]
) -> tuple[np.ndarray, str]:
    """Draw a clip of the asked scene, of a similar or another one; return its description too."""
    draw = rng.random()
    shown = asked
    if draw > TRUE_CAPTION_SHARE:
        near = draw < TRUE_CAPTION_SHARE + ALTERED_CAPTION_SHARE
        shown = alter(rng, asked) if near else draw_scene(rng)
    defect = draw_defect(rng, shown, kinds=DEFECTS) if rng.random() < DEFECT_SHARE else None
    frames_FHW3 = degrade(render(shown, rng, num_frames=settings.NUM_FRAMES, defect=defect), rng)
    view = view_of_truth(shown, defect, num_frames=settings.NUM_FRAMES)
    return frames_FHW3, _words(rng, view, asked, dimensions)


def _words(
    rng: np.random.Generator, view: View, asked: Scene, dimensions: Sequence[Dimension]
) -> str:
    return " ".join(describe(view, each, asked=asked, rng=rng) for each in dimensions)


def build() -> Vila:
    """Build the untrained critic."""
    tokenizer = build_tokenizer()
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
        chat_template="plain",
        model_max_length=settings.CRITIC_CONTEXT,
    )


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Learn a byte-level tokenizer from the world's questions, captions and descriptions."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.CRITIC_VOCABULARY,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<s>", eos_token="</s>"
    )


def _texts() -> list[str]:
    texts = []
    for n in range(1500):
        query, description = example(derive(settings.SEED, "tokens", n), num_clips=1 + n % 2)
        texts += [reasoning.fence(query.caption), description, query.question or ""]
        texts += [reasoning.question(kind, query.dimension) for kind in ("pair", "point")]
    labels = ["A: it. Grade: good", "B: it. Grade: normal", "A: it. Grade: bad", "USER: ASSISTANT:"]
    tags = ["<verdict>A</verdict>", "<verdict>B</verdict>", "<verdict>tie</verdict>"]
    grades = ["<grade>good</grade>", "<grade>normal</grade>", "<grade>bad</grade>"]
    return texts + (labels + tags + grades + ["Video A:\n", "Video B:\n", "Video:\n"]) * 300


def pretrain(folder: Path, work: Path, *, device: str = "cpu", on_step: Any = None) -> None:
    """Train the critic in three stages and save it to `folder`, in half precision.

    It learns to see, then to describe, then both on clips of the generator beside `folder`.
    """
    torch.manual_seed(derive(settings.SEED, "critic weights") % 2**32)
    vila = build()
    seeing = sight.Sight(vila.module)
    train(
        seeing,
        sight.FrameReading(seeing),
        batches=sight.batch,
        settings=settings.TOWER_TRAINING,
        checkpoint_folder=work / "tower",
        seed=settings.SEED,
        on_step=on_step,
    )
    vila.module.vision_tower.requires_grad_(False)
    vila.module.to(device)
    train(
        vila.module,
        Describing(vila),
        batches=batch,
        settings=settings.CRITIC_TRAINING,
        checkpoint_folder=work / "critic",
        seed=settings.SEED,
        on_step=on_step,
        split=_split,
    )
    vila.module.vision_tower.requires_grad_(True)
    clips = GeneratedClips(folder.parent / "generator", work, device=device)
    train(
        vila.module,
        Describing(vila),
        batches=partial(batch, clips=clips),
        settings=settings.FAMILIAR_TRAINING,
        checkpoint_folder=work / "familiar",
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
