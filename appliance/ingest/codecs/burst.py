"""Bursts of vibration or sound: many samples at a fixed rate, condensed into features that are ordinary channels."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, ClassVar, Final, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from appliance.errors import DecodeError
from appliance.ingest.codecs.base import (
    CodecOptions,
    Refusals,
    StatelessCodec,
    limit_payload,
    limit_readings,
    load_json,
    number,
)
from appliance.ingest.codecs.burst_features import MIN_SAMPLES, burst_features
from appliance.ingest.names import channel_name
from appliance.ingest.reasons import quote, refuse
from appliance.ingest.times import EpochUnit, from_epoch, read_time
from appliance.records import Decoded, Floats, Sample, TopicMatch

MAX_BURST_SAMPLES: Final = 2**18
"""Ten seconds at 25.6 kHz; the spectra of more would take over 50 MB of memory at once."""
MIN_RATE_HZ: Final = 1.0
MAX_RATE_HZ: Final = 10e6
"""Bursts of slower signals are ordinary readings; acoustic emission ends well below the upper limit."""
_HEADER_BYTES: Final = 8
_NUMERIC: Final[frozenset[type]] = frozenset({int, float})
_OCTAVES_HZ: Final = tuple(10.0 * 2**octave for octave in range(12))


class BurstOptions(CodecOptions):
    """How to read bursts."""

    type: Literal["burst"] = "burst"
    format: Literal["json", "int16", "int32", "float32", "float64"] = Field(
        default="json", description="JSON with time, rate_hz and values, or packed samples of this type."
    )
    byte_order: Literal["little", "big"] = Field(default="little", description="Byte order of packed samples.")
    header: EpochUnit | None = Field(
        default=None,
        description="Packed samples follow an 8-byte integer: the time of the first in this unit (s, ms, us, ns).",
    )
    rate_hz: float | None = Field(
        default=None, ge=MIN_RATE_HZ, le=MAX_RATE_HZ, description="Samples per second, where the payload does not say."
    )
    scale: float = Field(default=1.0, description="Factor from samples to physical units, such as g per count.")
    channel: str = Field(default="vibration", description="Channel's name where neither topic nor payload has one.")
    band_edges_hz: tuple[float, ...] = Field(
        default=_OCTAVES_HZ, max_length=64, description="Ascending edges of the bands whose r.m.s. become channels."
    )
    naive_utc: bool = Field(default=False, description="Whether times without a zone are UTC; else they are refused.")

    @field_validator("band_edges_hz")
    @classmethod
    def _ascending(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < low < high < math.inf for low, high in pairwise(edges)):
            raise ValueError("edges must be positive and ascend, such as [10, 100, 1000]")
        return edges

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if self.format != "json" and self.rate_hz is None:
            raise ValueError(f"format {self.format} says nothing about the sample rate: set rate_hz")
        if self.scale == 0 or not math.isfinite(self.scale):
            raise ValueError("scale must be a number other than 0")
        return self


class BurstCodec(StatelessCodec):
    """Reads packed samples, or JSON: ``{"time": ..., "rate_hz": 25600, "values": [...]}``.

    In JSON ``values`` may also hold one array per channel: ``{"x": [...], "y": [...]}``.
    """

    Options: ClassVar = BurstOptions

    def __init__(self, options: BurstOptions) -> None:
        self._options = options
        order = options.byte_order
        self._integer = np.dtype(np.int64).newbyteorder(order)
        self._packed = None if options.format == "json" else np.dtype(options.format).newbyteorder(order)

    def decode(self, topic: TopicMatch, payload: bytes, received_at: float) -> Decoded:
        """Read one message; see :class:`~appliance.ingest.codecs.base.Codec`."""
        limit_payload(payload)
        channel = topic.channel or self._options.channel
        if self._packed is None:
            bursts, rate_hz, at = self._read_json(payload, channel)
        else:
            bursts, rate_hz, at = self._read_packed(payload, channel, self._packed)
        refused = Refusals()
        values: dict[str, float] = {}
        for name, samples in bursts.items():
            try:
                signal = _signal(samples, self._options.scale)
                prefix = channel_name(name)
                for feature, value in burst_features(signal, rate_hz, self._options.band_edges_hz).items():
                    values[channel_name(f"{prefix}_{feature}")] = value
            except DecodeError as error:
                refused.add(error)
        limit_readings(len(values))
        if not values:
            return Decoded([], refused=refused.freeze())
        sample = Sample(topic.machine, received_at if at is None else at, values)
        return Decoded([sample], at is not None, refused.freeze())

    def _read_json(self, payload: bytes, channel: str) -> tuple[dict[str, Any], float, float | None]:
        root = load_json(payload)
        if type(root) is not dict:
            raise refuse("not_an_object", f"{quote(root)} stands where an object with values belongs")
        values = root.get("values")
        if type(values) is list:
            values = {channel: values}
        if type(values) is not dict:
            raise refuse("no_values", "the payload has no array under values")
        try:
            rate_hz = number(root.get("rate_hz", self._options.rate_hz))
        except DecodeError:
            raise refuse("no_rate", "rate_hz is missing or no number") from None
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise refuse("no_rate", f"rate_hz {rate_hz:g} is not between {MIN_RATE_HZ:g} and {MAX_RATE_HZ:g}")
        at = read_time(root["time"], self._options.naive_utc) if "time" in root else None
        return values, rate_hz, at

    def _read_packed(
        self, payload: bytes, channel: str, packed: np.dtype[Any]
    ) -> tuple[dict[str, Any], float, float | None]:
        assert self._options.rate_hz is not None
        at = None
        offset = 0
        if self._options.header is not None:
            if len(payload) < _HEADER_BYTES:
                raise refuse("too_short", f"{len(payload)} bytes do not hold the time of {_HEADER_BYTES} bytes")
            at = from_epoch(int(np.frombuffer(payload, self._integer, count=1)[0]), self._options.header)
            offset = _HEADER_BYTES
        if (len(payload) - offset) % packed.itemsize:
            raise refuse("not_a_number", f"{len(payload) - offset} bytes are no whole number of {packed.name} samples")
        return {channel: np.frombuffer(payload, packed, offset=offset)}, self._options.rate_hz, at


def _signal(samples: Any, scale: float) -> Floats:
    """Give the samples as [time] in physical units; raises DecodeError if one is not a finite number."""
    if not isinstance(samples, list | np.ndarray):
        raise refuse("not_a_number", f"{quote(samples)} stands where an array of samples belongs")
    if len(samples) > MAX_BURST_SAMPLES:
        raise refuse("too_many", f"{len(samples)} samples; the limit is {MAX_BURST_SAMPLES}: send shorter bursts")
    if len(samples) < MIN_SAMPLES:
        raise refuse("too_short", f"{len(samples)} samples; a burst has at least {MIN_SAMPLES}")
    if isinstance(samples, list) and not _NUMERIC.issuperset(map(type, samples)):
        raise refuse("not_a_number", "a sample is not a number")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            signal = np.asarray(samples, dtype=np.float64) * scale
    except OverflowError:
        raise refuse("not_finite", "a sample is too large for a double") from None
    if not np.isfinite(signal).all():
        raise refuse("not_finite", "a sample is NaN, infinite or too large for a double")
    return signal
