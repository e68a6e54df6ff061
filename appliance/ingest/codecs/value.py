"""Payloads that are one bare number, such as ``21.5``; the topic names the channel."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from appliance.ingest.codecs.base import CodecOptions, StatelessCodec, limit_payload, number
from appliance.ingest.reasons import quote, refuse
from appliance.records import Decoded, Sample, TopicMatch

_TRUTH: Final = {"true": 1.0, "on": 1.0, "false": 0.0, "off": 0.0}


class ValueOptions(CodecOptions):
    """How to read a bare number."""

    type: Literal["value"] = "value"
    booleans: bool = Field(default=False, description="Whether true, false, on and off are the readings 1 and 0.")


class ValueCodec(StatelessCodec):
    """Reads one decimal number, with a point and without a unit; its time is its arrival."""

    Options: ClassVar = ValueOptions

    def __init__(self, options: ValueOptions) -> None:
        self._truth = _TRUTH if options.booleans else {}

    def decode(self, topic: TopicMatch, payload: bytes, received_at: float) -> Decoded:
        """Read one message; see :class:`~appliance.ingest.codecs.base.Codec`."""
        if topic.channel is None:
            raise refuse("no_channel", "a bare number needs {channel} in the topic of its source")
        limit_payload(payload)
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise refuse("not_utf8", quote(payload)) from None
        truth = self._truth.get(text.strip().lower()) if self._truth else None
        value = number(text) if truth is None else truth
        return Decoded([Sample(topic.machine, received_at, {topic.channel: value})], timed=False)
