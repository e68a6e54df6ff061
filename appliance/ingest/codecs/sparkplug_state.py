"""What Sparkplug edge nodes have announced: the state that later messages of theirs depend on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Birth:
    """The metrics that a node or device announced."""

    machine: str
    types: dict[str, int] = field(default_factory=dict)
    """Name → data type."""
    names: dict[int, str] = field(default_factory=dict)
    """Alias → name."""


@dataclass
class Node:
    """One edge node since its birth."""

    births: dict[str, Birth] = field(default_factory=dict)
    """Device → its birth; the node's own under the empty name."""
    next_seq: int | None = None
    bd_seq: int | None = None
    asked_at: float | None = None
    """When it was last asked for a rebirth, Unix seconds; None since its birth."""

    def begin(self, bd_seq: int | None) -> None:
        """Start anew with the node's own birth: its devices must announce themselves again."""
        self.births.clear()
        self.next_seq = None
        self.bd_seq = bd_seq
        self.asked_at = None

    def machines(self) -> tuple[str, ...]:
        """Machines of the node and its devices, each once."""
        return tuple(dict.fromkeys(birth.machine for birth in self.births.values()))

    def snapshot(self) -> dict[str, Any]:
        """All of it, fit for JSON, whose keys are strings only."""
        births = {
            device: {"machine": birth.machine, "types": dict(birth.types), "names": list(birth.names.items())}
            for device, birth in self.births.items()
        }
        return {"births": births, "next_seq": self.next_seq, "bd_seq": self.bd_seq, "asked_at": self.asked_at}

    @classmethod
    def restore(cls, state: dict[str, Any]) -> Node:
        """Make a node of what :meth:`snapshot` gave."""
        births = {
            device: Birth(birth["machine"], dict(birth["types"]), dict(birth["names"]))
            for device, birth in state["births"].items()
        }
        return cls(births, state["next_seq"], state["bd_seq"], state["asked_at"])
