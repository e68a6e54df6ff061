"""The shelf: the folder with the bundles installed last, which of them is in service, and the way back.

::

    shelf.json        {"service": [{"name": "general", "version": 2}, {… 3}], "aside": []}
    general-2.bundle  what a rollback goes to
    general-3.bundle  in service: the last in the list

Whoever reads takes no lock: a file is on the shelf before ``shelf.json`` names it, and both are replaced in one step.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from appliance.bundle.durable import flush_folder, replace_file
from appliance.bundle.expected import Expected
from appliance.bundle.keys import Trusted
from appliance.bundle.manifest import Name, Version
from appliance.bundle.network import try_network
from appliance.bundle.reading import Bundle, parse, read
from appliance.bundle.sealed import read_limited
from appliance.errors import BundleError, BundleRefused

KEPT = 5
"""Bundles on the shelf, that in service among them."""
STATE = "shelf.json"


class Entry(msgspec.Struct, frozen=True):
    """A bundle on the shelf."""

    name: Name
    version: Version

    @property
    def file(self) -> str:
        """Its file's name there."""
        return f"{self.name}-{self.version}.bundle"

    def __str__(self) -> str:
        return f"{self.name} version {self.version}"


class State(msgspec.Struct, frozen=True):
    """What ``shelf.json`` holds."""

    service: tuple[Entry, ...] = ()
    """Those that came into service, the present one last; empty: the prior that is part of the software."""
    aside: tuple[Entry, ...] = ()
    """Those that a rollback took out of service, the latest last."""

    @property
    def present(self) -> Entry | None:
        """The one in service."""
        return self.service[-1] if self.service else None

    def with_in_service(self, entry: Entry) -> State:
        """Put a bundle in service and forget the oldest beyond five, first of those set aside."""
        service = (*(each for each in self.service if each != entry), entry)
        aside = tuple(each for each in self.aside if each != entry)
        surplus = max(0, len(service) + len(aside) - KEPT)
        forgotten = min(surplus, len(aside))
        return State(service[surplus - forgotten :], aside[forgotten:])

    def rolled_back(self) -> State:
        """Set the bundle in service aside for the one before it."""
        return State(self.service[:-1], (*self.aside, self.service[-1]))


Place = Literal["in service", "before", "set aside", "its own"]


class Change(NamedTuple):
    """What was in service, and what is now; None for the prior that is part of the software."""

    before: Entry | None
    now: Bundle | None


class Listed(NamedTuple):
    """A bundle on the shelf and how it is."""

    entry: Entry
    place: Place
    bundle: Bundle | None
    problem: str | None
    """Why it can no longer be used."""


