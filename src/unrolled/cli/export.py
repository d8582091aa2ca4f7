"""unrolled export DIR model.onnx"""

from __future__ import annotations

from pathlib import Path

import typer

from ..errors import Error
from ..models import load


def export(
    model: Path = typer.Argument(metavar="DIR", help="A folder made by `unrolled train`."),
    out: Path = typer.Argument(metavar="FILE", help="The file to write, model.onnx for example."),
) -> None:
    """Write a model as an ONNX file, compared with onnxruntime before it is written."""
    if out.suffix != ".onnx":
        raise Error(f"{out}: wanted a file name that ends in .onnx")
    loaded = load(model)
    from ..export import onnx  # here, since it wants the extra `export`

    written = onnx(loaded, out)
    typer.echo(
        f"wrote {out}: {', '.join(written.inputs)} -> {', '.join(written.outputs)}; "
        f"onnxruntime differs by {written.difference:.1g} relative"
    )
