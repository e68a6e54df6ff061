"""Images of digits as few-shot tasks: splits of the classes, how images are bent, and episodes of them."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from appliance.meta.learning import Episodes, Examples

WAYS = 3
SHOTS = (1, 5)
QUERIES, TEST_TASKS = 10, 100
"""Images of each class to be judged on; tasks of each split that a method is measured on."""
PER_CLASS = 40
"""Images of each known class in a batch of ordinary training."""
UNSEEN = ((0, 1, 2), *(tuple(3 + (start + step) % 7 for step in (0, 1, 3)) for start in range(7)))
"""Digits that each split keeps back. Whatever was chosen was chosen on the first. The others, the lines of a Fano
plane, are of the seven remaining digits alone: each is unseen in three of them, and any two of them together in one."""
TEST_SEED = 2**31

STRETCH, SHEAR = 0.3, 0.4
"""How far a task's images are stretched along either axis, and sheared, at most."""
TURN, SCALE, SHIFT = 0.2, 0.15, 0.7
"""How far each image by itself is turned (radians), stretched, and moved (pixels), at most."""


class Split(NamedTuple):
    """Images [image, 1, 8, 8] of seven classes to learn from and of three that training never sees."""

    known: list[Tensor]
    unseen: list[Tensor]


@cache
def images() -> tuple[Tensor, ...]:
    """Return the images of each digit [image, 1, 8, 8], from 0 to 1."""
    digits = load_digits()
    x = torch.from_numpy(digits.images).float()[:, None] / 16
    target = torch.from_numpy(digits.target)
    return tuple(x[target == digit] for digit in range(10))


def split(number: int) -> Split:
    """Part the classes."""
    unseen = UNSEEN[number]
    return Split([x for digit, x in enumerate(images()) if digit not in unseen], [images()[digit] for digit in unseen])


def draw(generator: torch.Generator, classes: list[Tensor], tasks: int) -> Tensor:
    """Draw images [task, class, image, 1, 8, 8] of some classes for each task, in an order of its own."""
    drawn = []
    for _ in range(tasks):
        for digit in torch.randperm(len(classes), generator=generator)[:WAYS].tolist():
            chosen = torch.randperm(len(classes[digit]), generator=generator)[: max(SHOTS) + QUERIES]
            drawn.append(classes[digit][chosen])
    return torch.stack(drawn).reshape(tasks, WAYS, -1, 1, 8, 8)


def bent(x: Tensor, generator: torch.Generator) -> Tensor:
    """Make classes that nobody wrote of each task's images [task, class, image, 1, 8, 8].

    All images of a task are turned, mirrored, stretched and sheared alike, and each a little by itself.
    """
    tasks, per_task = len(x), x.shape[1] * x.shape[2]

    def uniform(*size: int) -> Tensor:
        return 2 * torch.rand(*size, generator=generator) - 1

    shape = torch.diag_embed(1 + STRETCH * uniform(tasks, 2))
    shape[:, 0, 0] *= torch.randint(2, (tasks,), generator=generator) * 2 - 1
    shape[:, 0, 1] = SHEAR * uniform(tasks)
    own = _rotation(TURN * uniform(tasks * per_task)) @ torch.diag_embed(1 + SCALE * uniform(tasks * per_task, 2))
    linear = (_rotation(torch.pi * uniform(tasks)) @ shape).repeat_interleave(per_task, 0) @ own
    shift = SHIFT * uniform(len(linear), 2, 1) * 2 / x.shape[-1]  # an image is 2 wide, from -1 to 1
    grid = nn.functional.affine_grid(torch.cat([linear, shift], -1), [len(linear), 1, 8, 8], align_corners=False)
    moved: Tensor = nn.functional.grid_sample(x.flatten(0, 2), grid, align_corners=False)
    return moved.reshape(x.shape)


def _rotation(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], -1).reshape(-1, 2, 2)


def episodes(x: Tensor, shots: Tensor) -> Episodes:
    """Part images [task, class, image, 1, 8, 8] into support and query.

    A task with fewer shots [task] than others has as many images as they, of which the last ones weigh nothing.
    """
    most = max(SHOTS)
    counts = (torch.arange(most) < shots[:, None, None]).float().expand(-1, WAYS, -1)

    def examples(x: Tensor, weight: Tensor) -> Examples:
        y = torch.arange(WAYS)[:, None].expand(weight.shape)
        return Examples(x.flatten(1, 2), y.flatten(1), weight.flatten(1))

    query = x[:, :, most:]
    return Episodes(examples(x[:, :, :most], counts), examples(query, torch.ones(query.shape[:3])))


def training_batch(generator: torch.Generator, known: list[Tensor], tasks: int) -> Episodes:
    """Draw tasks of either number of shots."""
    shots = torch.tensor(SHOTS)[torch.randint(len(SHOTS), (tasks,), generator=generator)]
    return episodes(bent(draw(generator, known, tasks), generator), shots)


def tasks_of_unseen(unseen: list[Tensor], shots: int, tasks: int = TEST_TASKS) -> Episodes:
    """Draw the tasks that methods are compared on: the same images at any number of shots."""
    x = draw(torch.Generator().manual_seed(TEST_SEED), unseen, tasks)
    return episodes(x, torch.full((tasks,), shots))


def ordinary_batch(generator: torch.Generator, known: list[Tensor]) -> Episodes:
    """Draw images of all known classes to tell apart, as for ordinary training, as they are."""
    chosen = [x[torch.randint(len(x), (PER_CLASS,), generator=generator)] for x in known]
    y = torch.arange(len(known)).repeat_interleave(PER_CLASS)
    each = Examples(torch.cat(chosen)[None], y[None], torch.ones(1, len(y)))
    return Episodes(each, each)
