"""Adapters by name: several ways to make a head of labels, behind one interface."""

from __future__ import annotations

from appliance.adapt.adapters.base import Adapter
from appliance.adapt.adapters.prototype import Prototype
from appliance.adapt.adapters.ridge import Ridge

ADAPTERS: dict[str, type[Adapter]] = {adapter.name: adapter for adapter in (Ridge, Prototype)}

DEFAULT = Ridge.name
"""What the appliance uses: the one that does best on machines and datasets on which nothing was chosen."""
