"""Baseline: a network taught by made-up faults on the machine's own warm-up, then fine-tuned on its labelled events."""

from __future__ import annotations

import copy
from typing import ClassVar, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from appliance.detect.windows import Windows
from appliance.evaluation.baselines.nets import draws, seeded, squashed
from appliance.evaluation.baselines.taught import examples
from appliance.evaluation.methods import Judged, Method, Support, chunked, held_out, timed
from appliance.evaluation.trials import Views
from appliance.records import Floats

_FILTERS, _WIDTH = 32, 3
_BATCH = 128
_RATE, _STEPS = 1e-3, 400
_TUNING_RATE, _TUNING_STEPS = 3e-4, 100
"""Slower and shorter than the teaching, so that what was taught is bent and not replaced."""
_SHIFT = (1.0, 6.0)
_NOISE = (1.0, 4.0)
"""In normal spreads: from what is barely a fault to what nobody could miss."""


class FineTuned(Method):
    """Two convolutions whose score is the log odds of a fault.

    The prior is self-supervised: windows of the warm-up against the same with a fault put in, after CutPaste (Li et
    al. 2021) and NCAD (Carmona et al. 2022). Without labels that is the answer; labelled events tune all layers.
    """

    name = "finetuned"
    extra: ClassVar = "train"
    seeds: ClassVar = 3
    uses_labels: ClassVar = True

    def judge(self, views: Views, support: Support, seed: int) -> Judged:
        """Judge the warm-up's last quarter as taught on the rest, the test as taught on all of it."""
        priors = _priors(views, seed)
        rest, last_quarter = held_out(views.train)
        warm_up = _oddity(_tuned(priors.rest, rest, views.test, support, seed), last_quarter)
        net, secs = timed(lambda: _tuned(priors.whole, views.train, views.test, support, seed))
        test, test_secs = timed(lambda: chunked(views.test, lambda some: _oddity(net, some)))
        return Judged(warm_up, test, secs if support.fault.size else priors.cpu_secs, test_secs / len(test))


class _Priors(NamedTuple):
    rest: nn.Module
    """Taught without the warm-up's last quarter."""
    whole: nn.Module
    cpu_secs: float
    """To teach the latter."""


_KNOWN: WeakKeyDictionary[Views, dict[int, _Priors]] = WeakKeyDictionary()
"""By seed, for as long as somebody holds the views: every number of labels starts from the same."""


def _priors(views: Views, seed: int) -> _Priors:
    known = _KNOWN.setdefault(views, {})
    if seed not in known:
        rest, _ = held_out(views.train)
        known[seed] = _Priors(_taught(rest, seed), *timed(lambda: _taught(views.train, seed)))
    return known[seed]


def _taught(warm_up: Windows, seed: int) -> nn.Module:
    """Tell normal windows from spoilt ones."""
    cells = torch.from_numpy(warm_up.values).float()
    is_fault = torch.arange(_BATCH) % 2
    with seeded(seed):
        net = _Net(cells.shape[1])
        optimiser = torch.optim.Adam(net.parameters(), lr=_RATE)
        for _ in range(_STEPS):
            windows = cells[torch.randint(len(cells), (_BATCH,))]
            windows = torch.where(is_fault[:, None, None] > 0, _spoilt(windows), windows)
            _step(net, optimiser, windows.arcsinh(), is_fault.float())
    return net


def _tuned(prior: nn.Module, warm_up: Windows, test: Windows, support: Support, seed: int) -> nn.Module:
    """Go on from a prior with what is labelled; the prior stays as it is."""
    if not support.fault.size:
        return prior
    net = copy.deepcopy(prior)
    with seeded(seed):
        optimiser = torch.optim.Adam(net.parameters(), lr=_TUNING_RATE)
        given = examples(warm_up, test, support, lambda windows: windows.values)
        for windows, is_fault in draws(given, _BATCH, _TUNING_STEPS):
            _step(net, optimiser, windows, is_fault)
    return net


def _step(net: nn.Module, optimiser: torch.optim.Optimizer, windows: torch.Tensor, is_fault: torch.Tensor) -> None:
    loss = binary_cross_entropy_with_logits(net(windows), is_fault)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


@torch.no_grad()
def _oddity(net: nn.Module, windows: Windows) -> Floats:
    """Log odds [n] of a fault."""
    return np.asarray(net(squashed(windows.values)).numpy(), dtype=np.float64)


def _spoilt(windows: torch.Tensor) -> torch.Tensor:
    """Put a fault into each window [n, channel, time]: into some channels, from some moment on or for a while.

    Shifted, noisy, frozen at its first value, or taken from another window, which breaks what goes together.
    """
    n, channels, length = windows.shape
    share = torch.rand(n, 1)
    struck = torch.rand(n, channels) < share
    struck[torch.arange(n), torch.randint(channels, (n,))] = True
    start = torch.randint(length, (n, 1))
    lasts = torch.where(torch.rand(n, 1) < 0.5, length, torch.randint(1, length + 1, (n, 1)))
    time = torch.arange(length)
    inside = struck[:, :, None] & ((time >= start) & (time < start + lasts))[:, None, :]
    sign = torch.randint(2, (n, channels, 1)) * 2 - 1
    shifted = windows + sign * torch.empty(n, 1, 1).uniform_(*_SHIFT)
    noisy = windows + torch.randn(windows.shape) * torch.empty(n, 1, 1).uniform_(*_NOISE)
    frozen = windows.gather(2, start[:, :, None].expand(n, channels, length))
    foreign = windows[torch.randperm(n)]
    kinds = torch.stack([shifted, noisy, frozen, foreign])
    return torch.where(inside, kinds[torch.randint(len(kinds), (n,)), torch.arange(n)], windows)


class _Net(nn.Module):
    """Windows [n, channel, time] → log odds [n]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolve = nn.Sequential(
            nn.Conv1d(channels, _FILTERS, _WIDTH, padding="same"),
            nn.ReLU(),
            nn.Conv1d(_FILTERS, _FILTERS, _WIDTH, padding="same"),
            nn.ReLU(),
        )
        self.decide = nn.Linear(2 * _FILTERS, 1)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        heard = self.convolve(windows)
        odds: torch.Tensor = self.decide(torch.cat([heard.mean(dim=2), heard.amax(dim=2)], dim=1))
        return odds[:, 0]
