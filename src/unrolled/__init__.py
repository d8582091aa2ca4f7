"""unrolled: recurrent networks over symbols, from a line of text to hidden states to a model."""

from .cells import Cell, cell
from .errors import EngineWarning, Error
from .layers import GRU, LSTM, RNN, Recurrent, explain
from .models import LanguageModel
from .scan import Stack, engine, scan
from .text import Batch, Vocabulary
from .version import __version__

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Batch",
    "Cell",
    "EngineWarning",
    "Error",
    "LanguageModel",
    "Recurrent",
    "Stack",
    "Vocabulary",
    "__version__",
    "cell",
    "engine",
    "explain",
    "scan",
]
