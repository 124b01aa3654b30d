"""The common base of VILA and transformers' VLMs as critics: asked, scored, trained (METHOD.md 3).

How a query becomes an answer:

1. `embed_clips` turns each clip into visual tokens. They depend on the clip and the weights alone,
   and are remembered while the weights do not change (`memory`). A clip is always computed alone,
   never in a batch whose other members could change its rounding.
2. `write` turns a query into token ids, with the id `VISUAL` in the places of visual tokens.
3. `_pack` embeds the ids and puts the visual tokens into their places.
4. To sample, prompts are divided into shared prefixes and their rests (`prefixes`), all paths are
   drawn from one prefill a prefix (`decode`), and `_paths` reads the slots as reasoning paths.
   To score, `_logits` runs whole prompts with their responses behind them.

A subclass says how a clip is seen (`see`), how its folder is written (`write_to`), and where its
tokens stand if not simply one after the other (`positions`).

Legend: B queries, L tokens, H language-model width, F frames, M visual tokens a frame, R tokens
of the longest response, C choices, U prefixes, Q questions, S their tokens, J slots, T new tokens.
"""

import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from dualipo.config import Critic
from dualipo.critic.models import decode, templates, threads
from dualipo.critic.models.frame_choice import FpsOf, unknown_fps
from dualipo.critic.models.prefixes import Division, divide
from dualipo.critic.models.templates import Style
from dualipo.critic.models.tokens import Tokens
from dualipo.critic.models.vision import SizeOf
from dualipo.critic.vlm import Choice, Query, ReasoningPath, Response, Sampling
from dualipo.errors import ModelError
from dualipo.store.byte_cache import ByteCache
from dualipo.training import four_bits, lora, ranks
from dualipo.training.precision import autocast, train_in_float32
from dualipo.training.recompute import recomputed_layers

VISUAL = -1  # the id that holds a visual token's place


