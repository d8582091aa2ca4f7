"""Text to tensors: files, vocabularies and batches."""

from .batch import Batch
from .corpus import Corpus, read_text
from .index import Index
from .table import read_columns
from .tagged import Sentence, read_sentences
from .vocabulary import Vocabulary

__all__ = [
    "Batch",
    "Corpus",
    "Index",
    "Sentence",
    "Vocabulary",
    "read_columns",
    "read_sentences",
    "read_text",
]
