import numpy as np
import pytest
import torch

import unrolled as ur
from unrolled import see
from unrolled.models import LanguageModel

TEXT = "".join(f"Line {i} (of many) says\n“go [{i}]” on {'x' * (i % 7)}\n" for i in range(60))


def reader(*layers, window=256):
    length = len(layers[0])
    return lambda: (
        (begin, [layer[begin : begin + window] for layer in layers]) for begin in range(0, length, window)
    )


LENGTH = len(TEXT)


def noise(units, length=LENGTH, seed=1):
    return torch.randn(length, units, generator=torch.Generator().manual_seed(seed))


def track(name):
    return next(track for track in see.text_tracks(TEXT) if track.name == name)


def test_a_planted_unit_is_found_among_noise():
    planted = noise(40)
    planted[:, 17] = 3 - 2 * track("inside brackets").values
    rankings = see.rank_units(reader(noise(10, seed=2), planted), TEXT, see.text_tracks(TEXT))
    assert rankings[0].track == "inside brackets"
    first, second = rankings[0].units[:2]
    assert (first.layer, first.unit) == (1, 17)
    assert first.score == pytest.approx(-1)
    assert first.auc == 0
    assert first.beats_control
    assert abs(second.score) < 0.2
    assert not second.beats_control


def test_noise_does_not_beat_its_control():
    rankings = see.rank_units(reader(noise(200)), TEXT, see.text_tracks(TEXT), draws=50)
    beat = [ranking.track for ranking in rankings if ranking.units[0].beats_control]
    assert len(rankings) == 9
    # Each does with probability 1/51; two of nine with one in a hundred.
    assert len(beat) < 2, beat


def test_a_slow_unit_is_held_against_slow_chance():
    """What drifts goes with every slow track a little: the shifted control knows, a p-value does not."""
    drifting = torch.cumsum(noise(30), 0)
    ranking = see.rank_units(reader(drifting), TEXT, [track("line length")])[0]
    assert ranking.control[1] > 3 / len(TEXT) ** 0.5


def test_scores_are_pearsons_whatever_the_windows_and_the_offset():
    values = noise(6) + 1000
    values[:, 5] = 7.5
    naive = np.corrcoef(values[:, :5].double().numpy().T, track("capital").values.numpy())[5, :5]
    for window in (7, 256, 10**6):
        ranking = see.rank_units(reader(values, window=window), TEXT, [track("capital")], best=6)[0]
        found = {unit.unit: unit.score for unit in ranking.units}
        assert found[5] == 0
        assert [found[i] for i in range(5)] == pytest.approx(list(naive), abs=1e-6)


def test_the_area_under_the_curve_is_the_share_of_pairs():
    values = torch.tensor([1.0, 2, 2, 3, 0, 2])
    inside = torch.tensor([True, True, False, True, False, False])
    pairs = [(a > b) + (a == b) / 2 for a in values[inside] for b in values[~inside]]
    assert see.area_under_curve(values, inside) == pytest.approx(float(sum(pairs)) / len(pairs))


def test_examples_are_where_the_track_varies():
    values = noise(3)
    ranking = see.rank_units(reader(values), TEXT, [track("bracket depth")], best=1, examples=2)[0]
    for example in ranking.units[0].examples:
        at = slice(example.position, example.position + len(example.symbols))
        assert "".join(example.symbols) == TEXT[at]
        assert max(example.track) > min(example.track)
        unit = ranking.units[0].unit
        assert list(example.values) == values[at, unit].tolist()


def test_a_track_that_never_changes_is_left_out():
    rankings = see.rank_units(reader(noise(3, 100)), "a" * 100, see.text_tracks("a" * 100))
    assert [r.track for r in rankings] == ["position in line", "position in word"]


def test_a_model_that_diverged_is_refused():
    with pytest.raises(ur.Error, match="not all finite"):
        see.rank_units(reader(noise(3) / 0), TEXT, see.text_tracks(TEXT))


@pytest.mark.parametrize(
    ("options", "message"), [({"draws": 5000}, "wanted at least"), ({"best": 0}, "best=0")]
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ur.Error, match=message):
        see.rank_units(reader(noise(3)), TEXT, see.text_tracks(TEXT), **options)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_windows_are_one_reading_of_the_whole(cell):
    torch.manual_seed(0)
    model = LanguageModel(ur.Vocabulary(TEXT), cell=cell, hidden_size=5, num_layers=3, embedding_size=4)
    text = TEXT[:200]
    whole = see.record(model, text)
    parts = list(see.windows(model, text, window=64))
    assert [begin for begin, _ in parts] == [0, 64, 128, 192]
    assert all(len(layers) == len(whole.layers) == 3 for _, layers in parts)
    for number, layer in enumerate(whole.layers):
        joined = torch.cat([layers[number] for _, layers in parts])
        torch.testing.assert_close(joined, layer.states["h"], rtol=1e-5, atol=1e-6)


def test_the_nearest_passage_to_a_text_in_itself_is_itself():
    torch.manual_seed(0)
    model = LanguageModel(ur.Vocabulary(TEXT), hidden_size=8, embedding_size=4)
    recording = see.record(model, TEXT[:300])
    passages = see.nearest_passages(model, recording, TEXT, count=3)
    assert len(passages) == 300
    for t in (0, 99, 299):
        first = passages[t][0]
        assert first.position == t
        assert first.distance < 1e-2
        assert first.at == TEXT[t]
        assert TEXT[t + 1 :].startswith(first.after)
        assert TEXT[:t].endswith(first.before)
        places = [p.position for p in passages[t]]
        assert all(abs(a - b) >= 32 for a in places for b in places if a != b)


def test_passages_of_a_model_of_words_are_words():
    torch.manual_seed(0)
    text = " ".join(f"w{i % 9} of {i % 7}" for i in range(80))
    model = LanguageModel(ur.Vocabulary(text, unit="word"), hidden_size=8, embedding_size=4)
    recording = see.record(model, "w0 of 0 w1 of 1")
    first = see.nearest_passages(model, recording, text, count=1)[4][0]
    assert (first.position, first.at) == (4, "of")
    assert first.before.split() == ["w0", "of", "0", "w1"]
    assert first.after.split()[:3] == ["1", "w2", "of"]
