"""The lab page in a real browser, over a real server: every control, both languages, phone and desktop."""

import re

import pytest

import unrolled as ur
from unrolled import see

TEXT = "The fox, again"


@pytest.fixture
def opened(browser):
    """Opens the page in a new visit; at the end nothing was complained about or asked elsewhere."""
    complaints, contexts = [], []

    def open_page(url, visited=True, waits=True, **options):
        context = browser.new_context(
            **{"viewport": {"width": 1200, "height": 900}, "locale": "en-US"} | options
        )
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda asked: asked.url.startswith(url) or complaints.append(asked.url))
        if visited:
            page.add_init_script("localStorage.setItem('visited', 'yes')")
        page.goto(url)
        if waits:
            page.wait_for_function("() => document.querySelector('#model').options.length > 0")
        return page

    open_page.complaints = complaints
    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def typed(page, text, looks=1):
    """Types key by key and waits until all of it is read by every look that reads symbols."""
    page.locator("#text").press_sequentially(text)
    read(page, page.input_value("#text"), looks)


def read(page, text, looks=1):
    page.wait_for_function(
        """([count, looks]) => [...document.querySelectorAll(".coloured")]
            .filter(box => box.querySelectorAll("span").length === count).length === looks""",
        arg=[len(text), looks],
    )


def told(page, pattern, where="#said"):
    page.wait_for_function(
        "([where, pattern]) => new RegExp(pattern, 'u').test(document.querySelector(where).textContent)",
        arg=[where, pattern],
    )
    return re.search(pattern, page.text_content(where))


def number(text):
    return float(text.replace("−", "-"))


def test_every_key_moves_what_the_server_read(opened, server, gru, artifacts):
    page = opened(server.url)
    sessions = server.metric("unrolled_sessions")
    typed(page, TEXT)
    assert server.metric("unrolled_sessions") == sessions + 1
    recording = see.record(gru, TEXT)
    last = len(TEXT) - 1
    value = number(told(page, r"“n” · h, unit 0: (−?[\d.]+)")[1])
    assert value == pytest.approx(float(recording.hidden[last, 0]), abs=6e-4)
    assert f"batch 1 × time {len(TEXT)} × feature {len(gru.vocabulary)}" in page.inner_text(".look")
    assert f"“n” is number {gru.vocabulary.index('n')} of" in page.inner_text(".look")
    best = recording.probabilities[last].max()
    assert number(page.inner_text(".next li:first-child > span").split()[0]) == pytest.approx(
        100 * float(best), abs=0.06
    )
    bits = float(recording.surprise[1:].mean()) / 0.693147
    assert number(re.search(r"Mean surprise: ([\d.]+) bits", page.inner_text(".look"))[1]) == pytest.approx(
        bits, abs=0.01
    )

    page.fill("#unit", "7")
    page.press("#unit", "Enter")
    page.click("#unit-more")
    page.click("#unit-less")
    page.select_option(".look select >> nth=1", label="update (gate)")
    page.press("#at", "ArrowLeft")
    gates = recording.layers[0].gates
    value = number(told(page, r"“i” · update, unit 7: (−?[\d.]+)")[1])
    assert value == pytest.approx(float(gates["update"][last - 1, 7]), abs=6e-4)
    key = page.inner_text(".key")
    for name, track in recording.layers[0].tracks.items():
        printed = number(re.search(rf"{name} (−?[\d.]+)", key)[1])
        assert printed == pytest.approx(float(track[last - 1, 7]), abs=6e-3)

    for keys, symbol in (("Home", "T"), ("ArrowRight", "h"), ("ArrowLeft", "T"), ("End", "n")):
        page.press(".coloured", keys)
        told(page, f"^“{symbol}”")
    page.click(".coloured span >> nth=4")
    told(page, "^“f”")
    page.press("canvas", "ArrowRight")
    page.press("canvas", "ArrowDown")
    page.press("canvas", "ArrowUp")
    page.press("canvas", "ArrowDown")
    told(page, "^“o”.*unit 8:")
    page.click("canvas", position={"x": 2, "y": 2})
    told(page, "^“T”.*unit 0:")

    page.screenshot(path=artifacts / "lab-desktop.png", full_page=True)
    page.click(".next button >> nth=0")
    read(page, TEXT + "?")
    page.press("#text", "Control+End")
    page.press("#text", "Backspace")
    page.press("#text", "Backspace")
    read(page, TEXT[:-1])
    assert page.input_value("#text") == TEXT[:-1]
    value = number(told(page, r"“i” · update, unit 0: (−?[\d.]+)")[1])
    assert value == pytest.approx(float(gates["update"][last - 1, 0]), abs=6e-4)
    page.click("#clear")
    told(page, "Type something above")
    assert server.metric("unrolled_sessions") == sessions


