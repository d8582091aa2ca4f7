"""Models that people use: input -> recurrent layers -> head, saved as one folder."""

from .language import LanguageModel

__all__ = ["LanguageModel"]
