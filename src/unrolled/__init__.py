"""unrolled: recurrent networks over symbols, from a line of text to hidden states to a model."""

from typing import TYPE_CHECKING, Any

from . import see, vectors
from .cells import Cell, cell
from .errors import EngineWarning, Error
from .layers import GRU, LSTM, RNN, Recurrent
from .models import Classifier, LanguageModel, Tagger
from .replace import replace, restore
from .scan import Stack, engine, scan
from .scanned import explain
from .step import GRUCell, LSTMCell, RNNCell
from .text import Batch, Vocabulary
from .version import __version__

if TYPE_CHECKING:
    from . import export

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Batch",
    "Cell",
    "Classifier",
    "EngineWarning",
    "Error",
    "GRUCell",
    "LSTMCell",
    "LanguageModel",
    "RNNCell",
    "Recurrent",
    "Stack",
    "Tagger",
    "Vocabulary",
    "__version__",
    "cell",
    "engine",
    "explain",
    "export",
    "replace",
    "restore",
    "scan",
    "see",
    "vectors",
]


def __getattr__(name: str) -> Any:
    """`unrolled.export` is loaded when it is asked for: it wants onnx."""
    if name == "export":
        import importlib

        return importlib.import_module(".export", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
