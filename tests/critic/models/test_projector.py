"""VILA's and NVILA's projectors against a plain reimplementation on random weights."""

import pytest
import torch
from torch.nn.functional import gelu, layer_norm, linear

from dualipo.critic.models.projector import FOLDS, MmProjector, SpaceToChannel


def plain(projector, features, *, fold, by_column):
    """Token by token, channel block by channel block, in float64."""
    weights = {name: value.double() for name, value in projector.state_dict().items()}
    grid = int(features.shape[1] ** 0.5)
    side = -(-grid // fold)

    def patch(image, row, column):
        inside = row < grid and column < grid
        return image[row * grid + column] if inside else torch.zeros(features.shape[2]).double()

    places = [(i, j) for i in range(side) for j in range(side)]
    if by_column:
        places = [(i, j) for j in range(side) for i in range(side)]
    tokens = torch.stack(
        [
            torch.stack(
                [
                    torch.cat(
                        [
                            patch(image, fold * i + di, fold * j + dj)
                            for di in range(fold)
                            for dj in range(fold)
                        ]
                    )
                    for i, j in places
                ]
            )
            for image in features.double()
        ]
    )

    def norm(x, n):
        w, b = weights[f"layers.{n}.weight"], weights[f"layers.{n}.bias"]
        return layer_norm(x, w.shape, w, b)

    def dense(x, n):
        return linear(x, weights[f"layers.{n}.weight"], weights[f"layers.{n}.bias"])

    if fold == 3:
        return dense(gelu(dense(norm(gelu(dense(norm(tokens, 1), 2)), 4), 5)), 7)
    return dense(gelu(dense(norm(tokens, 1), 2)), 4)


@pytest.mark.parametrize("grid", [6, 7, 8])  # of 3x3 blocks: whole, and one or two rows short
@pytest.mark.parametrize("kind", list(FOLDS))
def test_a_projector_is_its_plain_reimplementation(kind, grid, tmp_path):
    torch.manual_seed(0)
    projector = MmProjector(5, 8, kind=kind)
    for weight in projector.parameters():
        weight.data.normal_()
    projector.save(tmp_path)
    loaded = MmProjector.load(tmp_path, dtype=torch.float64)
    features = torch.randn(2, grid * grid, 5, dtype=torch.float64)
    fold, by_column = FOLDS[kind]
    expected = plain(projector, features, fold=fold, by_column=by_column)
    assert torch.allclose(loaded(features), expected, atol=1e-9)
    assert expected.shape[1] == (-(-grid // fold)) ** 2


@pytest.mark.parametrize("grid", [4, 3])
def test_projector_folds_as_vila_does(grid):
    features = torch.randn(2, grid * grid, 5)
    even = grid + grid % 2
    padded = torch.zeros(2, even, even, 5)
    padded[:, :grid, :grid] = features.reshape(2, grid, grid, 5)
    plain = [
        torch.cat([padded[:, 2 * row + i, 2 * column + j] for i in (0, 1) for j in (0, 1)], -1)
        for column in range(even // 2)
        for row in range(even // 2)
    ]
    assert torch.equal(SpaceToChannel()(features), torch.stack(plain, 1))
