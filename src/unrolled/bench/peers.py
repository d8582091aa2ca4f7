"""The same layer in every library: one class a peer, given torch.nn's weights and one input.

`forward()` computes the outputs (batch, time, hidden) and `backward()` the outputs and then the gradients
of their product with a fixed tensor with respect to the input and every weight; both return when done.
`output()` and `gradients()` give what these compute, to be compared. Whoever times `forward` sees to it
that torch keeps nothing for gradients.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch

from .. import layers
from .bare import Bare
from .work import Shape


class Peer(Protocol):
    """What is timed."""

    name: str

    def forward(self) -> Any:
        """Outputs without gradients."""
        ...

    def backward(self) -> Any:
        """Outputs, then gradients."""
        ...

    def output(self) -> np.ndarray:
        """The outputs that `forward` computes."""
        ...

    def gradients(self) -> list[np.ndarray]:
        """Of the input, then of each weight in torch.nn's order."""
        ...


class _Torch:
    """A torch module, called eagerly."""

    def __init__(self, name: str, module: torch.nn.Module, x: np.ndarray, weighting: np.ndarray) -> None:
        self.name = name
        self._module = module
        self._x = torch.from_numpy(x).transpose(0, 1).contiguous()
        self._weighting = torch.from_numpy(weighting).transpose(0, 1).contiguous()
        self._leaf = self._x.detach().requires_grad_()
        self._wanted = [self._leaf, *module.parameters()]

    def forward(self) -> torch.Tensor:
        return self._module(self._x)[0]

    def backward(self) -> list[torch.Tensor]:
        output, _ = self._module(self._leaf)
        return list(torch.autograd.grad(output, self._wanted, self._weighting))

    def output(self) -> np.ndarray:
        with torch.inference_mode():
            return self.forward().transpose(0, 1).numpy()

    def gradients(self) -> list[np.ndarray]:
        x, *weights = self.backward()
        return [x.transpose(0, 1).numpy(), *(w.numpy() for w in weights)]


class _Jax:
    """A scan over time, compiled by XLA."""

    name = "jax"

    def __init__(self, layer: str, weights: list[np.ndarray], x: np.ndarray, weighting: np.ndarray) -> None:
        import jax  # pyright: ignore[reportMissingImports]

        jax.config.update("jax_platforms", "cpu")  # where JAX finds a GPU it would compute there
        outputs = _jax_layer(layer)
        self._arguments = tuple(jax.numpy.asarray(a) for a in (np.swapaxes(x, 0, 1), *weights))
        fixed = jax.numpy.asarray(np.swapaxes(weighting, 0, 1))
        count = tuple(range(len(self._arguments)))
        self._outputs = jax.jit(outputs)
        self._gradients = jax.jit(jax.grad(lambda *a: (outputs(*a) * fixed).sum(), count))

    def forward(self) -> Any:
        return self._outputs(*self._arguments).block_until_ready()

    def backward(self) -> Any:
        return [g.block_until_ready() for g in self._gradients(*self._arguments)]

    def output(self) -> np.ndarray:
        return np.swapaxes(np.asarray(self.forward()), 0, 1)

    def gradients(self) -> list[np.ndarray]:
        x, *weights = (np.asarray(g) for g in self.backward())
        return [np.swapaxes(x, 0, 1), *weights]


def _jax_layer(layer: str) -> Callable[..., Any]:
    import jax  # pyright: ignore[reportMissingImports]
    from jax import numpy as jnp  # pyright: ignore[reportMissingImports]

    sigmoid = jax.nn.sigmoid

    def rnn(state, x, r):
        h = jnp.tanh(x + r)
        return (h,), h

    def gru(state, x, r):
        x_r, x_z, x_n = jnp.split(x, 3, -1)
        r_r, r_z, r_n = jnp.split(r, 3, -1)
        update = sigmoid(x_z + r_z)
        candidate = jnp.tanh(x_n + sigmoid(x_r + r_r) * r_n)
        h = candidate + update * (state[0] - candidate)
        return (h,), h

    def lstm(state, x, r):
        i, f, g, o = jnp.split(x + r, 4, -1)
        c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
        h = sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    step = {"rnn": rnn, "gru": gru, "lstm": lstm}[layer]

    def outputs(x, w_ih, w_hh, b_ih, b_hh):
        projected = x @ w_ih.T + b_ih
        zeros = jnp.zeros((x.shape[1], w_hh.shape[1]), x.dtype)
        state = (zeros, zeros) if layer == "lstm" else (zeros,)
        return jax.lax.scan(lambda s, p: step(s, p, s[0] @ w_hh.T + b_hh), state, projected)[1]

    return outputs


class _OnnxRuntime:
    """The layer as the one node of an ONNX graph; inference only."""

    name = "onnxruntime"

    def __init__(self, layer: str, weights: list[np.ndarray], x: np.ndarray) -> None:
        import onnxruntime  # pyright: ignore[reportMissingImports]

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = onnxruntime.InferenceSession(
            _onnx_node(layer, weights), options, ["CPUExecutionProvider"]
        )
        self._feed = {"x": np.swapaxes(x, 0, 1).copy()}

    def forward(self) -> np.ndarray:
        return np.asarray(self._session.run(None, self._feed)[0])

    def output(self) -> np.ndarray:
        return np.swapaxes(self.forward()[:, 0], 0, 1)


_ONNX_GATES = {"rnn": [0], "gru": [1, 0, 2], "lstm": [0, 3, 1, 2]}
"""torch.nn's gates in ONNX's order: z, r, h and i, o, f, c."""


def _onnx_node(layer: str, weights: list[np.ndarray]) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    order = _ONNX_GATES[layer]
    w, r, b_ih, b_hh = (np.concatenate([np.split(a, len(order))[g] for g in order]) for a in weights)
    constants = {"w": w[None], "r": r[None], "b": np.concatenate([b_ih, b_hh])[None]}
    options: dict[str, Any] = {"linear_before_reset": 1} if layer == "gru" else {}
    node = helper.make_node(layer.upper(), ["x", "w", "r", "b"], ["y"], hidden_size=r.shape[1], **options)
    axes = ["time", "batch"]
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [*axes, w.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [axes[0], 1, axes[1], r.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def peers(layer: str, shape: Shape, backward: bool, seed: int = 0) -> tuple[list[Any], Any, Any]:
    """Every peer that is installed, ours first; a call that computes nothing; and torch.nn in float64 to
    compare them with."""
    torch.manual_seed(seed)
    class_name = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}[layer]
    theirs = getattr(torch.nn, class_name)(shape.input_size, shape.hidden_size)
    ours = getattr(layers, class_name)(shape.input_size, shape.hidden_size)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(shape.batch, shape.time, shape.input_size).numpy()
    weighting = torch.randn(shape.batch, shape.time, shape.hidden_size).numpy()
    truth = getattr(torch.nn, class_name)(shape.input_size, shape.hidden_size).double()
    truth.load_state_dict(theirs.state_dict())
    found: list[Any] = [_Torch("unrolled", ours, x, weighting), _Torch("torch.nn", theirs, x, weighting)]
    weights = [p.detach().numpy() for p in theirs.parameters()]
    if not backward and importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        found.append(_OnnxRuntime(layer, weights, x))
    if importlib.util.find_spec("jax"):
        found.append(_Jax(layer, weights, x, weighting))
    bare = _Torch("bare", Bare(theirs, shape), x, weighting)
    return found, bare, _Torch("float64", truth, x.astype(np.float64), weighting.astype(np.float64))
