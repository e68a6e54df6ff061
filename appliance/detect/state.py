"""What a fitted part must remember, as plain values: the seam between the detector and the database.

A state is a tree of dictionaries with numbers, text and arrays at its leaves, so the store can write it without
knowing what it means and no code is ever loaded with it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

State = dict[str, Any]
"""Nested: str → ndarray | float | int | str | bool | list | None | State."""


class Fitted:
    """Something whose fitted values are listed by name, and are therefore saved and restored without further code.

    Class Attributes
    ----------------
    FITTED
        Attributes that `fit` sets and nothing else changes.
    LIVE
        Attributes that learning from single windows changes. Written to flash often: keep them small.
    """

    FITTED: ClassVar[tuple[str, ...]] = ()
    LIVE: ClassVar[tuple[str, ...]] = ()

    def snapshot(self) -> tuple[State, State]:
        """Return (fitted, live) values; arrays are copied, so later learning does not reach them."""
        return _copies(self, self.FITTED), _copies(self, self.LIVE)

    @classmethod
    def restore(cls, fitted: State, live: State) -> Self:
        """Build the same object again from what `snapshot` returned."""
        restored = cls.__new__(cls)
        for name in cls.FITTED:
            setattr(restored, name, _copy(fitted[name]))
        for name in cls.LIVE:
            setattr(restored, name, _copy(live[name]))
        restored._prepare()
        return restored

    def _prepare(self) -> None:
        """Derive from the values what is too cheap to save: called by `restore`, and by `fit` itself."""


def _copies(owner: object, names: tuple[str, ...]) -> State:
    return {name: _copy(getattr(owner, name)) for name in names}


def _copy(value: Any) -> Any:
    return value.copy() if hasattr(value, "copy") else value
