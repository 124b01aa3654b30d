"""VILA in our own small adapter: vision tower, projector, language model (METHOD.md 3.5).

A folder holds `llm/`, `vision_tower/` and `mm_projector/` in Hugging Face layout and a config.json
that names the chat template and the context length. The embedded critic and VILA1.5 load through
the same code. Only safetensors are read and no foreign code is run (fault 49, 53). Leaves out
InternViT towers, image tiling and NVILA's projectors.

Legend: B queries, L tokens, H language-model width, F frames, M visual tokens a frame, R tokens
of the longest response, C choices.
"""

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    SiglipVisionModel,
)

from dualipo.config import Critic
from dualipo.critic import decode, templates, vision
from dualipo.critic.projector import MmProjector
from dualipo.critic.tokens import Tokens
from dualipo.critic.vlm import Choice, Path, Query, Response
from dualipo.errors import ModelError

PARTS = ("llm", "vision_tower", "mm_projector")
FRAMES_A_PASS = 256  # through the vision tower, where no gradient is kept


class VilaModule(nn.Module):
    """All weights of a critic."""

    def __init__(
        self, llm: PreTrainedModel, vision_tower: SiglipVisionModel, mm_projector: MmProjector
    ) -> None:
        super().__init__()
        self.llm = llm
        self.vision_tower = vision_tower
        self.mm_projector = mm_projector


