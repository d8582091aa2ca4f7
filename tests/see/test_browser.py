"""The page in a real browser: the system's Chromium, driven by playwright."""

import pytest
import torch

import unrolled as ur
from unrolled import see
from unrolled.models import LanguageModel

TEXT = "hello, (hollow)\n“hole” low lee\n</script> 가"


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page and gives it; at the end nothing may have been complained about or asked for."""
    complaints = []

    def open_page(recording, width=1000, scheme="light", **options):
        file = tmp_path / "page.html"
        see.write_page(recording, file, **options)
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: asked.url == file.as_uri() or complaints.append(asked.url))
        page.goto(file.as_uri())
        return page

    yield open_page
    assert complaints == []


def model_of(hidden_size=20, num_layers=2):
    torch.manual_seed(0)
    return LanguageModel(
        ur.Vocabulary(TEXT), hidden_size=hidden_size, num_layers=num_layers, embedding_size=4
    )


def said(page):
    return page.inner_text("#said")


def number(page):
    return float(said(page).split("unit ")[1].split(": ")[1].split(" ")[0].replace("−", "-"))


def test_every_control_of_a_language_models_page(opened):
    model = model_of()
    recording = see.record(model, TEXT)
    passages = see.nearest_passages(model, recording, TEXT)
    page = opened(recording, title="a <title>", passages=passages, reference="itself", unit=3)
    assert page.title() == "a <title> – unrolled"
    assert "layer 1, h, unit 3" in said(page)

    page.select_option("#layer", "0")
    page.select_option("#track", label="forget (gate)")
    page.fill("#unit", "7")
    page.press("#unit", "Enter")
    page.click("#unit-more")
    page.click("#unit-less")
    page.click("#symbol-4")
    assert "layer 0, forget, unit 7" in said(page)
    assert number(page) == pytest.approx(float(recording.layers[0].gates["forget"][4, 7]), abs=1e-3)
    for key, at in (("ArrowRight", 5), ("ArrowLeft", 4), ("End", len(TEXT) - 1), ("Home", 0)):
        page.press("#text", key)
        assert said(page).startswith(f"{at}:")
    page.press("#text", "ArrowDown")
    assert said(page).startswith("16:")
    page.press("#text", "ArrowUp")
    assert said(page).startswith("0:")
    assert page.get_attribute("#text", "aria-activedescendant") == "symbol-0"
    page.press("#at", "ArrowRight")
    bits = float(said(page).split("surprise ")[1].split(" bits")[0])
    assert bits == pytest.approx(float(recording.surprise[1]) / 0.6931, abs=0.01)
    page.select_option("#base", "nats")
    assert float(said(page).split("surprise ")[1].split(" nats")[0]) == pytest.approx(
        bits * 0.6931, abs=0.01
    )

    page.fill("#unit", "999")
    page.press("#unit", "Enter")
    assert page.input_value("#unit") == "19"
    page.uncheck("#order")
    page.press("#heat canvas", "ArrowUp")
    assert "unit 18" in said(page)
    page.click("#heat canvas", position={"x": 30, "y": 1})
    assert "unit 0" in said(page)
    page.press("#next", "ArrowRight")
    page.press("#gates", "ArrowRight")
    page.click("#next td[data-at='2'] >> nth=1")
    assert said(page).startswith("2:")
    page.click("#path [data-at='0']", force=True)
    assert said(page).startswith("0:")
    assert page.locator("#gates polyline").count() == 6
    assert page.locator("#path circle[data-at]").count() == len(TEXT)

    page.press("#text", "End")
    first = page.inner_text("#passages li >> nth=0")
    assert "가" in first
    assert f"at {len(TEXT) - 1}, distance 0.00" in first

    assert page.locator("#table tbody tr").count() == 0
    page.click("#table-details summary")
    page.wait_for_selector("#table tbody tr")
    assert page.locator("#table tbody tr").count() == len(TEXT)
    assert page.inner_text("#table caption") == "layer 0, unit 0"
    page.click("#unit-more")
    assert page.inner_text("#table caption") == "layer 0, unit 1"
    cells = page.locator("#table tbody tr").nth(3).locator("td").all_inner_texts()
    assert float(cells[1].replace("−", "-")) == pytest.approx(
        float(recording.layers[0].states["h"][3, 1]), abs=1e-4
    )


def test_two_units_are_printed_as_numbers(opened):
    recording = see.record(model_of(hidden_size=2, num_layers=1), "hello")
    page = opened(recording)
    rows = page.locator("#heat tbody tr")
    assert rows.count() == 2
    printed = [float(x.replace("−", "-")) for x in rows.nth(1).locator("td").all_inner_texts()]
    assert printed == pytest.approx(recording.hidden[:, 1].tolist(), abs=0.006)
    rows.nth(0).locator("td").nth(2).click()
    assert said(page).startswith("2:")
    assert "unit 0" in said(page)
    page.press("#heat", "ArrowDown")
    assert "unit 1" in said(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_can_hold_it_and_ink_can_be_read(opened, scheme):
    page = opened(see.record(model_of(), TEXT), width=360, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    # WCAG's contrast of every coloured symbol and cell with its ground.
    contrast = """nodes => nodes.map(node => {
        const light = rgb => rgb.match(/[0-9.]+/g).slice(0, 3).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const style = getComputedStyle(node);
        const [a, b] = [light(style.color), light(style.backgroundColor)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    })"""
    for where in ("#text span", "#next tbody tr:nth-child(n+2) td"):
        assert min(page.eval_on_selector_all(where, contrast)) >= 4.5


def test_the_scheme_can_change_while_it_is_open(opened):
    page = opened(see.record(model_of(), TEXT))
    before = page.eval_on_selector("#symbol-3", "node => node.style.background")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(
        "before => document.querySelector('#symbol-3').style.background !== before", arg=before
    )
    page.set_viewport_size({"width": 400, "height": 700})


def test_everything_that_is_operated_has_a_name(opened):
    page = opened(see.record(model_of(), TEXT))
    names = page.evaluate("""() => [...document.querySelectorAll("select, input, button, canvas, [role]")]
        .filter(node => node.checkVisibility())
        .map(node => node.getAttribute("aria-label") || node.labels?.[0]?.textContent.trim()
            || document.getElementById(node.getAttribute("aria-labelledby"))?.textContent
            || node.textContent)""")
    assert len(names) > len(TEXT)
    assert all(names)


@pytest.mark.parametrize("time", [1, 6])
def test_a_plain_layers_page(opened, time):
    torch.manual_seed(0)
    layer = torch.nn.LSTM(4, 30, bidirectional=True, batch_first=True, proj_size=3)
    page = opened(see.record(layer, torch.randn(1, time, 4)))
    assert not page.is_visible("#next-panel")
    assert not page.is_visible("#passages-panel")
    page.select_option("#track", label="output (gate)")
    page.fill("#unit", "29")
    page.press("#unit", "Enter")
    assert "output, unit 29" in said(page)
    page.select_option("#track", label="h (output)")
    assert "h, unit 2:" in said(page)