def test_two_models_side_by_side(opened, server, artifacts):
    page = opened(server.url)
    page.select_option("#other", "lstm")
    typed(page, "aab ba", looks=2)
    assert page.locator(".look").count() == 2
    page.select_option(".look:nth-child(2) select >> nth=0", "0")
    page.select_option(".look:nth-child(2) select >> nth=1", label="c (state)")
    assert "All 6 units over time: c" in page.inner_text(".look:nth-child(2)")
    page.screenshot(path=artifacts / "lab-compare.png", full_page=True)
    page.select_option("#other", "moods")
    page.wait_for_function("() => document.querySelectorAll('.look:nth-child(2) .next li').length === 3")
    wanted = server.post("/v1/predict", {"texts": ["aab ba"], "model": "moods"})["predictions"][0]
    assert page.inner_text(".look:nth-child(2) .next li b") == wanted["label"]
    page.select_option("#model", "moods")
    page.wait_for_function("() => document.querySelectorAll('.look').length === 1")
    assert page.input_value("#other") == ""
    page.select_option("#model", "tags")
    page.wait_for_function("() => document.querySelectorAll('.tags li').length === 2")
    words = server.post("/v1/predict", {"texts": ["aab ba"], "model": "tags"})["predictions"][0]["tags"]
    shown = [li.split("\n")[:2] for li in page.locator(".tags li").all_inner_texts()]
    assert shown == [[one["word"], one["tag"]] for one in words]
    page.screenshot(path=artifacts / "lab-tags.png", full_page=True)
    page.select_option("#model", "lstm")
    read(page, "aab ba")
    page.select_option("#other", "")


def test_it_writes_and_stops(opened, server):
    page = opened(server.url)
    page.fill("#prompt", "The ")
    page.fill("#length", "50")
    page.fill("#seed", "3")
    page.focus("#temperature")
    page.press("#temperature", "ArrowRight")
    assert page.inner_text("#temperature-value") == "0.85"
    page.click("#go")
    told(page, "Written: 50 symbols", "#written-said")
    written = page.text_content("#written")
    assert len(written) == 54
    page.click("#go")
    told(page, "Written: 50 symbols", "#written-said")
    assert page.text_content("#written") == written  # the same seed
    page.click("#take")
    read(page, written)
    page.select_option("#write-model", "lstm")
    page.fill("#prompt", "a")
    page.fill("#length", "2000")
    # Within the page, as soon as there is something: a click from here may come after the last symbol.
    page.evaluate("""() => {
        const written = document.querySelector('#written');
        new MutationObserver((_, watcher) => {
            if (written.textContent.length < 20) return;
            watcher.disconnect();
            document.querySelector('#stop').click();
        }).observe(written, {childList: true, characterData: true, subtree: true});
    }""")
    page.click("#go")
    count = int(told(page, r"Stopped after (\d+)", "#written-said")[1])
    assert count == len(page.text_content("#written")) - 1
    assert 19 <= count < 2000


def test_the_first_visit_is_the_lesson(opened, server, artifacts):
    page = opened(server.url, visited=False)
    page.wait_for_selector("#lesson:not([hidden])")
    page.click("#lesson-next")
    page.click("#lesson-next")
    assert "(3, 5, 4)" in page.inner_text("#lesson")
    assert page.locator("#lesson td.one").count() == 15
    page.click("#lesson-next")
    page.click("#lesson-next")
    assert "−0.5753 −0.0070" in " ".join(page.inner_text("#lesson").split())
    page.check("#way-across")
    assert "−0.5282 −0.2473" in " ".join(page.inner_text("#lesson").split())
    page.screenshot(path=artifacts / "lab-lesson.png", full_page=True)
    page.click("#lesson-back")
    assert page.evaluate("document.activeElement.id") == "lesson-title"
    for _ in range(3):
        page.click("#lesson-next")
    page.click("#lesson-next")
    assert not page.is_visible("#lesson")
    assert page.evaluate("document.activeElement.id") == "text"
    page.reload()
    page.wait_for_function("() => document.querySelector('#model').options.length > 0")
    assert not page.is_visible("#lesson")
    page.click("#lesson-open")
    page.click("#lesson-close")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_in_korean(opened, server, artifacts, scheme):
    page = opened(server.url, viewport={"width": 360, "height": 740}, locale="ko-KR", color_scheme=scheme)
    assert page.evaluate("document.documentElement.lang") == "ko"
    page.select_option("#model", "lstm")
    typed(page, "한글 한 글")
    told(page, "^“글” · h, 유닛 0")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.screenshot(path=artifacts / f"lab-phone-{scheme}.png", full_page=True)
    # WCAG's contrast of every coloured symbol with its ground.
    contrasts = page.eval_on_selector_all(
        ".coloured span",
        """nodes => nodes.map(node => {
        const light = rgb => rgb.match(/[0-9.]+/g).slice(0, 3).map(c => c / 255)
            .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const style = getComputedStyle(node);
        const [a, b] = [light(style.color), light(style.backgroundColor)];
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    })""",
    )
    assert min(contrasts) >= 4.5
    page.click("#lesson-open")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.click("#lesson-close")
    page.select_option("#language", "en")
    assert page.inner_text("#reading-title") == "Type, and see it read"


