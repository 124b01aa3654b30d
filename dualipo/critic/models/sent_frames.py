"""Frames as they are sent to a server: scaled to `critic.max_pixels`, and encoded.

frame_HWC: height, width, RGB.
"""

import base64
import io

import numpy as np
from PIL import Image

from dualipo.config import Critic


def url_of(frame_HWC: np.ndarray, *, settings: Critic) -> str:
    """Return a frame as a data URL, in the format that `critic.server` names.

    A frame that is larger than `critic.max_pixels` is scaled down in its own shape.
    """
    picture = Image.fromarray(frame_HWC)
    shrink = (settings.max_pixels / (picture.width * picture.height)) ** 0.5
    if shrink < 1:
        size = (max(1, int(picture.width * shrink)), max(1, int(picture.height * shrink)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    return f"data:image/{settings.server.image_format};base64,{encoded(picture, settings)}"


def video_url_of(frames_FHWC: np.ndarray, *, size: tuple[int, int], settings: Critic) -> str:
    """Return frames as the data URL of a video, each scaled to `size` (height, width).

    vLLM takes frames one after the other under this name, in any format that Pillow reads.
    """
    pictures = (Image.fromarray(frame_HWC) for frame_HWC in frames_FHWC)
    fitting = (each.resize(size[::-1], Image.Resampling.BICUBIC) for each in pictures)
    return "data:video/jpeg;base64," + ",".join(encoded(each, settings) for each in fitting)


def encoded(picture: Image.Image, settings: Critic) -> str:
    """Return a picture in the format that `critic.server` names, in base64."""
    buffer, sent = io.BytesIO(), settings.server
    if sent.image_format == "jpeg":
        picture.save(buffer, format="JPEG", quality=sent.jpeg_quality)
    else:
        picture.save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()
