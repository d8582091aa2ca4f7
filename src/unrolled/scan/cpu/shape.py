"""What a kernel is generated for, and the pieces that every kernel has."""

from __future__ import annotations

from dataclasses import dataclass

from .emit import I64, PTR, Function, Module, Value
from .fields import Block
from .keep import Plan
from .machine import Machine
from .products import Tiles, product, tiles
from .trace import Graph

BARRIER = "barrier"
STEP = [(PTR, "block"), (I64, "p0"), (I64, "p1"), (I64, "row"), (I64, "step"), (I64, "local")]


def panels(size: int, width: int) -> int:
    """How many panels hold so many units."""
    return -(-size // width)


@dataclass(frozen=True)
class Shape:
    """What a kernel is generated for."""

    graph: Graph
    vectors: int
    projected: bool
    machine: Machine
    plan: Plan | None = None
    """What is kept for the backward; None in inference."""

    @property
    def x_columns(self) -> int:
        """Columns of the input product."""
        return len(self.graph.x_gates)

    @property
    def r_columns(self) -> int:
        """Columns of the recurrent product."""
        return len(self.graph.r_gates)

    @property
    def states(self) -> int:
        """How many states there are."""
        return len(self.graph.states)

    def cut(self, columns: int) -> Tiles:
        """The tiles of a product with so many columns."""
        return tiles(max(1, columns), self.machine.registers)


def products(module: Module, name: str, cut: Tiles, sources: list[tuple[str, int]]) -> None:
    """A function name_ROWS_PANELS for every tile that `cut` asks for."""
    for rows in cut.sizes:
        for panels in cut.widths[rows]:
            product(module, f"{name}_{rows}_{panels}", rows, panels, sources)


def copies(module: Module) -> None:
    """get(address, lanes): a vector, or what is there of it; put(value, address, lanes)."""
    f = module.function("get", [(PTR, "address"), (I64, "lanes")], module.vector)
    address, lanes = f.arguments
    result = f.variable(f.constant(0.0))
    whole = f.compare("sge", lanes, f.width)
    with f.when(whole):
        f.set(result, f.load(f.vector, address))
    with f.when(f.compare("slt", lanes, f.width)):
        f.set(result, f.load_some(address, lanes))
    value = f.get(f.vector, result)
    f.do(f"ret {f.vector} {value.name}")
    f = module.function("put", [(module.vector, "value"), (PTR, "address"), (I64, "lanes")])
    value, address, lanes = f.arguments
    with f.when(f.compare("sge", lanes, f.width)):
        f.store(value, address)
    with f.when(f.compare("slt", lanes, f.width)):
        f.store_some(value, address, lanes)
    f.finish()


def get(f: Function, address: Value, lanes: Value) -> Value:
    """A vector of a row-major tensor; zeros past its last lane."""
    return f.call(f.vector, "get", [address, lanes])


def put(f: Function, value: Value, address: Value, lanes: Value) -> None:
    """Writes a vector into a row-major tensor, up to its last lane."""
    f.call("void", "put", [value, address, lanes])


def slot(f: Function, b: Block, name: str, k: int, panel: Value, step: Value, row: Value) -> Value:
    """Where state k (of panels [panel][slot][row][W]) lies before the step."""
    rows = b["rows"]
    index = panel * b["s_lines"] + (step & b["mask"]) * rows + row
    return f.at(b[f"{name}{k}"], index * f.bytes)
