"""Register tiles of the product that sums over rows, of which the weights' gradients are made."""

from __future__ import annotations

from .emit import I64, PTR, Module, Value

OUTER = [
    ("a", PTR),  # [n][W]: the first lane of this tile
    ("x", PTR),  # [panel][n][W]
    ("x_panel", I64),
    ("segments", I64),
    ("counts", PTR),  # rows of each segment
    ("a_segment", I64),  # bytes from one segment to the next
    ("x_segment", I64),
    ("out", PTR),
    ("out_row", I64),
    ("fresh", I64),  # whether to begin at zero
    ("next", PTR),  # the result of the tile that comes next, most often, of which it fetches some
]


def outer(module: Module, name: str, lanes: int, panels: int) -> None:
    """out[lane][panel] += Σ_n a[n][lane] x[panel][n], over every row n of every segment; or = if fresh."""
    f = module.function(name, [(t, n) for n, t in OUTER])
    named = dict(zip([n for n, _ in OUTER], f.arguments, strict=True))
    places = [
        f.at(f.at(named["out"], named["out_row"] * lane), v * f.bytes)
        for lane in range(lanes)
        for v in range(panels)
    ]
    sums = [f.variable(f.constant(0.0)) for _ in places]
    with f.when(f.compare("eq", named["fresh"], 0)):
        for place, total in zip(places, sums, strict=True):
            f.set(total, f.load(f.vector, place, f.bytes))
    with f.loop(0, named["segments"]) as segment:
        count = f.load(I64, f.at(named["counts"], segment * 8), 8)
        a0 = f.at(named["a"], segment * named["a_segment"])
        x0 = f.at(named["x"], segment * named["x_segment"])
        x = [f.at(x0, named["x_panel"] * v) if v else x0 for v in range(panels)]

        def step(n: Value, a0: Value = a0, x: list[Value] = x) -> None:
            offset = n * f.bytes
            a = f.at(a0, offset)
            loaded = [f.load(f.vector, f.at(pointer, offset), f.bytes) for pointer in x]
            for lane in range(lanes):
                scalar = f.splat(f.load("float", f.at(a, lane * 4)))
                for v in range(panels):
                    place = sums[lane * panels + v]
                    f.set(place, f.fma(scalar, loaded[v], f.get(f.vector, place)))

        # One vector of the next tile's result a step: all at once, the first sums would wait for them.
        some = f.least(count, f.choose(f.compare("eq", segment, 0), f.int(len(sums)), f.int(0)))
        with f.loop(0, some) as n:
            lane = n // panels
            f.prefetch(f.at(f.at(named["next"], lane * named["out_row"]), (n - lane * panels) * f.bytes))
            step(n)
        with f.loop(some, count) as n:
            step(n)
    for place, total in zip(places, sums, strict=True):
        f.store(f.get(f.vector, total), place, f.bytes)
    f.finish()
