"""Text to tensors: vocabularies and batches."""

from .batch import Batch
from .vocabulary import Vocabulary

__all__ = ["Batch", "Vocabulary"]
