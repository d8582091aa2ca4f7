"""unrolled lesson: one-hot letters through an RNN, and the axis that everybody reads wrong."""

from __future__ import annotations

import torch
import typer
from torch import Tensor

from ..layers import RNN
from ..text import Vocabulary

WORDS = ("hello", "eolll", "lleel")


def lesson() -> None:
    """Print the lesson: letters, one-hot rows, a tensor's three axes, both readings, the hidden state."""
    vocabulary = Vocabulary("helo")
    batch = vocabulary.encode(WORDS)
    one_hot = batch.one_hot()
    torch.manual_seed(0)
    rnn = RNN(input_size=4, hidden_size=2)
    with torch.inference_mode():
        across, across_state = rnn(one_hot)
        along, along_state = rnn(batch)

    _title("1. Letters are symbols, and symbols are numbers")
    _say("   ".join(f"{s} → {i}" for i, s in enumerate(vocabulary.symbols)))

    _title("2. A number is a one-hot row: one feature for each symbol of the vocabulary")
    for t in range(len(WORDS[0])):
        rows = (f"{word[t]}  {_digits(one_hot[w, t])}" for w, word in enumerate(WORDS))
        _say("       ".join(rows))

    _title("3. Three words of five letters, stacked: one tensor with three axes")
    _say(f"shape {tuple(one_hot.shape)}:  batch 3 (words)   time 5 (letters)   feature 4 (h, e, l, o)")

    _title("4. The layer: RNN(input_size=4, hidden_size=2), seed 0")
    _say("h_t = tanh(W x_t + b_ih + R h_{t-1} + b_hh)    W is 2 × 4, R is 2 × 2, h is 2 wide")
    _say("The hidden size is the output size; batch and time are read off the tensor.")

    _title("5. One tensor, two readings")
    _say("outputs, state = rnn(tensor)              outputs, state = rnn(batch)")
    _say("torch.nn takes the FIRST axis for time    a Batch knows its axes")
    _say("(batch_first=False is its default)        ")
    _say()
    _say(f"outputs: {tuple(across.shape)!s:<33}outputs: {tuple(along.shape)}")
    _say("outputs[0], in the order of hello:        outputs[0], in the order of hello:")
    for t, letter in enumerate(WORDS[0]):
        _say(f"  {letter}  {_numbers(across[0, t]):<37}  {letter}  {_numbers(along[0, t])}")
    _say()
    _say("Left, each letter of hello is the first     Right, each letter of hello follows the one")
    _say("step of a sequence of its own, that goes    before it: e was read with the state that h")
    _say("on down the words: h, e, l; then e, o, l.   left behind. Only the first row is the same.")
    _say("Both are right answers. Only one is to the question that was asked, and no error tells.")

    _title("6. The hidden state: what is left when the last step is done")
    _say(f"left: shape {tuple(across_state.shape)}, one for each of five “sequences” of three letters")
    _say(f"right: shape {tuple(along_state.shape)}, one for each word:")
    for word, state in zip(WORDS, along_state[0], strict=True):
        _say(f"  {word}  {_numbers(state)}")

    _title("7. From here")
    _say("Three emotions (sad, happy, angry)? Make the hidden size 3, a number for each.")
    _say("Many symbols? A dense row for each (a word embedding) takes the place of the one-hot row.")
    _say("A text of your own?  unrolled train language FILE --out DIR")


def _title(text: str) -> None:
    typer.echo(f"\n{text}")


def _say(text: str = "") -> None:
    typer.echo(f"   {text}".rstrip())


def _digits(row: Tensor) -> str:
    return " ".join(str(int(x)) for x in row)


def _numbers(row: Tensor) -> str:
    return "[" + ", ".join(f"{x:7.4f}" for x in row.tolist()) + "]"
