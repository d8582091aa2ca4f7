"""Training: the loop, its plan, and each task's way through it."""

from .language import Options, train_language
from .loop import Plan, Progress, Result
from .streams import nats_per_symbol

__all__ = ["Options", "Plan", "Progress", "Result", "nats_per_symbol", "train_language"]
