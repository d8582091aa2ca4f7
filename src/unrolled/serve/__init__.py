"""Serving models over HTTP: predictions, streamed text, and sessions that keep a hidden state.

Importing this package needs the extra: pip install 'unrolled[serve]'.
"""

try:
    import httptools  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
except ImportError as missing:
    from ..errors import Error

    raise Error(f"serving needs the package {missing.name}: pip install 'unrolled[serve]'") from missing

from .limits import Limits
from .server import Settings, serve

__all__ = ["Limits", "Settings", "serve"]
