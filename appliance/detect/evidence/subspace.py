"""Principal components with gaps: the linear algebra behind three of the evidence detectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from appliance.records import Floats

_RIDGE = 1e-6
_MOST_DIMENSIONS = 400
"""The features of 100 channels. Of more, whose covariances would grow with the square and their directions with the
cube, the directions are found among as many rows as..."""
_MOST_ROWS = 256
"""...are many more than directions are ever wanted: time and memory stay proportional to the dimensions."""


class Residual:
    """The part of rows that lies outside a subspace, by one matrix product where that is no more work than two.

    Parameters
    ----------
    components
        [dimension, rank], orthonormal.
    """

    def __init__(self, components: Floats) -> None:
        dimension, rank = components.shape
        self._components = components
        self._through = np.eye(dimension) - components @ components.T if dimension <= 2 * rank else None

    def of_rows(self, rows: Floats) -> Floats:
        """Take [..., dimension]."""
        if self._through is not None:
            return rows @ self._through
        return rows - (rows @ self._components) @ self._components.T

    def of_columns(self, columns: Floats) -> Floats:
        """Take [..., dimension, time]."""
        if self._through is not None:
            return self._through @ columns
        return columns - self._components @ (self._components.T @ columns)


class Subspace(NamedTuple):
    """The directions in which rows usually vary, and by how much."""

    components: Floats
    """[dimension, rank], orthonormal columns."""
    variances: Floats
    """[rank]."""


def principal_subspace(rows: Floats, explained: float, max_rank: int) -> Subspace:
    """Find the fewest directions that explain a share of the variance.

    Of many dimensions by the method of snapshots (Sirovich 1987): the eigenvectors of the rows' products with each
    other are those of the covariance, seen from the rows.

    Parameters
    ----------
    rows
        [n, dimension], centred.
    explained
        Share of the variance to reach, 0…1.
    max_rank
        Never more directions than this, nor than half the dimensions (but at least one), so that a rest remains.
    """
    dual = rows.shape[1] > _MOST_DIMENSIONS
    if dual:
        rows = rows[:: -(-len(rows) // _MOST_ROWS)]
    variances, directions = np.linalg.eigh((rows @ rows.T if dual else rows.T @ rows) / max(len(rows), 1))
    variances, directions = np.maximum(variances[::-1], 0.0), directions[:, ::-1]
    total = float(variances.sum())
    rank = int(np.searchsorted(np.cumsum(variances), explained * total)) + 1 if total > 0 else 1
    rank = max(1, min(rank, max_rank, rows.shape[1] // 2, len(rows) // 2 if dual else max_rank))
    directions = directions[:, :rank]
    if dual:
        directions = np.linalg.qr(rows.T @ directions).Q
    return Subspace(np.ascontiguousarray(directions), variances[:rank] + _RIDGE * (total + _RIDGE))


def impute(rows: Floats, known: Floats, components: Floats) -> Floats:
    """Fill the unknown entries of centred rows with what the known ones say through the subspace.

    Without this a silent channel would look like one that stands at its mean, and the channels that move together
    with it would be blamed. Least squares on the known entries (Nomikos and MacGregor 1995, projection to the plane).

    Parameters
    ----------
    rows
        [n, time, dimension]; unknown entries are ignored.
    known
        [n, dimension] 1 known, 0 unknown, the same for all times of a row.
    components
        [dimension, rank], orthonormal.
    """
    if known.all():
        return rows
    seen = components * known[:, :, None]  # (n, dimension, rank)
    gram = np.einsum("ndr,nds->nrs", seen, seen) + 1e-3 * np.eye(components.shape[1])
    coordinates = np.linalg.solve(gram[:, None], np.einsum("ntd,ndr->ntr", rows, seen)[..., None])[..., 0]
    return np.where(known[:, None, :] > 0, rows, coordinates @ components.T)
