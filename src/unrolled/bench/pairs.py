"""What two modules are given to do the same work, to be timed side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .work import LAYERS, Shape

Work = Callable[[], Tensor | tuple[Tensor, ...]]

CELL = {name.upper(): cell for name, cell in LAYERS.items()}
"""The cells of torch.nn's layers, by these layers' names."""


def twins(lib: Any, name: str, shape: Shape, **options: Any) -> tuple[nn.Module, nn.Module]:
    """torch.nn's module of this name and ours, which is in lib, with the same weights."""
    torch.manual_seed(0)
    theirs, ours = (getattr(of, name)(shape.input_size, shape.hidden_size, **options) for of in (nn, lib))
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def input_of(shape: Shape) -> Tensor:
    """(time, batch, feature)."""
    torch.manual_seed(1)
    return torch.randn(shape.time, shape.batch, shape.input_size)


def work_of(function: Callable[[Tensor], Tensor], inputs: Sequence[Tensor], backward: bool) -> Work:
    """The function of inputs[0] alone, or with the gradients of all the inputs."""
    x, *weights = inputs
    if not backward:

        def forward() -> Tensor:
            with torch.inference_mode():
                return function(x)

        return forward
    sample = function(x)
    weighting = torch.randn(sample.shape, generator=torch.Generator().manual_seed(2)).to(sample.dtype)

    def both() -> tuple[Tensor, ...]:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(function(leaf), [leaf, *weights], weighting)

    return both


def arrays(work: Work) -> list[np.ndarray]:
    """What the work gives."""
    result = work()
    return [t.detach().float().numpy() for t in (result if isinstance(result, tuple) else (result,))]
