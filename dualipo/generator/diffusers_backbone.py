"""The part of a backbone that Wan and CogVideoX have in common: a diffusers pipeline's folder.

The transformer is handed over. Every other part is read from the folder when it is first used, for
training needs none of them. `Wan` and `CogVideoX` add what differs: how clips become latents, the
noise levels, the training target, and a forward pass.

Shapes: B batch, L text tokens, D features; a latent's own axes are written `...`.
"""

import contextlib
import functools
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from dualipo.config import Generator
from dualipo.errors import ModelError
from dualipo.generator import acceleration, pipeline, step_cache, weights
from dualipo.generator.acceleration import NOTHING_SAVED, Saving
from dualipo.model_files import guard

NUM_TRAIN_TIMESTEPS = 1000
ATTENTION_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")

# From the model's prediction, the timestep and the latents to the latents of the next step.
SamplerStep = Callable[[Tensor, Tensor, Tensor], Tensor]


class DiffusersBackbone(ABC):
    """A text-to-video pipeline of diffusers; see `backbone.Backbone` for what each method means."""

    pipeline_class: ClassVar[Any]
    transformer_class: ClassVar[Any]
    vae_class: ClassVar[Any]
    supported: ClassVar[str]  # the models that `require_supported` lets through, for its message
    # The keys of the autoencoder's channels, and of the text's width in the transformer's settings.
    size_keys: ClassVar[tuple[str, str]]

    def __init__(
        self,
        folder: Path,
        *,
        module: Any,
        max_sequence_length: int,
        dtype: torch.dtype,
        saving: Saving = NOTHING_SAVED,
    ) -> None:
        self.module = module
        self.max_sequence_length = max_sequence_length
        self._folder = folder
        self._dtype = dtype
        self._saving = saving
        self._turn = threading.Lock()  # one clip is decoded while the next caption is encoded
        self._vae_settings: dict[str, Any] = guard.config_of(folder / "vae")

    @classmethod
    def require_supported(
        cls,
        folder: Path,
        *,
        transformer_folder: Path,
        max_sequence_length: int,
    ) -> None:
        """Refuse a folder whose settings this class would open and compute wrongly."""
        index, transformer = pipeline.read_index(folder), guard.config_of(transformer_folder)
        in_channels, out_channels = (
            transformer.get(key, 16) for key in ("in_channels", "out_channels")
        )
        kind = f"an image-to-video model ({in_channels} channels in, {out_channels} out)"
        relatives = {**cls._relatives(index, transformer), kind: in_channels != out_channels}
        for name, is_it in relatives.items():
            if is_it:
                raise ModelError(f"{folder}: {name}, which is not supported. {cls.supported}")
        cls._require_settings(folder, transformer, max_sequence_length)

    @classmethod
    @abstractmethod
    def _relatives(cls, index: Mapping[str, Any], transformer: Mapping[str, Any]) -> dict[str, Any]:
        """Return unsupported relatives by name, with a true value for the one that this is."""

    @classmethod
    @abstractmethod
    def refuse_schedule(cls, folder: Path, scheduler: Any) -> None:
        """Refuse a scheduler that expects another prediction than the one that is trained."""

    @classmethod
    @abstractmethod
    def refuse_latents(cls, folder: Path, config: Mapping[str, Any]) -> None:
        """Refuse an autoencoder that does not say how its latents are scaled."""

    @classmethod  # noqa: B027 - a family may have nothing more to refuse
    def _require_settings(
        cls, folder: Path, transformer: Mapping[str, Any], max_sequence_length: int
    ) -> None:
        """Refuse settings of a supported model that would go unnoticed."""

    @property
    def device(self) -> torch.device:
        """Return the device on which the transformer computes."""
        device: torch.device = self.module.device
        return device

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> Tensor:
        """Embed captions as the stock pipeline does, padded to one length: text_BLD.

        Wan's text is zero past its true length; CogVideoX attends to the padding as well.
        """
        with self._at_work(self._text_pipeline.text_encoder):
            text_BLD, _ = self._text_pipeline.encode_prompt(
                list(captions),
                do_classifier_free_guidance=False,
                max_sequence_length=self.max_sequence_length,
                device=self.device,
            )
        assert isinstance(text_BLD, Tensor)
        return text_BLD

    def cut_captions(self, captions: Sequence[str]) -> list[str]:
        """Return the captions that have more tokens than the text encoder is given."""
        if not captions:
            return []
        tokens = self._text_pipeline.tokenizer(list(captions), verbose=False)["input_ids"]
        lengths = zip(captions, map(len, tokens), strict=True)
        return [caption for caption, length in lengths if length > self.max_sequence_length]

    def load_decoder(self) -> None:
        """Read the autoencoder."""
        _ = self._vae

    @abstractmethod
    def latent_shape(self, *, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one clip's latent; refuse a size that the model cannot make."""

    @torch.no_grad()
    def sample(
        self,
        text_BLD: Tensor,
        *,
        seeds: Sequence[int],
        settings: Generator,
        empty_LD: Tensor | None = None,
    ) -> Tensor:
        """Run the stock sampler; a clip's seed gives its noise, and its steps' if they draw any."""
        assert len(seeds) == len(text_BLD), "one seed a caption"
        shape = self.latent_shape(
            num_frames=settings.num_frames, height=settings.height, width=settings.width
        )
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        dtype = self._sampling_dtype
        latents = randn_tensor(
            (len(seeds), *shape), generator=draws, device=self.device, dtype=dtype
        )
        # A scheduler remembers its past predictions, so each batch has a fresh one.
        scheduler = type(self._scheduler).from_config(self._scheduler.config)
        scheduler.set_timesteps(settings.num_inference_steps, device=self.device)
        step = self._step_of(scheduler, draws)
        for timestep in scheduler.timesteps:
            prediction = self._guided(
                latents,
                timestep,
                text_BLD=text_BLD,
                empty_LD=empty_LD,
                scale=settings.guidance_scale,
            )
            latents = step(prediction, timestep, latents).to(dtype)
        return latents.float()

    def hash(self) -> str:
        """Return the identity of the transformer's weights."""
        return weights.hash_of(self.module)

    def save(self, folder: Path) -> None:
        """Publish the transformer as a folder that `backbone.load` takes."""
        weights.publish(self.module, folder)

    def _guided(
        self,
        noisy: Tensor,
        timestep: Tensor,
        *,
        text_BLD: Tensor,
        empty_LD: Tensor | None,
        scale: float,
    ) -> Tensor:
        """Predict with the caption; where `scale` is over 1, also without it, and guide.

        Classifier-free guidance: free + scale (captioned - free). Each of the two passes has a step
        cache of its own.
        """
        timestep_B = timestep.expand(len(noisy))
        with step_cache.branch(self.module, "caption"):
            captioned = self._forward(noisy, timestep_B, text_BLD)
        if scale <= 1.0:
            return captioned
        empty_LD = self._empty_caption_LD if empty_LD is None else empty_LD
        with step_cache.branch(self.module, "free"):
            free = self._forward(noisy, timestep_B, empty_LD.expand_as(text_BLD))
        return free + scale * (captioned - free)

    @abstractmethod
    def _forward(self, noisy: Tensor, timestep_B: Tensor, text_BLD: Tensor) -> Tensor:
        """Return the transformer's prediction, in float32."""

    @property
    def _sampling_dtype(self) -> torch.dtype:
        """Return the precision of the latents between the sampler's steps."""
        return torch.float32

    def _step_of(self, scheduler: Any, draws: list[torch.Generator]) -> SamplerStep:
        """Return the scheduler's step as a function."""

        def step(prediction: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
            less_noisy: Tensor = scheduler.step(prediction, timestep, latents, return_dict=False)[0]
            return less_noisy

        return step

    def _read_pipeline(self, **parts: Any) -> Any:
        with guard.reading(self._folder):
            return self.pipeline_class.from_pretrained(
                self._folder, use_safetensors=True, local_files_only=True, **parts
            )

    def _read_vae(self, dtype: torch.dtype) -> Any:
        vae = guard.read_diffusers(self.vae_class, self._folder / "vae", dtype=dtype)
        if self._saving.tiles:
            vae.enable_tiling()
        return vae.requires_grad_(False).eval().to(self._waits_on)

    @contextlib.contextmanager
    def _at_work(self, part: torch.nn.Module) -> Iterator[None]:
        """Have a part of the pipeline on the device inside this context, one at a time."""
        if not self._saving.offloads:
            yield
            return
        with self._turn, acceleration.lent(part, self.device):
            yield

    @property
    def _waits_on(self) -> torch.device:
        """Return where parts are that have nothing to do."""
        return torch.device("cpu") if self._saving.offloads else self.device

    @functools.cached_property
    def _text_pipeline(self) -> Any:
        return self._read_pipeline(transformer=None, vae=None, dtype=self._dtype).to(self._waits_on)

    @functools.cached_property
    def _scheduler(self) -> Any:
        others = dict.fromkeys(("transformer", "vae", "text_encoder", "tokenizer"))
        return self._read_pipeline(**others).scheduler

    @property
    @abstractmethod
    def _vae(self) -> Any:
        """Return the autoencoder, read when it is first used."""

    @functools.cached_property
    def _empty_caption_LD(self) -> Tensor:
        return self.encode_text([""])[0]
