"""What every notifier has in common: its options, and an alert written as JSON."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict

from appliance.records import Alert


class NotifierOptions(BaseModel):
    """Options of one ``[[notify]]`` table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str


Chosen = TypeVar("Chosen", bound=NotifierOptions)


class Publish(Protocol):
    """Publish over the appliance's own MQTT connection; raises ``Retry`` or ``Refused``."""

    def __call__(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish and wait for the broker's word."""


class Notifier(Generic[Chosen]):
    """Sends alerts somewhere. Sending one twice must do no harm: the receiver knows it by its id."""

    Options: ClassVar[type[NotifierOptions]]

    def __init__(self, options: Chosen, publish: Publish) -> None:
        self.options = options
        self.publish = publish

    def write(self, batch: Sequence[Alert]) -> None:
        """Send alerts in order; raises ``Retry``, ``Rejected`` or ``Refused``."""
        for alert in batch:
            self.send(alert)

    @abstractmethod
    def send(self, alert: Alert) -> None:
        """Send one alert."""

    @abstractmethod
    def probe(self) -> str:
        """Reach the receiver without sending an alert; return what was reached, or raise like :meth:`send`."""


def as_json(alert: Alert) -> bytes:
    """Write an alert as JSON with ISO 8601 times in UTC.

    Examples
    --------
    >>> alert = Alert("p-1", "p", "open", 0.0, 60.0, 60.0, None, 3.5, 3.0, {"t": 1.0}, {"level": 9.0}, "Hot.")
    >>> as_json(alert)[:70]
    b'{"id":"p-1","machine":"p","state":"open","since":"1970-01-01T00:00:00Z'
    """
    body: dict[str, Any] = msgspec.to_builtins(alert)
    for name in ("since", "opened_at", "updated_at", "closed_at"):
        if body[name] is not None:
            body[name] = datetime.fromtimestamp(body[name], UTC).isoformat().replace("+00:00", "Z")
    return msgspec.json.encode(body)
