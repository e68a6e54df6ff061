"""Turn records into bytes for the database and back: msgpack with arrays, never pickle."""

from __future__ import annotations

from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance.records import SensorFault

State = dict[str, Any]
"""Nested dict of arrays, numbers, strings, booleans, None and lists of those: all a stage may remember."""


class ScoreBody(msgspec.Struct, array_like=True):
    """The parts of a score that are kept as one value; arrays are single precision, in the order of its channel set."""

    evidence: dict[str, float]
    contributions: bytes
    """[channel]."""
    signals: bytes
    """[channel, 3]: mean, least and greatest."""
    sensor_faults: dict[str, SensorFault] = {}
    """Absent from rows that versions before the sensor check wrote."""


ARRAY = 1
"""msgpack extension code of an array: (dtype, shape, raw bytes)."""


def _encode(value: object) -> object:
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"an array of {value.dtype} cannot be stored")
        parts = (value.dtype.str, value.shape, value.tobytes())
        return msgspec.msgpack.Ext(ARRAY, msgspec.msgpack.encode(parts))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be stored")


def _decode(code: int, data: memoryview) -> NDArray[Any]:
    if code != ARRAY:
        raise ValueError(f"unknown extension {code} in a stored state")
    dtype, shape, raw = msgspec.msgpack.decode(data, type=tuple[str, tuple[int, ...], bytes])
    return np.frombuffer(raw, dtype=np.dtype(dtype)).reshape(shape).copy()


_packer = msgspec.msgpack.Encoder(enc_hook=_encode)
_unpacker = msgspec.msgpack.Decoder(ext_hook=_decode)


def pack(state: object) -> bytes:
    """Encode a state.

    Examples
    --------
    >>> unpack(pack({"mean": np.array([1.0, 2.0]), "n": 3}))
    {'mean': array([1., 2.]), 'n': 3}
    """
    return _packer.encode(state)


def unpack(data: bytes) -> State:
    """Decode what :func:`pack` made; raises ``msgspec.DecodeError`` or ``ValueError`` on anything else."""
    return cast("State", _unpacker.decode(data))
