"""Sizes that a user left open, chosen for the data and the time there is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..models import Classifier, LanguageModel
from ..models.base import Model
from ..text import Batch, Vocabulary
from .classification import ClassifierOptions
from .language import Options
from .plan import Plan
from .streams import surprise

LADDER = (64, 96, 128, 192, 256, 384, 512, 768, 1024)
"""Hidden sizes to choose among."""
READ_PER_PARAMETER = 7
"""Symbols that must be read for each parameter, or a smaller model would have learnt more by then."""
MEMBER_SIZE, MEMBER_PASSES, MOST_MEMBERS = 0.75, 8, 4
"""Parameters for each symbol of the text from which on a second network gains more than a larger one, if
each can read the text so often; and how many there are at most."""
MEASURED = 1.0
"""Seconds for which a speed is measured, or a hundredth of the plan's where that is less."""
WORD_DROPOUT = 0.3
"""Of the features of words' embeddings, in a classifier."""
FOR_GRAMS = 200_000
"""Symbols of the texts from which on letters are read with their n-grams."""
LETTERS, GRAMS = 3, {"jamo": 6}
"""Symbols of the longest n-grams that a classifier reads; of jamo, of which a syllable has two or three."""
GRAM_DROPOUT, GRAM_CONSISTENCY = 0.5, 1.0
"""With n-grams: dropout of the embeddings and before the head, and α of R-Drop."""
GRAM_RATE, GRAM_UNITS = 4e-3, 128
"""With n-grams: the learning rate, and the most hidden units."""
GRAM_STEPS, GRAM_PASSES = 6000, 3
"""With n-grams, soon known by heart, so many steps are enough, or so many passes if those are more."""
ENOUGH = 12
"""Passes over short rows after which more time gains nothing."""


@dataclass(frozen=True)
class Choice:
    """Options and plan without anything left open, and why."""

    options: Any
    plan: Plan
    why: str = ""
    chosen: dict[str, Any] = field(default_factory=dict)


def for_language(
    symbols: int, distinct: int, plan: Plan, options: Options, given: dict[str, Any]
) -> Choice:
    """The largest model that still reads READ_PER_PARAMETER symbols a parameter within the plan's time;
    with much time for little text several smaller ones side by side.

    symbols: of the text to train on. given: the options that the user set, which are kept.
    The speed is measured with a step of the given cell on this machine. A plan of steps is left as it is.
    """
    options = replace(options, **given)
    if plan.seconds is None:
        return Choice(options, plan)
    speed, base = _language_speed(distinct, options, plan.seconds)
    members = given.get("members", 1)
    whole = speed * base * plan.seconds * 0.95 / members  # symbols times parameters, for each network
    sizes = [options.hidden_size] if "hidden_size" in given else list(LADDER)
    parameters = {n: _parameters(distinct, replace(options, hidden_size=n)) for n in sizes}
    fits = [n for n in sizes if whole / parameters[n] >= READ_PER_PARAMETER * parameters[n]]
    hidden = max((n for n in fits if parameters[n] <= 2 * symbols), default=sizes[0])
    if not {"members", "hidden_size", "tied"} & given.keys():
        small = max((n for n in fits if parameters[n] <= MEMBER_SIZE * symbols), default=sizes[0])
        several = min(int(whole / parameters[small] / symbols / MEMBER_PASSES), MOST_MEMBERS)
        if several > 1:
            hidden, members, whole = small, several, whole / several
    read = whole / parameters[hidden]
    passes = read / symbols
    dropout = _dropout(passes, hidden)
    chosen: dict[str, Any] = {"hidden_size": hidden, "dropout": dropout}
    chosen |= {"members": members} if members > 1 else {}
    chosen = {name: value for name, value in chosen.items() if name not in given}
    rate = min(4e-3, 4e-3 * (256 / hidden) ** 0.5)
    networks = f"{members} networks of " if members > 1 else ""
    why = (
        f"chosen for {plan.seconds / 60:g} min on {symbols:,} symbols: {networks}{hidden} units, dropout "
        f"{chosen.get('dropout', options.dropout)}: about {passes:.1f} passes, "
        f"{read / parameters[hidden]:.0f} symbols read per parameter; a larger model would learn more from "
        f"each symbol and read fewer"
    )
    return Choice(replace(options, **chosen), replace(plan, learning_rate=rate), why, chosen)


def _dropout(passes: float, hidden: int) -> float:
    """For a model of a text that is read so often."""
    most = [(6, 0.0), (9, 0.1)] if hidden < 384 else [(6, 0.0), (12, 0.1), (18, 0.2)]
    return next((p for limit, p in most if passes < limit), 0.2 if hidden < 384 else 0.3)


