"""Where alerts go. A new notifier is one file here and one line in ``NOTIFIERS``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from appliance.notify.base import Notifier, NotifierOptions, Publish
from appliance.notify.mqtt import MqttNotifier
from appliance.notify.webhook import WebhookNotifier

NOTIFIERS: dict[str, type[Notifier[Any]]] = {
    "mqtt": MqttNotifier,
    "webhook": WebhookNotifier,
}


def parse_options(raw: Mapping[str, Any]) -> NotifierOptions:
    """Validate one ``[[notify]]`` table; raises ValueError on an unknown type and pydantic's error on anything else."""
    kind = raw.get("type")
    if not isinstance(kind, str) or kind not in NOTIFIERS:
        raise ValueError(f"type: {kind!r} is not a notifier; use one of {', '.join(sorted(NOTIFIERS))}")
    options: NotifierOptions = TypeAdapter(NOTIFIERS[kind].Options).validate_python(raw)
    return options


def build_notifier(options: NotifierOptions, publish: Publish) -> Notifier[Any]:
    """Build the notifier for validated options; ``publish`` is the MQTT connection's."""
    return NOTIFIERS[options.type](options, publish)


__all__ = ["NOTIFIERS", "Notifier", "NotifierOptions", "Publish", "build_notifier", "parse_options"]
