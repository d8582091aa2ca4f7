"""What every layer shares: its call along time, one step of it, and which engine would run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from operator import is_
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from . import dynamo
from .errors import Error
from .options import check_options
from .scan import Call, Explanation, Stack, State, anew, aten, engines, folded, scan, validate
from .scripting import Scriptable
from .symbolic import Proxy, leaf
from .text import Batch


class Scanned(Scriptable):
    """What every layer does with its parameters: hand them to `scan`, in the caller's layout."""

    stack: Stack
    batch_first: bool

    def forward(
        self,
        input: Any,
        hx: Any = None,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
    ) -> Any:
        """Outputs for every step, and the state after the last.

        input: (time, batch, feature), (batch, time, feature) if batch_first, (time, feature) for one
            sequence; a PackedSequence; or a Batch, which is (batch, time) whatever batch_first is, and
            whose symbols are read as one-hot vectors that are never built.
        hx: the initial state, (layers * directions, batch, size) each; a tuple if there are several.
        lengths: (batch,) from 0 to time, any order; past its end a row's output is 0 and its state stays.
        reset: bool, the shape of the input without features; True where a new sequence begins.

        Returns the output, as the input with directions * hidden_size (or proj_size) features, and the
        state, as hx. For a Batch the output is (batch, time, feature); for a PackedSequence it is one.

        Raises Error (a ValueError and a RuntimeError) or TypeError, naming what was got and wanted.
        """
        if type(input) is Tensor and input.dtype is not torch.int64:
            return self._scan(input, hx, lengths, reset, self.batch_first)
        if type(input) is Proxy:
            return leaf(self, input, hx, lengths, reset)
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, lengths, reset)
        input, lengths, batch_first = self._unwrap(input, lengths)
        return self._scan(input, hx, lengths, reset, batch_first)

    def step(self, x_t: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """One step of a stream: output and state from one input and the state before it.

        x_t: (batch, feature), (feature,) for one sequence, or int64 symbols (batch,).
        Returns the output (batch, hidden_size or proj_size) and the next state, shaped as hx above.
        """
        if self.stack.bidirectional:
            raise Error(f"{self.stack}: a bidirectional layer cannot be stepped; it reads the end first")
        if not isinstance(x_t, Tensor):
            raise TypeError(f"{self.stack}.step: x_t is a {type(x_t).__name__}; wanted a Tensor")
        indexed = x_t.dtype == torch.int64
        if x_t.dim() not in ((0, 1) if indexed else (1, 2)):
            wanted = "(batch,)" if indexed else f"(batch, {self.stack.input_size})"
            raise Error(f"{self.stack}.step: x_t has shape {tuple(x_t.shape)}; wanted {wanted}")
        one = x_t.dim() == (0 if indexed else 1)
        input = x_t.unsqueeze(0 if one else 1)
        output, state = self._scan(input, state)
        return output.squeeze(0 if one else 1), state

    def through(self, batch: Batch, table: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        """What the layer gives for table[batch.indices], the symbols as rows of a table.

        W_ih (E e_i) = (W_ih E) e_i: the product with an embedding E (symbols, feature) is made once a
        symbol and not once a step, which is less where the batch is longer than the vocabulary.
        """
        stack, parameters = folded(self.stack, self._flat(), table)
        return scan(
            stack,
            batch.indices,
            parameters,
            hx,
            lengths=None if batch.full else batch.lengths,
            batch_first=True,
            training=self.training,
        )

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._compact()  # the parameters of a copy lie apart

    def __setattr__(self, name: str, value: Any) -> None:
        # As in torch.nn, the rate may be changed after the layer was made.
        if name == "dropout" and "stack" in self.__dict__:
            check_options(type(self).__name__, {"hidden_size": self.stack.hidden_size}, {}, value)
            self.stack = dataclasses.replace(self.stack, dropout=value)
        super().__setattr__(name, value)

    def _scan(
        self,
        input: Tensor,
        state: Any,
        lengths: Tensor | Sequence[int] | None = None,
        reset: Tensor | None = None,
        batch_first: bool = True,
    ) -> tuple[Tensor, Any]:
        """The one place where a layer computes; every way to call it ends here, but for packed sequences
        that are read as they lie (`_packed`)."""
        # As `scan`, with one call of Python less, of which a short call has few.
        stack, training, parameters = self.stack, self.training, self._flat()
        drops = training and stack.drops
        done = engines.again(stack, input, parameters, state, lengths, reset, batch_first, None, drops)
        if done is None:
            return anew(stack, input, parameters, state, lengths, reset, batch_first, training)
        output, states = done
        return output, states[0] if len(states) == 1 else states

    def _call(
        self, input: Any, state: Any, lengths: Any, reset: Any, batch_first: bool
    ) -> tuple[Call, bool]:
        """What an engine is given, and whether the input came without a batch axis."""
        given = (state, lengths, reset, batch_first, self.training)
        return validate(self.stack, input, self._flat(), *given)

    def _flat(self) -> list[Tensor]:
        """The parameters in the order of `stack.shapes`, by name, so that parametrisations are seen; or
        what somebody has put into torch.nn's list of them, from which torch.nn computes."""
        own: dict[str, Any] = self._parameters
        try:
            found = list(map(own.__getitem__, self.stack.shapes))
        except KeyError:  # a parametrised one is no parameter any more, but an attribute
            return [getattr(self, name) for name in self.stack.shapes]
        listed: list[Any] = self.__dict__.get("_flat_weights", found)
        return found if all(map(is_, listed, found)) else self._listed(listed, found)

    def _listed(self, listed: list[Any], found: list[Tensor]) -> list[Tensor]:
        """The list, unless a parameter is another one by now than when torch.nn made it: then it makes it
        anew, as there."""
        references = self.__dict__.get("_flat_weight_refs", ())
        if len(references) == len(found) and all(
            [r is not None and r() is p for r, p in zip(references, found, strict=True)]
        ):
            return list(listed)
        if isinstance(self, nn.RNNBase) and not torch.compiler.is_compiling():
            self._init_flat_weights()
        return found

    def _compact(self) -> None:
        """Lays the parameters as the GPU's kernels read them; parametrised ones are others at each call."""
        if self.stack.shapes.keys() <= self._parameters.keys():
            aten.compact(self.stack, self._flat())

    def _unwrap(
        self, input: Tensor | Batch, lengths: Tensor | Sequence[int] | None
    ) -> tuple[Tensor, Tensor | Sequence[int] | None, bool]:
        if not isinstance(input, Batch):
            if isinstance(input, Tensor) and input.dtype == torch.int64:
                raise Error(
                    f"{self.stack}: input is int64; wrap symbols in unrolled.Batch(indices, lengths, "
                    f"vocabulary), or convert features to floating point"
                )
            return input, lengths, self.batch_first
        if lengths is not None:
            raise Error(f"{self.stack}: lengths were given beside a Batch, which has its own")
        if len(input.vocabulary) != self.stack.input_size:
            raise Error(
                f"{self.stack}: the Batch has {len(input.vocabulary)} symbols; "
                f"wanted input_size {self.stack.input_size}"
            )
        return input.indices, None if input.full else input.lengths, True

    def _packed(
        self, input: PackedSequence, hx: Any, lengths: object, reset: object
    ) -> tuple[PackedSequence, Any]:
        if lengths is not None or reset is not None:
            raise Error(
                f"{self.stack}: a PackedSequence has its own lengths and takes no reset; "
                f"pass the padded tensor with lengths= and reset= instead"
            )
        data, sizes, order, back = input
        state = self._reorder(hx, order)
        done = None
        if type(self)._scan is Scanned._scan:  # a layer that computes otherwise reads padded batches
            drops = self.training and self.stack.drops
            done = engines.again(self.stack, data, self._flat(), state, None, None, True, sizes, drops)
        if done is not None:
            output, states = done
            last = self._reorder(states[0] if len(states) == 1 else states, back)
            return PackedSequence(output, sizes, order, back), last
        if not torch.compiler.is_compiling() and int(sizes.sum()) != data.shape[0]:
            raise Error(
                f"{self.stack}: the PackedSequence has {data.shape[0]} rows, and its batch_sizes "
                f"say {int(sizes.sum())}"
            )
        padded, counts = pad_packed_sequence(PackedSequence(data, sizes), batch_first=True)
        output, last = self._scan(padded, state, counts)
        packed = pack_padded_sequence(output, counts, batch_first=True)
        return PackedSequence(packed.data, sizes, order, back), self._reorder(last, back)

    def _reorder(self, state: Any, order: Tensor | None) -> Any:
        if order is None or not isinstance(state, (Tensor, tuple, list)):
            return state  # the scan names what is no state
        if isinstance(state, Tensor):
            return self._pick(state, order)
        return tuple(self._pick(s, order) for s in state)

    def _pick(self, state: Tensor, order: Tensor) -> Tensor:
        if not isinstance(state, Tensor):
            raise TypeError(f"{self.stack}: a state is a {type(state).__name__}; wanted a Tensor")
        if state.dim() != 3 or state.shape[1] != len(order):
            raise Error(
                f"{self.stack}: Expected hidden size (layers * directions, {len(order)}, size), "
                f"got {list(state.shape)}"
            )
        return state.index_select(1, order)


dynamo.admit(Scanned)


def explain(
    layer: nn.Module,
    input: Tensor | Batch,
    hx: State | None = None,
    *,
    lengths: Tensor | Sequence[int] | None = None,
    reset: Tensor | None = None,
) -> Explanation:
    """Which engine `layer(input, hx, lengths=…, reset=…)` would run on, and why not a faster one.

    Nothing is computed. Raises what the call itself would raise.
    """
    if not isinstance(layer, Scanned):
        raise TypeError(f"explain: {type(layer).__name__} is not a layer of unrolled")
    if isinstance(input, PackedSequence):
        input, lengths = pad_packed_sequence(input, batch_first=layer.batch_first)
    unwrapped, lengths, batch_first = layer._unwrap(input, lengths)
    call, _ = layer._call(unwrapped, hx, lengths, reset, batch_first)
    return engines.choose(call)
