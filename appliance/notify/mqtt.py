"""Alerts over MQTT: retained while open, cleared when closed, so a late subscriber sees what stands."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from appliance.notify.base import Notifier, NotifierOptions, as_json
from appliance.records import Alert


class MqttOptions(NotifierOptions):
    """Options of ``type = "mqtt"``."""

    type: Literal["mqtt"]
    prefix: str = Field(
        default="appliance", pattern=r"^[^+#]+$", description="Alerts go to {prefix}/machines/{machine}/alert."
    )


class MqttNotifier(Notifier[MqttOptions]):
    """Publishes each change to ``…/alert/log`` and keeps the open alert retained on ``…/alert``.

    ``…`` is ``{prefix}/machines/{machine}`` for the machine's own alert and ``{prefix}/machines/{machine}/sensors/
    {channel}`` for a sensor's: both may stand at once, and neither is to clear the other.
    """

    Options: ClassVar[type[NotifierOptions]] = MqttOptions

    def send(self, alert: Alert) -> None:
        """Publish at QoS 1; an empty retained message clears a closed alert."""
        source = f"{self.options.prefix}/machines/{level(alert.machine)}"
        if alert.kind == "sensor":
            source += f"/sensors/{level(next(iter(alert.channels)))}"
        topic = f"{source}/alert"
        body = as_json(alert)
        self.publish(f"{topic}/log", body)
        self.publish(topic, b"" if alert.state == "closed" else body, retain=True)

    def probe(self) -> str:
        """Publish one message that means nothing, to see that the broker lets us."""
        topic = f"{self.options.prefix}/canary"
        self.publish(topic, b"")
        return f"may publish to {topic}"


def level(name: str) -> str:
    """Make a name fit for one level of a topic.

    Examples
    --------
    >>> level("line 1/pump+")
    'line 1_pump_'
    """
    return "".join("_" if character in "/+#\0" else character for character in name)