class ChatCritic(ABC):
    """A critic that runs here and can be asked and trained; implements `vlm.TrainableVlm`."""

    def __init__(
        self,
        module: nn.Module,
        llm: PreTrainedModel,
        *,
        tokenizer: PreTrainedTokenizerBase,
        settings: Critic,
        model_max_length: int,
        style: Style,
    ) -> None:
        self.module = module.eval()
        self.llm = llm
        self.tokens = Tokens(tokenizer, end=style.end, also_ends=style.also_ends)
        self.style = style
        self.settings = settings
        self.model_max_length = model_max_length
        self.memory = ByteCache[Tensor](max_bytes=settings.clip_memory_mb << 20)
        self._rests = False
        self._narrow: Callable[[], None] | None = None
        self.fps_of: FpsOf = unknown_fps

    size_of: SizeOf | None = None  # where it is known without the tower's own preprocessor

    @abstractmethod
    def see(self, clips: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """Return the visual tokens [F, M, H] of clips by hash, in one pass of the vision tower.

        H is a multiple of the width where the tower adds to deeper layers (`decode.deepened`).
        """

    @abstractmethod
    def write_to(self, folder: Path) -> None:
        """Write all weights and the files that `load` reads beside them."""

    def positions(self, queries: Sequence[Query], ids_BL: Tensor, mask_BL: Tensor) -> Tensor:
        """Return the positions of the tokens of (parts of) prompts: [B, L] or [axes, B, L]."""
        return decode.counted(mask_BL)

    def save(self, folder: Path | str) -> None:
        """Write a folder that this code and servers can load; an adapter is merged first."""
        self._end_learning()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.write_to(folder)

    def adapt(self, *, seed: int) -> None:
        """Attach a LoRA to the language model if the recipe sets `critic.rank`.

        The projector, and a tower that the recipe tunes, are trained themselves, in float32.
        """
        if self.settings.rank:
            lora.inject(self.llm.get_decoder(), settings=self.settings, seed=seed)
            self.llm.get_output_embeddings().requires_grad_(False)
            self._narrow = train_in_float32(self.module)

    def compress(self, device: torch.device | str) -> None:
        """Move to a device; the language model's layers in 4 bits, if the recipe asks for it."""
        if self.settings.load_in_4bit:
            four_bits.compress(self.llm.get_decoder())
        self.module.to(device)

    def shard(self) -> None:
        """Share the language model's blocks with the other ranks, if there are any."""
        ranks.shard_blocks(self.llm.get_decoder(), within=self.module)

    def trained_weights(self) -> dict[str, Tensor]:
        """Merge an adapter and return all weights, on the first of several ranks alone."""
        self._end_learning()
        weights = ranks.whole_state(self.module)
        own = {weight.data_ptr(): name for name, weight in reversed(weights.items())}
        return {name: weights[name] for name in own.values()}  # tied weights come once

    def _end_learning(self) -> None:
        """Make the weights plain again: in their own format, with the adapter merged."""
        if self._narrow:
            self._narrow()
        decoder = self.llm.get_decoder()
        four_bits.restore(decoder)
        lora.absorb(decoder)

    def load_trained(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights that another process's critic of this shape has learned."""
        unknown = self.module.load_state_dict(dict(weights), strict=False).unexpected_keys
        assert not unknown, f"weights of another critic: {unknown[:3]}"

    def write(self, query: Query, num_tokens: dict[str, tuple[int, int]]) -> list[int]:
        """Return a prompt's token ids, with `VISUAL` for each of a clip's F x M visual tokens."""
        frames = [num_tokens[clip_hash][0] for clip_hash in query.clip_hashes]
        ids = list(self.tokens.start) if self.style.begins else []
        parts = templates.prompt(
            query,
            num_frames=frames,
            style=self.style,
            settings=self.settings,
            fps_of=self.fps_of,
        )
        for part in parts:
            if isinstance(part, str):
                ids += self.tokens.encode(part)
            else:
                ids += [VISUAL] * num_tokens[query.clip_hashes[part.clip]][1]
        return ids

    def freeze(self) -> None:
        """End training for good: from now on clips can be remembered."""
        self.module.requires_grad_(False)

    def rest(self) -> None:
        """Promise that weights change inside `learning` only, so that clips can be remembered."""
        self._rests = True

    @contextmanager
    def learning(self) -> Iterator[None]:
        """Forget all clips, and remember none while the weights change inside this context."""
        rested, self._rests = self._rests, False
        self.memory.forget()
        try:
            with recomputed_layers(self.llm, is_on=self.settings.gradient_checkpointing):
                yield
        finally:
            self._rests = rested

    def hash(self) -> str:
        """Return the sha256 of all weights by name, and of questions other than the world's.

        The form of the answer counts where it is told. A saved and loaded critic has the same.
        """
        digest = hashlib.sha256(self.settings.mark_of_words.encode())
        for name, tensor in sorted(self.module.state_dict().items()):
            plain = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """The device that holds the weights."""
        return next(self.module.parameters()).device

    def embed_clips(self, queries: Sequence[Query]) -> dict[str, Tensor]:
        """Return the visual tokens [F, M, H] of every clip in the queries, by hash."""
        clips = {
            clip_hash: clip
            for query in queries
            for clip_hash, clip in zip(query.clip_hashes, query.clips, strict=True)
        }
        if torch.is_grad_enabled():
            return self.see(clips)
        # One clip at a time: other clips of a batch could change the rounding, and a result would
        # depend on what else is asked, or remembered.
        return {clip_hash: self._look(clip_hash, clip) for clip_hash, clip in clips.items()}

    def log_probs(
        self, queries: Sequence[Query], responses: Sequence[Response]
    ) -> tuple[Tensor, Tensor]:
        """Sum log pi(response | query) over a response's tokens; see `vlm.TrainableVlm`."""
        ids = [self.tokens.response(response) for response in responses]
        lengths_B = torch.tensor([len(row) for row in ids], device=self.device)
        return self._tail_log_probs(queries, ids, lengths_B), lengths_B

    @torch.no_grad()
    def log_probs_of_each(
        self, queries: Sequence[Query], responses: Sequence[Sequence[Response]]
    ) -> Tensor:
        """Sum log pi(response | query) of several responses a query; see `vlm.TrainableVlm`."""
        ids = [[self.tokens.response(response) for response in own] for own in responses]
        visual = self.embed_clips(queries)
        longest = max(len(row) for own in ids for row in own)
        rows = self._prompts(queries, visual, room=longest)
        answers = decode.questions_of(ids, self.device)
        return decode.answer_log_probs(self.llm, self._pack(queries, rows, visual), answers)

    @torch.no_grad()
    def sample(self, queries: Sequence[Query], sampling: Sampling) -> list[list[ReasoningPath]]:
        """Draw reasoning paths, with one prefill for prompts that begin alike; see `vlm.Vlm`."""
        assert len(sampling.seeds) == len(queries)
        length, choice = sampling.max_new_tokens, sampling.choice
        first_ids = self.tokens.first_tokens(choice) if choice else []
        drawn_NT = decode.uniforms(list(itertools.chain(*sampling.seeds)), max_new_tokens=length)
        with autocast(self.device, self.settings), threads.few_for(self.llm):
            visual = self.embed_clips(queries)
            rows = self._prompts(queries, visual, room=length)
            subjects = [(query.kind, query.caption, query.clip_hashes) for query in queries]
            division = divide(rows, subjects)
            slots = division.slots(sampling.num_paths)
            decoded = decode.draw_paths(
                self.llm,
                self._pack([queries[i] for i in division.firsts], division.prefixes, visual),
                self._questions(division),
                num_paths=sampling.num_paths,
                temperature=sampling.temperature,
                uniforms_UJT=self._in_slots(drawn_NT, division, slots),
                end_ids=torch.tensor(self.tokens.ends, device=self.device),
                tracked_C=torch.tensor(first_ids, dtype=torch.long, device=self.device),
            )
        return self._paths(decoded, slots, choice)

    @torch.no_grad()
    def choice_log_probs(
        self, queries: Sequence[Query], prefixes: Sequence[str], choices: Sequence[str]
    ) -> Tensor:
        """Return the log-probability [B, C] of each choice after the prefix; see `vlm.Vlm`.

        Prefix and choice are tokenized together; the tokens that all choices share count as prefix.
        """
        split = [self.tokens.continuations(prefix, choices) for prefix in prefixes]
        heads, tails = [head for head, _ in split], [tail for _, tail in split]
        with autocast(self.device, self.settings):
            if all(len(tail) == 1 for row in tails for tail in row):
                next_BV = self._logits(queries, heads, keep=1)[:, -1]
                chosen_BC = torch.tensor(tails, device=self.device)[:, :, 0]
                return decode.log_softmax(next_BV).gather(1, chosen_BC)
            columns = []
            for index in range(len(choices)):
                ids = [head + tail[index] for head, tail in zip(heads, tails, strict=True)]
                lengths_B = torch.tensor([len(row[index]) for row in tails], device=self.device)
                columns.append(self._tail_log_probs(queries, ids, lengths_B))
        return torch.stack(columns, 1)

    def _look(self, clip_hash: str, clip: np.ndarray) -> Tensor:
        """Return one clip's visual tokens, from memory where the weights cannot have changed.

        A critic that will learn is also measured in training's precision (`forward_pass`), so its
        tokens are remembered for each way to compute apart: they are rounded differently.
        """
        way: tuple[int, ...] = (torch.is_autocast_enabled(self.device.type),)
        if any(weight.requires_grad for weight in self.module.parameters()):
            if not self._rests:
                return self.see({clip_hash: clip})[clip_hash]
            way += (torch.backends.cuda.flash_sdp_enabled(), torch.get_num_threads())
        return self.memory.recall((clip_hash, *way), lambda: self.see({clip_hash: clip})[clip_hash])

    def _tail_log_probs(
        self, queries: Sequence[Query], ids: list[list[int]], lengths_B: Tensor
    ) -> Tensor:
        """Sum the log-probabilities of the last `lengths_B` response tokens of each row."""
        width = int(lengths_B.max())
        logits_BRV = self._logits(queries, ids, keep=width + 1)[:, :-1]
        rows = [[0] * (width - len(row)) + row[-width:] for row in ids]
        targets_BR = torch.tensor(rows, device=self.device)
        log_probs_BR = decode.log_softmax(logits_BRV).gather(2, targets_BR[..., None])[..., 0]
        places_R = torch.arange(width, 0, -1, device=self.device)
        return log_probs_BR.where(places_R <= lengths_B[:, None], 0.0).sum(1)

    def _logits(self, queries: Sequence[Query], ids: list[list[int]], *, keep: int) -> Tensor:
        """Return the logits [B, keep, V] at the last `keep` tokens of queries followed by `ids`."""
        visual = self.embed_clips(queries)
        prompts = self._prompts(queries, visual, room=max(map(len, ids)))
        rows = [prompt + tail for prompt, tail in zip(prompts, ids, strict=True)]
        packed = self._pack(queries, rows, visual)
        with decode.deepened(self.llm, packed.deep_NBLH):
            return self.llm(
                inputs_embeds=packed.embeds_BLH,
                attention_mask=packed.mask_BL,
                position_ids=packed.positions,
                use_cache=False,
                logits_to_keep=keep,
            ).logits

    def _prompts(
        self, queries: Sequence[Query], visual: dict[str, Tensor], *, room: int
    ) -> list[list[int]]:
        """Write the prompts; refuse one that leaves no room for `room` more tokens."""
        num_tokens = {clip_hash: (len(seen), seen.shape[1]) for clip_hash, seen in visual.items()}
        rows = [self.write(query, num_tokens) for query in queries]
        for query, row in zip(queries, rows, strict=True):
            if len(row) + room > self.model_max_length:
                raise self._no_room(query, num_tokens, len(row) + room)
        return rows

    def _pack(
        self, queries: Sequence[Query], rows: Sequence[Sequence[int]], visual: dict[str, Tensor]
    ) -> decode.Prompts:
        """Embed prompts, or their prefixes, padded on the left, with all their visual tokens."""
        ids_BL, mask_BL = decode.left_padded(rows)
        ids_BL, mask_BL = ids_BL.to(self.device), mask_BL.to(self.device)
        embeds_BLH = self.llm.get_input_embeddings()(ids_BL.clamp(min=0))
        shown = torch.cat(
            [
                visual[clip_hash].flatten(0, 1)
                for query in queries
                for clip_hash in query.clip_hashes
            ]
        )
        # A token is as wide as the language model, or wider by what is added to deeper layers.
        first, *deep = shown.to(embeds_BLH.dtype).split(embeds_BLH.shape[2], dim=1)
        places_BLH = (ids_BL == VISUAL)[..., None].expand_as(embeds_BLH)
        zeros_BLH = torch.zeros_like(embeds_BLH)
        return decode.Prompts(
            embeds_BLH.masked_scatter(places_BLH, first),
            mask_BL,
            self.positions(queries, ids_BL, mask_BL),
            torch.stack([zeros_BLH.masked_scatter(places_BLH, more) for more in deep])
            if deep
            else None,
        )

    def _questions(self, division: Division) -> decode.Questions:
        """Return the questions after each prefix; a prefix with fewer has empty places."""
        num_questions = division.num_questions
        rows = [[*rests, *[()] * (num_questions - len(rests))] for rests in division.rests]
        assert all(VISUAL not in row for own in rows for row in own), (
            "clips stand before the question"
        )
        return decode.questions_of(rows, self.device)

    def _in_slots(self, drawn_NT: Tensor, division: Division, slots: list[list[int]]) -> Tensor:
        """Put each path's uniform numbers into its slot: [U, J, T]."""
        num_slots = division.num_questions * len(slots[0])
        spread_NT = drawn_NT.new_zeros(len(division.prefixes) * num_slots, drawn_NT.shape[1])
        spread_NT[torch.tensor(slots).flatten()] = drawn_NT
        return spread_NT.unflatten(0, (-1, num_slots)).to(self.device)

    def _no_room(
        self, query: Query, num_tokens: dict[str, tuple[int, int]], needed: int
    ) -> ModelError:
        visual = sum(rows * each for rows, each in (num_tokens[i] for i in query.clip_hashes))
        shown = [min(len(clip), self.settings.max_frames) for clip in query.clips]
        text = needed - visual
        fits = (self.model_max_length - text) * max(shown) // visual
        remedy = f"Set critic.max_frames = {fits}" if fits > 0 else "Lower critic.max_new_tokens"
        return ModelError(
            f"critic: {sum(shown)} frames of {visual // sum(shown)} tokens and {text} of text "
            f"are {needed}, its context holds {self.model_max_length}. {remedy}, or use a "
            "critic with a longer context."
        )

    def _paths(
        self, decoded: decode.Decoded, slots: list[list[int]], choice: Choice | None
    ) -> list[list[ReasoningPath]]:
        """Read the paths of each query from its slots, which are counted over all prefixes."""
        tokens = decoded.tokens_UJT.flatten(0, 1).tolist()
        counts = decoded.num_tokens_UJ.flatten().tolist()
        ended = decoded.ended_UJ.flatten().tolist()
        log_probs = decoded.log_probs_UJT.sum(2).flatten().tolist()
        tracked = decoded.tracked_UJTC.flatten(0, 1).tolist() if choice else []

        def path(slot: int) -> ReasoningPath:
            ids = tokens[slot][: counts[slot]]
            place = self.tokens.place_after(ids, choice.after) if choice else None
            chosen = {}
            if choice and place is not None:
                chosen = dict(zip(choice.options, tracked[slot][place], strict=True))
            text = self.tokens.text(ids)
            return ReasoningPath(text, tuple(ids), log_probs[slot], not ended[slot], chosen)

        return [[path(slot) for slot in row] for row in slots]
