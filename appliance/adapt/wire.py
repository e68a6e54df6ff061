"""Arrays by name ⇄ bytes, between the service and the process that descends: npz, in which nothing can run."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from appliance.records import Floats


def written(arrays: Mapping[str, ArrayLike]) -> bytes:
    """Write arrays of numbers."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **{name: np.asarray(each) for name, each in arrays.items()})
    return buffer.getvalue()


def read(raw: bytes) -> dict[str, Floats]:
    """Read what `written` wrote.

    Raises
    ------
    ValueError
        It is something else, or cut short.
    """
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as found:
            return {name: found[name] for name in found.files}
    except (ValueError, TypeError, KeyError, EOFError, OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"is no npz of arrays: {error}") from error
