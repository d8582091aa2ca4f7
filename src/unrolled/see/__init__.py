"""Seeing what the hidden state does."""

from .picture import check_picture, draw
from .record import Recording, record

__all__ = ["Recording", "check_picture", "draw", "record"]