class Shelf:
    """The bundles of one appliance.

    Parameters
    ----------
    folder
        Made when the first bundle is installed.
    trusted
        Public keys that are accepted, by name. A bundle whose key is no longer among them is refused at the next start.
    expected
        What the software expects of a bundle; None accepts any.
    """

    def __init__(self, folder: Path, trusted: Trusted, expected: Expected | None = None) -> None:
        self._folder = folder
        self._trusted = trusted
        self._expected = expected

    def in_service(self) -> Bundle | None:
        """Return the bundle in service, checked again; None for the prior that is part of the software.

        Its network is not tried: whoever uses it opens it.

        Raises
        ------
        BundleError
            The shelf cannot be read.
        BundleRefused
            The bundle is damaged, its key is no longer trusted, or it is not what this version expects.
        """
        present = self._state().present
        return None if present is None else self._read(present)

    def verify(self, file: Path) -> Bundle:
        """Check a bundle as ``install`` does, but for its version, and leave the shelf alone; raises like it."""
        return self._checked(file)[1]

    def install(self, file: Path, *, allow_downgrade: bool = False) -> Change:
        """Check a bundle, put it on the shelf and in service; whatever happens, the old one is or the new.

        Raises
        ------
        BundleError
            The file cannot be read or the shelf cannot be written.
        BundleRefused
            The bundle must not come into service; that in service stays.
        """
        raw, bundle = self._checked(file)
        entry = Entry(bundle.manifest.name, bundle.manifest.version)
        with self._changing():
            state = self._state()
            if not allow_downgrade:
                _refuse_downgrade(entry, state, file.name)
            self._refuse_other_content(entry, state, bundle, file.name)
            replace_file(self._folder / entry.file, raw)
            self._store(state.with_in_service(entry))
        return Change(state.present, bundle)

    def rollback(self) -> Change:
        """Put the bundle before that in service back, or the last before it that can still be used.

        Before the first there is the prior that is part of the software.

        Raises
        ------
        BundleError
            The shelf cannot be read or written.
        BundleRefused
            No bundle is in service.
        """
        with self._changing():
            state = self._state()
            if state.present is None:
                raise BundleRefused(str(self._folder), "nothing_to_roll_back", "no bundle is in service; install one")
            after, bundle = state.rolled_back(), None
            while after.present is not None and bundle is None:
                try:
                    bundle = self._read(after.present)
                except BundleError:
                    after = after.rolled_back()
            self._store(after)
        return Change(state.present, bundle)

    def listed(self) -> list[Listed]:
        """Return what is on the shelf: that in service, those before it, those set aside; of each the newest first."""
        state = self._state()
        found = []
        for entry in (*reversed(state.service), *reversed(state.aside)):
            place: Place = "in service" if entry == state.present else "set aside" if entry in state.aside else "before"
            try:
                found.append(Listed(entry, place, self._read(entry), None))
            except BundleError as error:
                found.append(Listed(entry, place, None, str(error)))
        return found

    def _checked(self, file: Path) -> tuple[bytes, Bundle]:
        raw = read_limited(file)
        bundle = parse(raw, file.name, self._trusted, self._expected)
        try_network(bundle, file.name, self._expected)
        return raw, bundle

    def _read(self, entry: Entry) -> Bundle:
        return read(self._folder / entry.file, self._trusted, self._expected)

    def _state(self) -> State:
        path = self._folder / STATE
        try:
            return msgspec.json.decode(path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except OSError as error:
            raise BundleError(f"{path}: cannot be read: {error.strerror}; run as root") from error
        except msgspec.DecodeError as error:
            raise BundleError(f"{path}: is damaged: {error}; remove it and install the bundle again") from error

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Let one process at a time change the shelf."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o755)  # whoever installs as root lets the service read
            flush_folder(self._folder.parent)
            lock = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
            finally:
                os.close(lock)
        except OSError as error:
            raise BundleError(
                f"{self._folder}: cannot be written: {error.strerror}; make room or run as root"
            ) from error

    def _store(self, state: State) -> None:
        """Make a state the present one, which is the moment of the change, then remove what it no longer names."""
        replace_file(self._folder / STATE, msgspec.json.encode(state) + b"\n")
        named = {STATE, *(each.file for each in (*state.service, *state.aside))}
        for path in self._folder.iterdir():
            if path.name not in named:
                with suppress(OSError):  # the change is made; the next one tries again
                    path.unlink()

    def _refuse_other_content(self, entry: Entry, state: State, bundle: Bundle, file: str) -> None:
        """Refuse a second bundle of the same name and version, unless that on the shelf can no longer be used."""
        if entry not in {*state.service, *state.aside}:
            return
        try:
            there = self._read(entry)
        except BundleError:
            return
        if there.sha256 != bundle.sha256:
            differs = f"differs from the {entry} that is installed already"
            raise BundleRefused(file, "other_content", f"{differs}; pack it again with a higher version")


def _refuse_downgrade(entry: Entry, state: State, file: str) -> None:
    newest = max((each.version for each in state.service if each.name == entry.name), default=0)
    if entry.version < newest:
        older = f"{entry} is older than version {newest}, which is installed"
        raise BundleRefused(file, "downgrade", f"{older}; use rollback, or --allow-downgrade if you mean it")
