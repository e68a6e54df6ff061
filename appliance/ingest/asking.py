"""Ask the running service something over its broker and wait for the answer, as the commands do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson

from appliance.errors import Refused, Retry
from appliance.ingest.broker import BrokerOptions
from appliance.ingest.session import Session


def ask(options: BrokerOptions, topic: str, payload: bytes, asked_id: str, wait_secs: float) -> dict[str, Any] | None:
    """Publish a message and return what comes on ``{topic}/answer`` for its id; None where nothing comes in time.

    Raises
    ------
    Retry, Refused
        The broker cannot be reached, or says no; the text names it.
    """
    ours = replace(options, client_id=f"{options.client_id}-{asked_id[:8]}", will_topic=None)
    try:
        with Session(ours, lambda heard: asked_id.encode() in heard) as session:
            session.subscribe(f"{topic}/answer")
            session.publish(topic, payload)
            heard = session.wait(wait_secs)
    except (Retry, Refused) as error:
        raise type(error)(f"broker {options.host}:{options.port}: {error}; nothing was sent") from error
    answer: dict[str, Any] | None = None if heard is None else orjson.loads(heard)
    return answer
