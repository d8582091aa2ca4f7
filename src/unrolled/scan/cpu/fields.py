"""What a kernel is told: one block of 64-bit words a group of rows, its words named here."""

from __future__ import annotations

from .emit import I64, PTR, Function, Value

MOST_STATES = 8

_POINTERS = (
    # input: features (rows x_row, steps x_step apart) packed into xa, or indices of rows of w_x; their
    # product (rows xp_row, panels xp_panel, gates xp_gate apart, of `ring` steps); the kernel that makes
    # it, or waits for who does, whose progress is there
    *("x", "xa", "indices", "xp", "feed", "progress"),
    # weights: input, recurrent, projection; initial sums; vectors of one weight a unit
    *("w_x", "w_r", "w_p", "bias_x", "bias_r", "zeros", "vectors"),
    # rows: which row of the tensors each is, active rows of each step, last step of each row; in packed
    # tensors the rows before each step, else zeros
    *("rowmap", "active", "ends", "starts", "tiles_x", "tiles_r", "tiles_p"),
    *("out", "low", "saved", "raw", "outputs", "reset", "barrier"),
    # backward
    *("dout", "dg", "dh", "dp", "dvectors", "w_h", "w_q"),
    # products after the scan
    *("a", "operand", "result", "sums", "sums_too", "counts", "places"),
)
_NUMBERS = (
    *("steps", "rows", "chunk", "ring", "workers"),
    *("panels", "hidden", "out_panels", "out_size", "in_panels"),
    *("in_full", "in_tail", "h_full", "h_tail", "p_full", "p_tail", "panel_step", "fetch"),
    *("x_panels", "xp_row", "xp_panel", "xp_gate", "xp_step"),
    *("x_row", "x_step", "i_row", "i_step", "in_size", "out_row", "out_step"),
    *("low_row", "low_step", "dout_low", "final_low"),
    *("reset_row", "reset_step", "s_lines", "x_lines", "full", "padded", "dout_row", "dout_step"),
    *("g_lines", "o_lines", "a_panels", "o_panels", "result_row", "result_step", "result_size"),
    *("segments", "segment", "together", "groups", "fresh", "across"),
)
_PER_STATE = ("state", "initial", "initial_row", "start", "final", "final_row", "dstate", "dfinal")
_PER_STATE_TOO = ("dfinal_row", "dinitial", "dinitial_row", "dstart")

FIELDS = {
    name: index
    for index, name in enumerate(
        [
            *_POINTERS,
            *_NUMBERS,
            *(f"{n}{k}" for k in range(MOST_STATES) for n in _PER_STATE + _PER_STATE_TOO),
        ]
    )
}
_ARE_POINTERS = frozenset(_POINTERS) | {"state", "initial", "start", "final"}
_ARE_POINTERS |= {"dstate", "dfinal", "dinitial", "dstart"}


class Block:
    """The fields, as a kernel reads them; nobody writes one while a kernel runs."""

    def __init__(self, function: Function, base: Value) -> None:
        self._function, self._base = function, base
        function.readable(base, 8 * len(FIELDS))

    def __getitem__(self, name: str) -> Value:
        type = PTR if name.rstrip("0123456789") in _ARE_POINTERS else I64
        return self._function.load_constant(type, self._function.at(self._base, 8 * FIELDS[name]), 8)
