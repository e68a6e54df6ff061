"""What operators send over MQTT, labels and commands alike: payload → here → checked keys and texts, or why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from appliance.errors import DecodeError
from appliance.ingest.codecs.base import load_json
from appliance.ingest.names import channel_name
from appliance.ingest.reasons import Reason, likely, quote, refuse

_MAX_PAYLOAD_BYTES: Final = 64 * 1024


@dataclass(frozen=True)
class Spoken:
    """A JSON object with known keys only."""

    reason: Reason
    """With which it is refused."""
    what: str
    """Such as "label on pump-1": how every refusal begins."""
    body: Mapping[str, Any]

    @classmethod
    def read(cls, payload: bytes, reason: Reason, what: str, keys: Sequence[str], example: str) -> Self:
        """Read a payload.

        Raises
        ------
        DecodeError
            It is larger than any such message, no object, or has a key that is not among ``keys``; or ``not_json``.
        """
        none = cls(reason, what, {})
        if len(payload) > _MAX_PAYLOAD_BYTES:
            raise none.wrong(f"{len(payload)} bytes; there are at most {_MAX_PAYLOAD_BYTES}")
        body = load_json(payload)
        if not isinstance(body, dict):
            raise none.wrong(f"is no JSON object; write {example}")
        for key in body:
            if key not in keys:
                raise none.wrong(f"{shown(key)} is no key of a {what.partition(' ')[0]}{likely(key, keys)}")
        return cls(reason, what, body)

    def text(self, key: str) -> str | None:
        """Return a short text; None where there is none. Raises DecodeError where it is something else."""
        value = self.body.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(f"{key} {shown(value)}: write text")
        try:
            return channel_name(value)
        except DecodeError as error:
            raise self.wrong(f"{key}: {error.detail}") from None

    def wrong(self, detail: str) -> DecodeError:
        """Make the error to raise."""
        return refuse(self.reason, f"{self.what}: {detail}")


def shown(value: object) -> str:
    """Show a value as it was written, if it is short."""
    return f'"{value}"' if isinstance(value, str) and len(value) <= 60 and value.isprintable() else quote(value)
