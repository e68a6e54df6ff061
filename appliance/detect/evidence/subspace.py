"""Principal components with gaps: the linear algebra behind three of the evidence detectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from appliance.records import Floats

_RIDGE = 1e-6


class Subspace(NamedTuple):
    """The directions in which rows usually vary, and by how much."""

    components: Floats
    """[dimension, rank], orthonormal columns."""
    variances: Floats
    """[rank]."""


def principal_subspace(rows: Floats, explained: float, max_rank: int) -> Subspace:
    """Find the fewest directions that explain a share of the variance.

    Parameters
    ----------
    rows
        [n, dimension], centred.
    explained
        Share of the variance to reach, 0…1.
    max_rank
        Never more directions than this, nor than half the dimensions (but at least one), so that a rest remains.
    """
    variances, directions = np.linalg.eigh(rows.T @ rows / max(len(rows), 1))
    variances, directions = np.maximum(variances[::-1], 0.0), directions[:, ::-1]
    total = float(variances.sum())
    rank = int(np.searchsorted(np.cumsum(variances), explained * total)) + 1 if total > 0 else 1
    rank = max(1, min(rank, max_rank, rows.shape[1] // 2))
    return Subspace(np.ascontiguousarray(directions[:, :rank]), variances[:rank] + _RIDGE * (total + _RIDGE))


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
