"""What is learned from window by window: the examples of one machine as features, verdicts and weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from appliance.adapt.adapters.base import Examples
from appliance.detect.head import heard
from appliance.records import Floats

_MOST_NORMALS, _MOST_OF_EVENTS = 128, 128
"""Evenly thinned, the second shared by the events: one method compares all with all, and events may last for days."""


class Task(NamedTuple):
    """Examples of one machine, thinned; their order says nothing."""

    features: Floats
    """[example, 2 x detector] what `heard` returns."""
    is_fault: Floats
    """[example] 1 for windows of labelled events."""
    weight: Floats
    """[example] each event counts the same, shared by its windows; faults and others sum to a half each."""

    @property
    def ranked(self) -> Task:
        """The same by ranks alone: features [example, detector]."""
        return self._replace(features=self.features[:, self.features.shape[1] // 2 :])


def task_of(examples: Examples, most_normals: int = _MOST_NORMALS) -> Task:
    """Put a machine's examples in the form in which adapters that descend are trained, too."""
    some = slice(None, None, -(-len(examples.normal) // most_normals))
    parts = [heard(examples.normal_ranked[some], examples.normal[some])]
    weights = [np.full(len(parts[0]), 0.5 / len(parts[0]))]
    most = max(1, _MOST_OF_EVENTS // len(examples.events))
    for event, ranked in zip(examples.events, examples.events_ranked, strict=True):
        some = slice(None, None, -(-len(event) // most))
        parts.append(heard(ranked[some], event[some]))
        weights.append(np.full(len(parts[-1]), 0.5 / len(parts[-1]) / len(examples.events)))
    is_fault = np.repeat([0.0, *[1.0] * len(examples.events)], [len(part) for part in parts])
    return Task(np.concatenate(parts), is_fault, np.concatenate(weights))
