"""Seeing what the hidden state does."""

from .document import check_page, page, write_page
from .figures import FIGURES
from .map import check_map, draw_map
from .nearest import Passage, nearest_passages
from .picture import check_picture, draw
from .planes import path_in_two_dimensions, side_by_side
from .reading import carries_state, rows, windows
from .record import Recording, record, symbols_of
from .trace import Layer
from .tracks import Track, joined, label_tracks, text_tracks
from .units import Example, Ranking, Unit, area_under_curve, rank_units

__all__ = [
    "FIGURES",
    "Example",
    "Layer",
    "Passage",
    "Ranking",
    "Recording",
    "Track",
    "Unit",
    "area_under_curve",
    "carries_state",
    "check_map",
    "check_page",
    "check_picture",
    "draw",
    "draw_map",
    "joined",
    "label_tracks",
    "nearest_passages",
    "page",
    "path_in_two_dimensions",
    "rank_units",
    "record",
    "rows",
    "side_by_side",
    "symbols_of",
    "text_tracks",
    "windows",
    "write_page",
]
