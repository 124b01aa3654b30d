"""The motion between neighbouring frames in pixels, by blocks or by OpenCV's DIS flow.

    blocks   each block of 8 pixels is looked for within 7 pixels of its place in the next frame;
             the best place is refined by a parabola through the differences around it
    dis      Dense Inverse Search (Kroeger et al., 2016) of the extra `metrics`, dense and slower

A block counts as still where no place explains it at least ten times as well as its own: noise,
light that changes and what leaves the frame are no motion. Numbers of the two do not compare.

Luma_PHW: P frames of one clip, float32 in [0, 1]. Motion_PHW2: pixels a frame, rows first.
"""

import importlib
import importlib.util
from typing import Any, Literal

import numpy as np

from dualipo.errors import ConfigError

Method = Literal["blocks", "dis"]
Array = np.ndarray[Any, np.dtype[np.float32]]

BLOCK, REACH = 8, 7
_NOISE = (1 / 255) ** 2  # the squared difference of one grey level
_EXPLAINED = 0.1  # of a block's difference in place, at most, is left where it has moved to


def require(method: Method) -> None:
    """Raise where a method's package is missing."""
    if method == "dis" and importlib.util.find_spec("cv2") is None:
        raise ConfigError(
            'monitor.clip_metrics = "dis" needs OpenCV. Install dualipo[metrics], or set it to '
            '"blocks".'
        )


def motion(luma_FHW: Array, method: Method) -> Array:
    """Return the motion from each frame to the next: F - 1 fields for F frames."""
    return between(luma_FHW[:-1], luma_FHW[1:], method)


def between(from_PHW: Array, to_PHW: Array, method: Method) -> Array:
    """Return the motion from each frame of one sequence to that of another in the same place."""
    if method == "dis":
        return _dis(from_PHW, to_PHW)
    return _of_blocks(from_PHW, to_PHW)


def warped(frames_PHW: Array, motion_PHW2: Array) -> Array:
    """Return each frame's pixels fetched from where they moved to, rounded to whole pixels."""
    num, height, width = frames_PHW.shape
    rows_H1, columns_1W = np.arange(height)[:, None], np.arange(width)[None]
    moved = np.rint(motion_PHW2).astype(int)
    rows_PHW = np.clip(rows_H1 + moved[..., 0], 0, height - 1)
    columns_PHW = np.clip(columns_1W + moved[..., 1], 0, width - 1)
    return frames_PHW[np.arange(num)[:, None, None], rows_PHW, columns_PHW]


def _of_blocks(from_PHW: Array, to_PHW: Array) -> Array:
    """Return the motion of whole blocks, the same for all pixels of one."""
    costs_DDPYX = _costs(from_PHW, to_PHW)
    side = 2 * REACH + 1
    flat = costs_DDPYX.reshape(side * side, *costs_DDPYX.shape[2:])
    distance = np.hypot(*np.indices((side, side)) - REACH).reshape(-1, 1, 1, 1)
    best_PYX = np.argmin(flat + 1e-6 * distance, axis=0)  # a flat block stays in its place
    still_PYX = costs_DDPYX[REACH, REACH]
    left_PYX = np.take_along_axis(flat, best_PYX[None], 0)[0]
    row, column = np.divmod(best_PYX, side)
    fine = [_refined(costs_DDPYX, row, column, axis) for axis in (0, 1)]
    left_PYX = left_PYX - sum(gain for _, gain in fine)
    moves = (still_PYX > _NOISE) & (left_PYX <= _EXPLAINED * still_PYX)
    whole = (row - REACH, column - REACH)
    parts = [np.where(moves, place + part, 0) for place, (part, _) in zip(whole, fine, strict=True)]
    blocks_PYX2 = np.stack(parts, axis=-1)
    dense = blocks_PYX2.repeat(BLOCK, 1).repeat(BLOCK, 2).astype(np.float32)
    rest = [(0, size - own) for size, own in zip(from_PHW.shape[1:], dense.shape[1:3], strict=True)]
    return np.pad(dense, [(0, 0), *rest, (0, 0)], mode="edge")


def _costs(from_PHW: Array, to_PHW: Array) -> Array:
    """Return the variance of every block's difference at every displacement, [D, D, P, Y, X].

    A change of light alone has none. It is infinite where the displaced block leaves the frame.
    """
    num, height, width = from_PHW.shape
    num_rows, num_columns = height // BLOCK, width // BLOCK
    high, wide = num_rows * BLOCK, num_columns * BLOCK
    padded = np.pad(to_PHW, [(0, 0), (REACH, REACH), (REACH, REACH)])
    side = 2 * REACH + 1
    costs = np.empty((side, side, num, num_rows, num_columns), np.float32)
    tops, lefts = np.arange(num_rows) * BLOCK - REACH, np.arange(num_columns) * BLOCK - REACH
    for row in range(side):
        for column in range(side):
            moved = padded[:, row : row + high, column : column + wide]
            change = from_PHW[:, :high, :wide] - moved
            blocks = change.reshape(num, num_rows, BLOCK, num_columns, BLOCK)
            leaves = np.logical_or.outer(
                (tops + row < 0) | (tops + row + BLOCK > height),
                (lefts + column < 0) | (lefts + column + BLOCK > width),
            )
            costs[row, column] = np.where(leaves, np.inf, blocks.var((2, 4)))
    return costs


def _refined(costs_DDPYX: Array, row: Any, column: Any, axis: int) -> tuple[Any, Any]:
    """Return how far beside a whole pixel a parabola has its least cost, and how much less it is.

    The distance is at most half a pixel; both are 0 where a neighbour lies outside the frame.
    """
    last = 2 * REACH

    def at(step: int) -> Any:
        places = [row, column]
        places[axis] = np.clip(places[axis] + step, 0, last)
        indices = np.indices(row.shape)
        return costs_DDPYX[places[0], places[1], *indices]

    before, best, after = at(-1), at(0), at(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        bend = before - 2 * best + after
        offset = 0.5 * (before - after) / bend
    is_known = np.isfinite(offset) & (bend > 0)
    offset, bend = (np.where(is_known, part, 0) for part in (np.clip(offset, -0.5, 0.5), bend))
    return offset, 0.5 * bend * offset**2


def _dis(from_PHW: Array, to_PHW: Array) -> Array:
    cv2: Any = importlib.import_module("cv2")  # its stubs lack the search
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    pairs = zip(from_PHW, to_PHW, strict=True)
    bytes_of = [[np.rint(255 * frame).astype(np.uint8) for frame in pair] for pair in pairs]
    flows = [search.calc(first, second, None)[..., ::-1] for first, second in bytes_of]
    return np.stack(flows) if flows else np.zeros((*from_PHW.shape, 2), np.float32)
