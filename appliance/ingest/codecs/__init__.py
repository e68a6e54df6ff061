"""Payload formats: each codec turns the payload of a message into readings.

A codec is one file with its options and its class, and one line in :data:`CODECS`. It is imported when a source uses
it, so that a plant without Sparkplug does not carry protobuf in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from appliance.ingest.codecs.base import Codec, CodecOptions, StatelessCodec

__all__ = ["CODECS", "Codec", "CodecOptions", "StatelessCodec", "build_codec", "parse_options"]

CODECS: Final[Mapping[str, str]] = {
    "json": "appliance.ingest.codecs.json:JsonCodec",
    "value": "appliance.ingest.codecs.value:ValueCodec",
    "influx": "appliance.ingest.codecs.influx:InfluxCodec",
    "sparkplug": "appliance.ingest.codecs.sparkplug:SparkplugCodec",
    "burst": "appliance.ingest.codecs.burst:BurstCodec",
}
"""Type in the configuration → where its class is."""


def parse_options(raw: Mapping[str, Any]) -> CodecOptions:
    """Check the options of a codec as they stand in the configuration.

    Raises
    ------
    ValueError
        An unknown ``type``, or options that it does not take (pydantic's ValidationError is a ValueError).

    Examples
    --------
    >>> parse_options({"type": "json", "time": "meta.ts"}).time
    'meta.ts'
    """
    options: CodecOptions = _codec_class(raw.get("type")).Options.model_validate(dict(raw))
    return options


def build_codec(options: Mapping[str, Any] | CodecOptions) -> Codec:
    """Make the codec that the options describe; raises ValueError as :func:`parse_options` does."""
    if not isinstance(options, CodecOptions):
        options = parse_options(options)
    codec: Codec = _codec_class(options.type)(options)
    return codec


def _codec_class(kind: object) -> Any:
    where = CODECS.get(kind) if isinstance(kind, str) else None
    if where is None:
        raise ValueError(f"codec type {kind!r} is unknown; known are {', '.join(CODECS)}")
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
