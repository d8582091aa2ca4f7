"""Word vectors: their files, neighbours, analogies, evaluation, and learning them from a text."""

from .checkpoint import Checkpoint
from .evaluation import Protocol, Score, analogies, similarities
from .formats import FORMATS, check_format, read, write
from .glove import GloVe
from .table import WordVectors
from .word2vec import ARCHITECTURES, Word2Vec
from .workers import Progress

__all__ = [
    "ARCHITECTURES",
    "FORMATS",
    "Checkpoint",
    "GloVe",
    "Progress",
    "Protocol",
    "Score",
    "Word2Vec",
    "WordVectors",
    "analogies",
    "check_format",
    "read",
    "similarities",
    "write",
]