def for_classifier(
    lengths: list[int],
    symbols: int,
    labels: int,
    plan: Plan,
    options: ClassifierOptions,
    given: dict[str, Any],
) -> Choice:
    """The size for short texts: the largest that makes enough passes in the plan's time; where that leaves
    time over, the run ends earlier. Letters of much text are read with their n-grams, and what is read of
    those and of words has dropout.

    lengths: of the texts; symbols: distinct ones."""
    options = replace(options, **given)
    if plan.seconds is None:
        return Choice(options, plan)
    seconds = plan.seconds
    read = {n: v for n, v in _reading(options, given, sum(lengths)).items() if n not in given}
    options, largest, wanted, rate = replace(options, **read), 256, float(ENOUGH), plan.learning_rate
    if options.grams > 1:
        largest, rate = GRAM_UNITS, GRAM_RATE
        wanted = min(max(GRAM_STEPS * options.batch / max(len(lengths), 1), GRAM_PASSES), ENOUGH)
    sizes = [options.hidden_size] if "hidden_size" in given else [n for n in LADDER if n <= largest]

    def passes_of(options: ClassifierOptions) -> float:
        speed = _classifier_speed(lengths, symbols, labels, options, seconds)
        return speed * seconds * 0.95 / max(sum(lengths), 1)

    hidden, passes = _largest(sizes, wanted, options, passes_of)
    if passes < wanted and "consistency" in read:  # no time to read each text twice
        del read["consistency"]
        options = replace(options, consistency=0.0)
        hidden, passes = _largest(sizes, wanted, options, passes_of)
    enough = min(1.0, wanted / passes) if passes else 1.0
    ends = seconds * enough
    over = f"; {wanted:.3g} are enough, so it ends after about {ends:.0f} s" if enough < 1 else ""
    mean = sum(lengths) / max(len(lengths), 1)
    chosen = {n: value for n, value in {"hidden_size": hidden, **read}.items() if n not in given}
    said = [f"{hidden} units", *(_SAID[name].format(value) for name, value in read.items())]
    why = (
        f"chosen for {seconds / 60:g} min on {len(lengths):,} texts of {mean:.0f} "
        f"symbols: {', '.join(said)}, about {min(passes, wanted):.1f} passes{over}"
    )
    return Choice(replace(options, **chosen), replace(plan, enough=enough, learning_rate=rate), why, chosen)


_SAID = {
    "grams": "n-grams up to {}",
    "dropout": "dropout {}",
    "input_dropout": "dropout {} of the embeddings",
    "consistency": "each text read twice (R-Drop)",
}
"""How a choice beside the size is put."""


def _largest(
    sizes: list[int],
    wanted: float,
    options: ClassifierOptions,
    passes_of: Callable[[ClassifierOptions], float],
) -> tuple[int, float]:
    """The largest of the sizes, ascending, with which there is time for so many passes, or else the first;
    and the passes that there is time for."""
    found = sizes[0], passes_of(replace(options, hidden_size=sizes[0]))
    for size in sizes[1:]:
        passes = passes_of(replace(options, hidden_size=size))
        if min(found[1], passes) < wanted:
            break
        found = size, passes
    return found


def _reading(options: ClassifierOptions, given: dict[str, Any], total: int) -> dict[str, Any]:
    """How symbols of this unit are read: n-grams of letters, and dropout of embeddings. Most words and
    n-grams are rare, and their embeddings are learnt by heart first."""
    kinds = options.input.split("+") if options.input else ["embedding"] if options.embedding_size else []
    if options.unit == "word":
        return {"input_dropout": WORD_DROPOUT} if set(kinds) - {"one-hot"} else {}
    grams = given.get("grams", GRAMS.get(options.unit, LETTERS) if total >= FOR_GRAMS else 1)
    if "embedding" not in kinds or grams == 1:
        return {}
    dropout = {"dropout": GRAM_DROPOUT, "input_dropout": GRAM_DROPOUT}
    return {"grams": grams, **dropout, "consistency": GRAM_CONSISTENCY}


def _parameters(distinct: int, options: Options) -> int:
    """Those of one network's layers and head, whose number says how long a step takes."""
    with torch.device("meta"):
        model = LanguageModel(Vocabulary(map(str, range(distinct))), **replace(options, members=1).model())
    return sum(p.numel() for n, p in model.named_parameters() if not n.startswith(("embedding", "vectors")))


def _language_speed(distinct: int, options: Options, budget: float) -> tuple[float, int]:
    """Symbols a second of one network of 256 units, and its parameters."""
    sized = replace(options, hidden_size=256, seed=0, members=1)
    model = LanguageModel(Vocabulary(map(str, range(distinct))), **sized.model())
    indices = torch.randint(distinct, (options.batch, options.window))

    def loss() -> Tensor:
        return surprise(model(indices)[0], indices)

    return indices.numel() / _step_seconds(model, loss, budget), _parameters(distinct, sized)


def _classifier_speed(
    lengths: list[int], symbols: int, labels: int, options: ClassifierOptions, budget: float
) -> float:
    """Symbols a second, padding not counted, with texts of the middling length."""
    vocabulary = Vocabulary(map(str, range(symbols)))
    names = [str(i) for i in range(labels)]
    model = Classifier(
        vocabulary,
        names,
        bidirectional=options.bidirectional,
        pooling=options.pooling,
        grams=options.grams,
        **options.model(),
    )
    middle = max(1, min(sorted(lengths)[len(lengths) // 2], options.longest))
    times = 2 if options.consistency else 1  # that each text is read
    indices = torch.randint(symbols, (options.batch * times, middle))

    def loss() -> Tensor:
        return model(Batch(indices, None, vocabulary)).logsumexp(-1).sum()

    return indices.numel() / times / _step_seconds(model, loss, budget)


def _step_seconds(model: Model | nn.Module, loss: Callable[[], Tensor], budget: float) -> float:
    """The shortest of some steps with AdamW, after one to warm up: what other programs take from some of
    the steps must not choose the model. budget: seconds of the whole run."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5, fused=True)
    times: list[float] = []
    while len(times) < 4 or sum(times[1:]) < min(MEASURED, budget / 100):
        begin = time.perf_counter()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        times.append(time.perf_counter() - begin)
    return min(times[1:])
