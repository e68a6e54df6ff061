"""A machine's task → a head's bent part, by any of the algorithms: the one place where what was trained descends."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from appliance.adapt.adapters.task import Task
from appliance.detect.head import Bent
from appliance.meta.adapters import algorithm
from appliance.meta.learning import Examples
from appliance.records import Floats

torch.set_num_threads(1)  # sums then always come out the same


def descend(method: str, meta: Mapping[str, Floats], task: Task) -> Bent:
    """Adapt to one machine.

    In double precision and with the examples sorted, so that neither their order nor that of the labels changes a bit
    of what comes out.

    Parameters
    ----------
    method
        As `algorithm` names it.
    meta
        Meta-parameters: names and shapes as the algorithm's ``initial`` makes them.
    task
        Examples with features [example, feature].
    """
    order = np.lexsort((task.weight, task.is_fault, *task.features.T))
    examples = Examples(*(torch.from_numpy(each[order]).double() for each in task))
    made, _ = algorithm(method, torch.zeros(task.features.shape[1]), 0)
    start = {name: torch.from_numpy(np.asarray(each, dtype=np.float64)) for name, each in meta.items()}
    with torch.no_grad():  # derivatives inside the algorithm are still taken
        params = made.adapt(start, Examples(examples.x, examples.y, examples.weight))
    found = {name: tensor.numpy() for name, tensor in params.items()}
    return Bent(found["linear.weight"][0], found["hidden.weight"], found["hidden.bias"], found["bend.weight"][0])