class Vila:
    """A critic that can be asked, trained and saved; implements `vlm.TrainableVlm`."""

    def __init__(
        self,
        module: VilaModule,
        *,
        tokenizer: PreTrainedTokenizerBase,
        settings: Critic,
        chat_template: str = "plain",
        model_max_length: int,
    ) -> None:
        if chat_template not in templates.TEMPLATES:
            known = ", ".join(templates.TEMPLATES)
            raise ModelError(f"chat template {chat_template!r} is unknown. Use one of: {known}.")
        self.module = module.eval()
        self.tokens = Tokens(tokenizer)
        self.settings = settings
        self.chat_template = chat_template
        self.model_max_length = model_max_length

    @classmethod
    def load(
        cls, folder: FilePath | str, *, settings: Critic, device: torch.device | str = "cpu"
    ) -> "Vila":
        """Read a critic's folder in `settings.torch_dtype`."""
        folder = FilePath(folder)
        _require_parts(folder)
        dtype = getattr(torch, settings.torch_dtype)
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        weights = {**local, "use_safetensors": True, "dtype": dtype}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder / "llm", **local)
            llm = _read(AutoModelForCausalLM, folder / "llm", weights)
            vision_tower = _read(SiglipVisionModel, folder / "vision_tower", weights)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as broken:
            raise ModelError(f"{folder}: cannot be read as VILA ({broken}).") from broken
        vision_tower.requires_grad_(settings.tune_vision_tower)
        projector = MmProjector.load(folder / "mm_projector", dtype=dtype)
        top = json.loads((folder / "config.json").read_text())
        length = top.get("model_max_length") or getattr(llm.config, "model_max_length", None)
        return cls(
            VilaModule(llm, vision_tower, projector).to(device),
            tokenizer=tokenizer,
            settings=settings,
            chat_template=top.get("chat_template") or "vicuna_v1",
            model_max_length=length or llm.config.max_position_embeddings,
        )

    def save(self, folder: FilePath | str) -> None:
        """Write the folder that `load` reads."""
        folder = FilePath(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.module.llm.save_pretrained(folder / "llm")
        self.tokens.tokenizer.save_pretrained(folder / "llm")
        self.module.vision_tower.save_pretrained(folder / "vision_tower")
        self.module.mm_projector.save(folder / "mm_projector")
        top = {
            "model_type": "llava_llama",
            "chat_template": self.chat_template,
            "model_max_length": self.model_max_length,
        }
        (folder / "config.json").write_text(json.dumps(top, indent=2) + "\n")

    def hash(self) -> str:
        """The sha256 of all weights by name: equal after a save and load."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.module.state_dict().items()):
            plain = tensor.detach().cpu().contiguous()
            digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}".encode())
            digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def embed_clips(self, queries: Sequence[Query]) -> dict[str, Tensor]:
        """Visual tokens [F, M, H] of every clip in the queries, each clip id once."""
        tower = self.module.vision_tower
        size = tower.config.image_size
        assert isinstance(size, int)
        shown = {
            clip_id: vision.pixels(clip, clip_id=clip_id, size=size, settings=self.settings)
            for clip_id, clip in vision.unique_clips(queries).items()
        }
        pixels_FCHW = torch.cat(list(shown.values())).to(self.device, tower.dtype)
        width = len(pixels_FCHW) if torch.is_grad_enabled() else FRAMES_A_PASS
        tokens = [self._visual_tokens(part) for part in pixels_FCHW.split(width)]
        split = torch.cat(tokens).split([len(pixels) for pixels in shown.values()])
        return dict(zip(shown, split, strict=True))

    def log_probs(
        self, queries: Sequence[Query], responses: Sequence[Response]
    ) -> tuple[Tensor, Tensor]:
        """Sum of log pi(response | query) over the response's tokens [B], and their number [B].

        A text is scored with its end of sequence; a path's token ids are scored as they are.
        """
        ids = [self.tokens.response(response) for response in responses]
        lengths_B = torch.tensor([len(row) for row in ids], device=self.device)
        return self._tail_log_probs(queries, ids, lengths_B), lengths_B

    @torch.no_grad()
    def sample(
        self,
        queries: Sequence[Query],
        *,
        num_paths: int,
        temperature: float,
        seeds: Sequence[Sequence[int]],
        max_new_tokens: int,
        choice: Choice | None = None,
    ) -> list[list[Path]]:
        """Draw `num_paths` reasoning paths a query; see `vlm.Vlm`."""
        assert len(seeds) == len(queries) and all(len(row) == num_paths for row in seeds)
        first_ids = self.tokens.first_tokens(choice) if choice else []
        end_ids = torch.tensor([self.tokens.end], device=self.device)
        drawn = decode.uniforms(list(itertools.chain(*seeds)), max_new_tokens=max_new_tokens)
        with self._autocast():
            decoded = decode.decode(
                self.module.llm,
                self._pack(queries, [[]] * len(queries), room=max_new_tokens),
                num_paths=num_paths,
                temperature=temperature,
                uniforms_NT=drawn.to(self.device),
                end_ids=end_ids,
                tracked_C=torch.tensor(first_ids, dtype=torch.long, device=self.device),
            )
        paths = self._paths(decoded, choice)
        return [paths[i : i + num_paths] for i in range(0, len(paths), num_paths)]

    @torch.no_grad()
    def choice_log_probs(
        self, queries: Sequence[Query], prefixes: Sequence[str], choices: Sequence[str]
    ) -> Tensor:
        """Log-probabilities [B, C] of each choice following the prefix of a response.

        Prefix and choice are tokenized together; what all choices share counts as prefix.
        """
        split = [self.tokens.continuations(prefix, choices) for prefix in prefixes]
        heads, tails = [head for head, _ in split], [tail for _, tail in split]
        with self._autocast():
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

    def _tail_log_probs(
        self, queries: Sequence[Query], ids: list[list[int]], lengths_B: Tensor
    ) -> Tensor:
        """Sum of the log-probabilities of each row's last `lengths_B` response tokens."""
        width = int(lengths_B.max())
        logits_BRV = self._logits(queries, ids, keep=width + 1)[:, :-1]
        rows = [[0] * (width - len(row)) + row[-width:] for row in ids]
        targets_BR = torch.tensor(rows, device=self.device)
        log_probs_BR = decode.log_softmax(logits_BRV).gather(2, targets_BR[..., None])[..., 0]
        places_R = torch.arange(width, 0, -1, device=self.device)
        return log_probs_BR.where(places_R <= lengths_B[:, None], 0.0).sum(1)

    def _logits(self, queries: Sequence[Query], ids: list[list[int]], *, keep: int) -> Tensor:
        """Logits [B, keep, V] at the last `keep` tokens of queries followed by `ids`."""
        prompts = self._pack(queries, ids)
        return self.module.llm(
            inputs_embeds=prompts.embeds_BLH,
            attention_mask=prompts.mask_BL,
            position_ids=prompts.positions_BL,
            use_cache=False,
            logits_to_keep=keep,
        ).logits

    def _pack(
        self, queries: Sequence[Query], ids: Sequence[Sequence[int]], *, room: int = 0
    ) -> decode.Prompts:
        """Embed queries and what follows them, padded on the left; visual places hold id -1."""
        visual = self.embed_clips(queries)
        rows = [
            self._prompt_ids(query, visual) + list(tail)
            for query, tail in zip(queries, ids, strict=True)
        ]
        longest = max(map(len, rows))
        self._require_room(queries, visual, longest + room)
        ids_BL = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask_BL = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        ids_BL, mask_BL = ids_BL.to(self.device), mask_BL.to(self.device)
        embeds_BLH = self.module.llm.get_input_embeddings()(ids_BL.clamp(min=0))
        shown = torch.cat(
            [visual[clip_id].flatten(0, 1) for query in queries for clip_id in query.clip_ids]
        )
        places_BLH = (ids_BL < 0)[..., None].expand_as(embeds_BLH)
        return decode.Prompts(
            embeds_BLH.masked_scatter(places_BLH, shown.to(embeds_BLH.dtype)), mask_BL
        )

    def _prompt_ids(self, query: Query, visual: dict[str, Tensor]) -> list[int]:
        num_frames = [len(visual[clip_id]) for clip_id in query.clip_ids]
        parts = templates.prompt(query, num_frames=num_frames, template=self.chat_template)
        ids = list(self.tokens.start)
        for part in parts:
            if isinstance(part, str):
                ids += self.tokens.encode(part)
            else:
                ids += [-1] * vision.tokens_per_frame(self.module.vision_tower.config)
        return ids

    def _require_room(
        self, queries: Sequence[Query], visual: dict[str, Tensor], num_tokens: int
    ) -> None:
        if num_tokens <= self.model_max_length:
            return
        num_frames = max(sum(len(visual[i]) for i in query.clip_ids) for query in queries)
        num_clips = max(len(query.clip_ids) for query in queries)
        per_frame = vision.tokens_per_frame(self.module.vision_tower.config)
        text = num_tokens - num_frames * per_frame
        fits = (self.model_max_length - text) // (num_clips * per_frame)
        remedy = f"Set critic.max_frames = {fits}" if fits > 0 else "Lower critic.max_new_tokens"
        raise ModelError(
            f"critic: {num_frames} frames of {per_frame} tokens and {text} of text "
            f"are {num_tokens}, its context holds {self.model_max_length}. {remedy}, or use a "
            "critic with a longer context."
        )

    def _visual_tokens(self, pixels_FCHW: Tensor) -> Tensor:
        seen = self.module.vision_tower(pixels_FCHW, output_hidden_states=True)
        return self.module.mm_projector(seen.hidden_states[-2])

    def _paths(self, decoded: decode.Decoded, choice: Choice | None) -> list[Path]:
        paths = []
        tracked_NTC = decoded.tracked_NTC.tolist() if choice else None
        for row, (ids, count, ended) in enumerate(
            zip(
                decoded.tokens_NT.tolist(),
                decoded.num_tokens_N.tolist(),
                decoded.ended_N.tolist(),
                strict=True,
            )
        ):
            ids = ids[:count]
            place = self.tokens.place_after(ids, choice.after) if choice else None
            chosen = {}
            if choice and tracked_NTC and place is not None:
                chosen = dict(zip(choice.options, tracked_NTC[row][place], strict=True))
            log_prob = float(decoded.log_probs_NT[row].double().sum())
            paths.append(Path(self.tokens.text(ids), tuple(ids), log_prob, not ended, chosen))
        return paths

    def _autocast(self) -> torch.autocast:
        enabled = self.settings.mixed_precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled)


def _read(kind: Any, folder: FilePath, options: dict[str, Any]) -> Any:
    """Load a model whose every weight is in the file: what is missing would be random."""
    model, report = kind.from_pretrained(folder, output_loading_info=True, **options)
    if report["missing_keys"]:
        raise ModelError(
            f"{folder}: {len(report['missing_keys'])} weights are missing, the first "
            f"{min(report['missing_keys'])}. Fetch the folder again, whole."
        )
    return model


def _require_parts(folder: FilePath) -> None:
    for part in PARTS:
        inside = folder / part
        if not inside.is_dir():
            raise ModelError(f"{folder}: no {part}/ in it. A critic's folder holds {PARTS}.")
        if not any(inside.glob("*.safetensors")):
            raise ModelError(
                f"{inside}: no *.safetensors. Pickled weights run code and are refused: convert "
                "them with `dualipo convert`."
            )
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no config.json. Copy the one the model was published with.")
