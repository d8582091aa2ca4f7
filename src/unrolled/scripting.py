"""What torch.jit.script is given in our layers' place: its language has no engines."""

from __future__ import annotations

import copy

from torch import nn

from .errors import Error


class Scriptable(nn.Module):
    """A layer that torch.jit.script sees as torch.nn's, with the same parameters."""

    def __prepare_scriptable__(self) -> nn.Module:
        """torch.nn's layer with this one's parameters themselves; torch.jit.script asks for it.

        Raises Error for a layer that torch.nn has none for, or whose forward is a subclass's own.
        """
        kind = type(self)
        torchs = next((c for c in kind.__mro__ if c.__module__ == nn.RNNBase.__module__), None)
        if torchs is None or kind.__module__.partition(".")[0] != __name__.partition(".")[0]:
            raise Error(
                f"torch.jit.script: {kind.__name__} has no layer of torch.nn that computes the same; "
                f"use torch.jit.trace, torch.export or torch.compile"
            )
        twin = copy.copy(self)
        object.__setattr__(twin, "__class__", torchs)
        del twin.stack
        return twin
