"""Text to tensors: files, vocabularies and batches."""

from .batch import Batch
from .corpus import read_text
from .vocabulary import Vocabulary

__all__ = ["Batch", "Vocabulary", "read_text"]
