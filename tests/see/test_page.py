import base64
import json
import re

import pytest
import torch
from torch import nn

import unrolled as ur
from unrolled import see
from unrolled.models import LanguageModel


@pytest.fixture
def model():
    torch.manual_seed(0)
    return LanguageModel(ur.Vocabulary("helo </script>&\n가\ud800"), hidden_size=3, embedding_size=2)


def data_of(html):
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    return json.loads(found)


def unpacked(track):
    numbers = torch.frombuffer(bytearray(base64.b64decode(track["data"])), dtype=torch.int16)
    return numbers.reshape(-1, track["units"]) * track["scale"]


def test_the_page_holds_the_recording(model):
    recording = see.record(model, "hello")
    data = data_of(see.page(recording))
    assert data["symbols"] == list("hello")
    (layer,) = data["layers"]
    assert [track["name"] for track in layer["tracks"]] == [
        "h",
        "c",
        "input",
        "forget",
        "candidate",
        "output",
    ]
    assert [track["gate"] for track in layer["tracks"]] == [False, False, True, True, True, True]
    for track, values in zip(layer["tracks"], recording.layers[0].tracks.values(), strict=True):
        torch.testing.assert_close(unpacked(track), values, rtol=0, atol=float(values.abs().max()) / 60000)
    assert data["surprise"][0] is None
    assert data["surprise"][1:] == pytest.approx(recording.surprise[1:].tolist(), abs=1e-4)
    best = recording.probabilities.max(-1)
    assert [row[0][0] for row in data["next"]] == best.indices.tolist()
    assert [row[0][1] for row in data["next"]] == pytest.approx(best.values.tolist(), abs=1e-4)


def test_no_text_breaks_out_of_the_page(model):
    html = see.page(
        see.record(model, "</script>\n<lll>&\ud800"), title="</title><script>x</script>", description="<b>&"
    )
    assert html.count("</script>") == 2
    assert "<script>x" not in html
    assert "&lt;b&gt;&amp;" in html
    assert "".join(data_of(html)["symbols"]) == "</script>\n<lll>&\ud800"
    html.encode()


def test_the_page_needs_nothing_beside_itself(model):
    html = see.page(see.record(model, "hello"))
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    for address in re.findall(r"""(?:src|href)=["']?([^"'> ]*)|url\(([^)]*)""", html):
        assert "".join(address).startswith("#"), address
    outside = set(re.findall(r"\w+://[\w.]+", html))
    assert outside == {"http://www.w3.org"}  # the name of SVG's elements, which nobody fetches


def test_a_plain_layer_has_a_page_too():
    torch.manual_seed(0)
    recording = see.record(nn.GRU(4, 200, bidirectional=True, batch_first=True), torch.randn(1, 6, 4))
    data = data_of(see.page(recording))
    assert [layer["name"] for layer in data["layers"]] == ["layer 0", "layer 0 reverse"]
    assert data["next"] == data["classes"] == []
    assert sorted(data["layers"][0]["order"]) == list(range(200))


def test_the_plane_is_the_one_of_most_variance():
    torch.manual_seed(0)
    states = torch.randn(50, 2) @ torch.randn(2, 30) + 0.01 * torch.randn(50, 30) + 5
    points, names = see.path_in_two_dimensions(states)
    distances = torch.cdist(states, states)
    torch.testing.assert_close(torch.cdist(points, points), distances, rtol=0.05, atol=0.2)
    shares = [int(re.findall(r"\((\d+) %", name)[0]) for name in names]
    assert shares[0] >= shares[1]
    assert 99 <= sum(shares) <= 101


@pytest.mark.parametrize(("time", "units"), [(1, 1), (1, 5), (2, 5), (5, 1), (5, 2)])
def test_little_has_a_plane_too(time, units):
    states = torch.randn(time, units)
    points, _ = see.path_in_two_dimensions(states)
    assert points.shape == (time, 2)
    assert points.isfinite().all()
    if units == 2:
        assert torch.equal(points, states)


def test_what_a_page_cannot_hold_is_refused(model, tmp_path, monkeypatch):
    with pytest.raises(ur.Error, match="at most 2,000 symbols"):
        see.check_page(tmp_path / "a.html", 2001)
    with pytest.raises(ur.Error, match=r"a page is \.html"):
        see.check_page(tmp_path / "a.htmx", 1)
    monkeypatch.setattr("unrolled.see.document.MOST_NUMBERS", 36)
    with pytest.raises(ur.Error, match="cut the text to 2 symbols"):
        see.page(see.record(model, "hello"))
    with torch.no_grad():
        model.embedding.weight[0] = torch.nan
    monkeypatch.undo()
    with pytest.raises(ur.Error, match="h is not a finite number from step 0 on"):
        see.page(see.record(model, "hello"))
