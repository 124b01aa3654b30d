"""A critic that learned here and is served by an engine: asked in the words that it was trained on.

A server elsewhere is told what is wanted, and sees frames as pictures (`served`). A version that
learned here knows the grammar, so the engine must give it the prompt of `templates`, token for
token. The engine's own chat template writes the turns and the marks around clips; sent are the
texts between them. Families that see a clip as a whole (Qwen-VL) are sent videos, others frames.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dualipo.config import Critic
from dualipo.critic.models import templates
from dualipo.critic.models.chat import ChatCritic
from dualipo.critic.models.frame_choice import FpsOf, unknown_fps
from dualipo.critic.models.sent_frames import video_url_of
from dualipo.critic.models.served import Part, ServedCritic, text_part
from dualipo.critic.models.templates import Style
from dualipo.critic.models.vision import SizeOf
from dualipo.critic.vlm import Query
from dualipo.served_events import ServingEvent

_MARK = re.compile(r"<[^<>]+>")
# Engines take other values from the folder's generation_config.json.
PLAIN_SAMPLING = {"top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}


@dataclass(frozen=True)
class Look:
    """How a local critic's prompts look; it holds none of its weights."""

    style: Style
    size_of: SizeOf | None

    @classmethod
    def of(cls, critic: ChatCritic) -> "Look":
        """Return how this critic's prompts look."""
        return cls(critic.style, critic.size_of)

    @property
    def is_video(self) -> bool:
        """Whether a clip is seen as a whole."""
        return self.size_of is not None and bool(self.style.clip[0] or self.style.is_timed)

    @property
    def between_marks(self) -> Style:
        """The style without what the engine's chat template writes: turns and marks."""
        return replace(
            self.style,
            before="",
            after="",
            clip=_unmarked(self.style.clip),
            frame=_unmarked(self.style.frame),
            is_timed=False,
        )


class EngineCritic(ServedCritic):
    """A version of a local critic at the servers that hold its weights."""

    must_close_labels = False  # its answers are compared with those of the weights here

    def __init__(
        self,
        model: str,
        *,
        base_urls: Sequence[str],
        look: Look,
        settings: Critic,
        fps_of: FpsOf = unknown_fps,
    ) -> None:
        server = settings.server.model_copy(
            update={
                "base_url": base_urls[0],
                "base_urls": tuple(base_urls[1:]),
                "structured": "none",
            }
        )
        super().__init__(
            model,
            settings=settings.model_copy(update={"server": server}),
            fps_of=unknown_fps if look.style.is_timed else fps_of,
        )
        self.look = look
        self.serving: ServingEvent | None = None  # what each unit of votes records

    def _body(
        self, query: Query, images: Mapping[str, Sequence[Part]], *, response: str | None = None
    ) -> dict[str, Any]:
        return super()._body(query, images, response=response) | PLAIN_SAMPLING

    def _turns(self, query: Query, images: Mapping[str, Sequence[Part]]) -> list[dict[str, Any]]:
        """Return the user's turn, as the critic's own template has it between the marks."""
        parts = templates.prompt(
            query,
            num_frames=[len(images[clip_hash]) for clip_hash in query.clip_hashes],
            style=self.look.between_marks,
            settings=self.settings,
            fps_of=self.fps_of,
        )
        content = [
            text_part(part)
            if isinstance(part, str)
            else images[query.clip_hashes[part.clip]][part.frame]
            for part in parts
        ]
        return [{"role": "user", "content": content}]

    def _shown(self, clip_FHWC: np.ndarray, clip_hash: str) -> list[Part]:
        """Write one clip as one video, or as its frames."""
        if not self.look.is_video or self.look.size_of is None:
            return super()._shown(clip_FHWC, clip_hash)
        url = video_url_of(
            self._chosen(clip_FHWC, clip_hash),
            size=self.look.size_of(clip_FHWC.shape[1], clip_FHWC.shape[2]),
            settings=self.settings,
        )
        return [{"type": "video_url", "video_url": {"url": url}}]


def _unmarked(around: tuple[str, str]) -> tuple[str, str]:
    return _MARK.sub("", around[0]), _MARK.sub("", around[1])
