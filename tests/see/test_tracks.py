from unrolled.see import label_tracks, text_tracks


def values(text, name):
    track = next(track for track in text_tracks(text) if track.name == name)
    assert len(track.values) == len(text)
    assert track.binary == (set(track.values.tolist()) <= {0, 1}) or not track.binary
    return "".join(str(int(value)) for value in track.values.tolist())


def test_lines():
    assert values("ab\n\ncde", "position in line") == "1200123"
    assert values("ab\n\ncde", "line length") == "2203333"


def test_brackets_nest_and_end_with_a_blank_line():
    assert values("a(b[c])d", "bracket depth") == "01122100"
    assert values("a(b[c])d", "inside brackets") == "01111100"
    assert values("(a)) (b", "inside brackets") == "1100011"
    assert values("(a[b)c", "bracket depth") == "112200"
    assert values("(a\n\nb", "inside brackets") == "11100"


def test_quotes_open_and_close():
    assert values('a "b" c', "inside quotes") == "0011000"
    assert values("“it's” «b» x", "inside quotes") == "111110011000"
    assert values('"a\n\nb "c"', "inside quotes") == "111000110"


def test_characters():
    assert values("Ab 3É가", "capital") == "100010"
    assert values("Ab 3É가", "digit") == "000100"
    assert values("Ab 3É가", "word boundary") == "001000"
    assert values("Ab 3É가", "position in word") == "120123"


def test_words_are_symbols_too():
    tracks = {t.name: t.values.tolist() for t in text_tracks(["Hello", "(", "1984", ")", "\n", "x"])}
    assert tracks["capital"] == [1, 0, 0, 0, 0, 0]
    assert tracks["inside brackets"] == [0, 1, 1, 0, 0, 0]
    assert tracks["position in line"] == [1, 2, 3, 4, 0, 1]


def test_each_label_is_a_track():
    tracks = label_tracks(["sad", "sad", "happy"])
    assert [t.name for t in tracks] == ["label happy", "label sad"]
    assert tracks[1].values.tolist() == [1, 1, 0]
