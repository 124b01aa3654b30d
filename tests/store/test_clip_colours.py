"""Colours whose matrix a file does not name are read as players guess it."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import Colorspace

from dualipo.store.clips import read_shown
from tests.store.test_odd_clips import TOLERANCE


@pytest.mark.parametrize(("size", "is_large"), [((576, 1024), False), ((720, 1280), True)])
def test_fault_80_colours_without_a_name_are_guessed_as_players_do(
    size: tuple[int, int], is_large: bool, tmp_path: Path
) -> None:
    """Encode one green by each matrix, and name none: only the one that players guess is right."""
    for matrix in (Colorspace.ITU601, Colorspace.ITU709):
        path = tmp_path / f"{matrix}.mp4"
        green = av.VideoFrame.from_ndarray(np.full((*size, 3), (20, 200, 30), np.uint8), "rgb24")
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=8, options={"crf": "6"})
            stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
            frame = green.reformat(format="yuv420p", dst_colorspace=matrix)
            frame.colorspace = 2
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        error = np.abs(read_shown(path).frames_FHWC[0, 8, 8].astype(int) - (20, 200, 30)).max()
        assert (error <= TOLERANCE) == ((matrix == Colorspace.ITU709) == is_large), (matrix, error)
