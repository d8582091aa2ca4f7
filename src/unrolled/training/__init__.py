"""Training: the loop, its plan, and each task's way through it."""

from .classification import ClassifierOptions, Example, train_classifier
from .language import Options, train_language
from .plan import Plan, Progress, Result
from .streams import nats_per_symbol
from .tagging import TaggerOptions, train_tagger

__all__ = [
    "ClassifierOptions",
    "Example",
    "Options",
    "Plan",
    "Progress",
    "Result",
    "TaggerOptions",
    "nats_per_symbol",
    "train_classifier",
    "train_language",
    "train_tagger",
]