def test_both_languages_say_everything(opened, server):
    page = opened(server.url)
    found = page.evaluate("""async () => {
        const { words } = await import("/page/words.js");
        const used = [...document.querySelectorAll("[data-word], [data-label]")]
            .map(node => node.dataset.word ?? node.dataset.label);
        return { en: Object.keys(words.en), ko: Object.keys(words.ko), used,
            steps: [words.en.steps.length, words.ko.steps.length],
            same: Object.keys(words.en).filter(name => String(words.en[name]) === String(words.ko[name])) };
    }""")
    assert sorted(found["en"]) == sorted(found["ko"])
    assert set(found["used"]) <= set(found["en"])
    assert found["steps"] == [7, 7]
    assert found["same"] == ["nothing"]  # a dash


def test_everything_that_is_operated_has_a_name_and_can_be_reached(opened, server):
    page = opened(server.url)
    typed(page, "ab")
    names = page.evaluate("""() =>
        [...document.querySelectorAll("select, input, textarea, button, canvas, [role]")]
        .filter(node => node.checkVisibility())
        .map(node => node.getAttribute("aria-label") || node.labels?.[0]?.textContent.trim()
            || document.getElementById(node.getAttribute("aria-labelledby"))?.textContent
            || node.textContent || (node.role === "status" || node.role === "alert" ? node.role : ""))""")
    assert len(names) > 30
    assert all(names)
    reached = set()
    page.focus("#language")
    for _ in range(60):
        reached.add(
            page.evaluate(
                "(({ id, className, tagName }) => id || className || tagName)(document.activeElement)"
            )
        )
        page.keyboard.press("Tab")
    wanted = (
        "language lesson-open model other text at unit unit-less unit-more clear coloured CANVAS prompt "
    )
    assert set((wanted + "temperature length seed go").split()) <= reached


def test_a_symbol_that_the_model_does_not_know(opened, server):
    page = opened(server.url)
    typed(page, "ab")
    page.keyboard.insert_text("가")
    told(page, "The server says: .*가", ".told")
    page.press("#text", "Backspace")
    page.wait_for_function("() => document.querySelector('.told').textContent === ''")
    typed(page, "c")
    [complaint] = opened.complaints  # the browser's own line of the refusal
    assert "422" in complaint
    opened.complaints.clear()


def test_the_server_goes_and_comes_back(start, folders, opened, tmp_path):
    sessions = f"sqlite:///{tmp_path / 'sessions.db'}"
    first = start(folders[0], "--sessions", sessions)
    page = opened(first.url)
    typed(page, "The fox")
    first.kill()
    page.locator("#text").press_sequentially(", a")
    told(page, "The server is gone", "#server")
    second = start(folders[0], "--sessions", sessions, "--port", str(first.port))
    read(page, "The fox, a")
    told(page, "The server is back|The server answers", "#server")
    assert second.metric("unrolled_sessions") == 1  # the one that there was, read on
    hidden = see.record(ur.LanguageModel.load(folders[0]), "The fox, a").hidden[-1]
    value = number(told(page, r"“a” · h, unit 0: (−?[\d.]+)")[1])
    assert value == pytest.approx(float(hidden[0]), abs=6e-4)
    assert all("ERR_" in complaint for complaint in opened.complaints)
    opened.complaints.clear()


def test_a_token_and_a_session_that_was_forgotten(start, folders, opened):
    server = start(
        folders[0], "--most", "1", "--sessions", "memory:", environment={"UNROLLED_TOKEN": "open-sesame"}
    )
    server.token = "open-sesame"
    page = opened(server.url, waits=False)
    page.fill("#token", "wrong")
    page.press("#token", "Enter")
    told(page, "wants a token", "#server")
    page.fill("#token", "open-sesame")
    page.press("#token", "Enter")
    typed(page, "The fo")
    server.open()  # the page's session gives way
    typed(page, "x")
    hidden = see.record(ur.LanguageModel.load(folders[0]), "The fox").hidden[-1]
    value = number(told(page, r"“x” · h, unit 0: (−?[\d.]+)")[1])
    assert value == pytest.approx(float(hidden[0]), abs=6e-4)
    assert all("401" in complaint or "404" in complaint for complaint in opened.complaints)
    opened.complaints.clear()
