"""What the server answers is what the models say."""

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import unrolled as ur
from unrolled.serve.predicting import predictor
from unrolled.serve.server import load

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.EngineWarning")


def probabilities(model, text):
    """After each symbol of a text read from its beginning: symbol -> probability."""
    with torch.inference_mode():
        logits, _ = model(model.vocabulary.encode(text)[None])
    names = model.vocabulary.symbols
    return [dict(zip(names, row.tolist(), strict=True)) for row in logits[0].softmax(-1)]


def close(given, wanted):
    """The likeliest are there, in order, with their probabilities."""
    assert list(given.values()) == sorted(given.values(), reverse=True)
    assert list(given.values()) == pytest.approx(
        sorted(wanted.values(), reverse=True)[: len(given)], rel=1e-4
    )
    for symbol, value in given.items():
        assert value == pytest.approx(wanted[symbol], rel=1e-4)


def test_prediction_is_the_models(server, gru):
    texts = ["The", "q", "A longer one. " * 30]
    answer = server.post("/v1/predict", {"texts": texts, "top": 3})
    assert len(answer["predictions"]) == 3
    for text, found in zip(texts, answer["predictions"], strict=True):
        assert len(found["next"]) == 3
        close(found["next"], probabilities(gru, text)[-1])
    assert server.post("/v1/predict", {"texts": []}) == {"predictions": []}


def test_classes_are_the_models(server, folders):
    texts = ["I am", "", "so unknown: é", "x" * 3000]
    wanted = ur.Classifier.load(folders[2]).probabilities(texts)
    answer = server.post("/v1/predict", {"texts": texts, "model": "moods"})
    for row, found in zip(wanted.tolist(), answer["predictions"], strict=True):
        pairs = dict(zip(["sad", "happy", "angry"], row, strict=True))
        close(found["probabilities"], pairs)
        assert found["label"] == max(pairs, key=pairs.get)
    one = server.post("/v1/predict", {"texts": ["I"], "model": "moods", "top": 1})
    assert len(one["predictions"][0]["probabilities"]) == 1


def test_a_classifiers_n_grams_have_their_votes():
    torch.manual_seed(0)
    model = ur.Classifier(ur.Vocabulary("helo"), ["sad", "happy"], hidden_size=3, embedding_size=2, grams=2)
    torch.nn.init.normal_(model.votes.weight)
    texts = ["hello", "", "o", "lleel" * 7]
    served = predictor("model", model)
    answers = served.whole(texts, [2] * len(texts))
    for row, answer in zip(model.probabilities(texts).tolist(), answers, strict=True):
        close(json.loads(answer)["probabilities"], dict(zip(model.labels, row, strict=True)))
    assert answers == [served.whole([text], [2])[0] for text in texts]


def test_models_of_one_name_are_all_served(tmp_path):
    names = ["x/m", "y/m-2", "z/m", "w/m"]
    for name in names:
        ur.LanguageModel(ur.Vocabulary("ab"), hidden_size=2).save(tmp_path / name)
    found = [one.name for one in load([tmp_path / name for name in names])]
    assert found == ["m", "m-2", "m-3", "m-4"]


def test_tags_are_the_models(server, folders):
    texts = ["The fox, the ox.", " \n", "fox"]
    answer = server.post("/v1/predict", {"texts": texts, "model": "tags", "top": 2})
    found = [[(one["word"], one["tag"]) for one in text["tags"]] for text in answer["predictions"]]
    words = [["The", "fox", ",", "the", "ox", "."], [], ["fox"]]
    wanted = ur.Tagger.load(folders[3]).predict(words)
    assert found == [list(zip(*pair, strict=True)) for pair in zip(words, wanted, strict=True)]
    for one in answer["predictions"][0]["tags"]:
        assert len(one["probabilities"]) == 2
        assert max(one["probabilities"], key=one["probabilities"].get) == one["tag"]
    only = server.post("/v1/predict", {"texts": ["", ""], "model": "tags"})
    assert only["predictions"] == [{"tags": []}, {"tags": []}]


@pytest.mark.parametrize(("which", "text"), [(0, "The quick brown fox " * 20), (1, "한글 ab\n글" * 10)])
def test_a_session_reads_on_as_if_it_were_one_text(server, folders, which, text):
    model = ur.LanguageModel.load(folders[which])
    id = server.open(model=folders[which].name)
    wanted, at = probabilities(model, text), 0
    for size in (1, 1, 2, 0, 5, 200):
        piece = text[at : at + size]
        answer = server.step(id, piece, top=4)
        assert [p["symbol"] for p in answer["predictions"]] == list(piece)
        for found in answer["predictions"]:
            close(found["next"], wanted[at])
            at += 1
        assert answer["symbols"] == at
    assert server.get(f"/v1/sessions/{id}")["symbols"] == at


def test_a_step_shows_the_hidden_state(server, gru):
    id = server.open()
    answer = server.step(id, "abc", see=True, top=0)
    hidden, _ = gru.hidden(gru.vocabulary.encode(["abc"]))
    for t, found in enumerate(answer["predictions"]):
        assert found["next"] == {}
        assert found["index"] == gru.vocabulary.index("abc"[t])
        assert found["hidden"] == pytest.approx(hidden[0, t].tolist(), rel=1e-4, abs=1e-6)


def test_a_step_shows_every_state_and_gate(server, folders):
    model = ur.LanguageModel.load(folders[1])
    id = server.open(model="lstm")
    seen = [
        found
        for text in ("한글 a", "b")
        for found in server.step(id, text, model="lstm", see=True)["predictions"]
    ]
    for index, layer in enumerate(ur.see.record(model, "한글 ab").layers):
        for kind in ("states", "gates"):
            wanted = getattr(layer, kind)
            assert list(seen[0]["layers"][index][kind]) == list(wanted)
            for name, track in wanted.items():
                for t, found in enumerate(seen):
                    assert found["layers"][index][kind][name] == pytest.approx(
                        track[t].tolist(), rel=1e-3, abs=1e-4
                    )
    assert server.step(id, "", model="lstm", see=True)["predictions"] == []
    refused = server.post(f"/v1/sessions/{id}/step", {"text": "a" * 257, "see": True}, 422)
    assert "256" in refused["do"]


def test_sessions_are_opened_told_of_and_ended(server):
    opened = server.post("/v1/sessions", {"model": "lstm"}, 201)
    assert opened["bytes"] == 2 * 2 * 6 * 4  # layers × states × units × float32
    place = f"/v1/sessions/{opened['id']}"
    assert server.get(place) == {"model": "lstm", "symbols": 0, "bytes": opened["bytes"]}
    assert server.ask("DELETE", place)[0] == 204
    assert server.ask("DELETE", place)[0] == 404
    assert server.get(place, 404)["do"]
    assert server.post(place + "/step", {"text": "a"}, 404)["do"]


def test_many_at_once_get_the_answers_of_one_alone(server, gru):
    texts = [("The fox, " * 9)[i : i + 1 + i] for i in range(24)]
    ids = [server.open() for _ in texts]

    def all_of(pair):
        id, text = pair
        return [server.step(id, symbol)["predictions"][0]["next"] for symbol in text]

    with ThreadPoolExecutor(24) as pool:
        results = list(pool.map(all_of, zip(ids, texts, strict=True)))
    for text, result in zip(texts, results, strict=True):
        for given, wanted in zip(result, probabilities(gru, text), strict=True):
            close(given, wanted)
        assert all_of((server.open(), text)) == result  # every digit, and nobody beside it


def test_steps_of_one_session_at_once_are_all_read(server):
    id = server.open()
    with ThreadPoolExecutor(8) as pool:
        positions = list(pool.map(lambda _: server.step(id, "ab")["symbols"], range(40)))
    assert sorted(positions) == list(range(2, 82, 2))


def stream(server, **fields):
    status, content, headers = server.ask("POST", "/v1/generate", fields)
    assert status == 200, content
    assert headers["content-type"].startswith("text/event-stream")
    events = content.decode().split("\n\n")
    *drawn, end, nothing = events
    symbols = [json.loads(event.removeprefix("data: "))["symbol"] for event in drawn]
    whole = json.loads(end.removeprefix("event: end\ndata: "))["text"]
    assert nothing == ""
    assert whole == "".join(symbols)
    return whole


def test_a_generated_text_is_the_models(server, gru):
    options = {"temperature": 0.7, "top_k": 9, "seed": 5}
    wanted = "".join(gru.generate("The " * 60, 50, **options))
    assert stream(server, prompt="The " * 60, length=50, **options) == wanted
    greedy = "".join(gru.generate("The", 9, temperature=0))
    for cold in (0, 1e-50):
        assert stream(server, prompt="The", length=9, temperature=cold) == greedy
    assert len(stream(server, length=7)) == 7
    assert len(stream(server, length=3, model="lstm")) == 3


def test_a_text_of_words_without_a_word_is_refused(start, tmp_path):
    ur.LanguageModel(ur.Vocabulary(["a", "b"], unit="word"), hidden_size=3).save(tmp_path / "words")
    server = start(tmp_path / "words")
    for path, data, says in (
        ("/v1/predict", {"texts": ["a", " "]}, "texts[1] has no symbols"),
        ("/v1/generate", {"prompt": " \n"}, "prompt has no symbols"),
    ):
        assert says in server.post(path, data, 422)["error"]


@pytest.mark.parametrize(
    ("path", "data", "says"),
    [
        ("/v1/predict", {}, "texts is missing"),
        ("/v1/predict", {"texts": "one"}, "texts is a text"),
        ("/v1/predict", {"texts": ["a", 1]}, "texts[1] is 1"),
        ("/v1/predict", {"texts": ["a", ""]}, "texts[1] has no symbols"),
        ("/v1/predict", {"texts": ["a"] * 257}, "257 texts"),
        ("/v1/predict", {"texts": ["é"]}, "not among the"),
        ("/v1/predict", {"texts": ["\ud800"]}, "not among the"),
        ("/v1/predict", {"texts": ["a"], "top": True}, "top is true"),
        ("/v1/predict", {"texts": ["a"], "top": 0}, "top is 0"),
        ("/v1/predict", {"texts": ["a"], "model": "other"}, "no such model"),
        ("/v1/predict", {"texts": ["a"], "tpo": 1}, "'tpo' is not known"),
        ("/v1/generate", {"length": 0}, "length is 0"),
        ("/v1/generate", {"length": 10**30}, "a huge number"),
        ("/v1/generate", {"length": 10001}, "from 1 to 10000"),
        ("/v1/generate", {"temperature": -1}, "temperature is -1"),
        ("/v1/generate", {"prompt": "a" * 20001}, "20001 characters"),
        ("/v1/generate", {"prompt": None}, "prompt is missing or null"),
        ("/v1/generate", {"model": "moods"}, "reads whole texts"),
        ("/v1/sessions", {"model": "moods"}, "reads whole texts"),
        ("/v1/sessions", [], "the body is a list"),
    ],
)
def test_a_wrong_field_is_refused_with_what_to_do(server, path, data, says):
    answer = server.post(path, data, 422)
    assert set(answer) == {"error", "do"}
    assert says in f"{answer['error']}; {answer['do']}"


def test_the_description_names_every_route(server):
    from unrolled.serve.app import routes

    told = server.get("/openapi.json")
    described = {
        (path, method) for path, item in told["paths"].items() for method in item if method != "parameters"
    }

    class Anything:
        def __getattr__(self, name):
            async def handler(request): ...

            return handler

    there = {
        (route.path, route.method.lower())
        for route in routes(Anything())
        if route.name not in ("page", "openapi")
    }
    assert described == there


def test_what_is_counted(server):
    before = server.metric("unrolled_symbols_total")
    server.step(server.open(), "abcd")
    assert server.metric("unrolled_symbols_total") == before + 4
    assert server.metric("unrolled_sessions") >= 1
    assert server.metric('unrolled_requests_total{route="step",status="200"}') >= 1
    assert server.metric('unrolled_request_seconds_bucket{route="step",le="+Inf"}') >= 1


def test_the_models_and_the_lesson(server):
    models = server.get("/v1/models")["models"]
    assert [m["name"] for m in models] == ["gru", "lstm", "moods", "tags"]
    assert models[2]["labels"] == ["sad", "happy", "angry"]
    lesson = server.get("/v1/lesson")
    assert lesson["across"][0][1] == [-0.5282, -0.2473]
    assert lesson["along"][0][1] == [-0.5753, -0.0070]


def test_every_answer_has_safe_headers(server):
    for path in ("/", "/page/page.js", "/health", "/nothing"):
        _, _, headers = server.ask("GET", path)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def raw_step(id, data, *more):
    body = json.dumps(data).encode()
    head = f"POST /v1/sessions/{id}/step HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return (head + "".join(line + "\r\n" for line in more) + "\r\n").encode() + body


def answers(connection, count):
    """(status, headers, body) of so many answers that follow one another."""
    found, got = [], connection.makefile("rb")
    for _ in range(count):
        status = int(got.readline().split()[1])
        headers = dict(line.split(b": ", 1) for line in iter(lambda: got.readline().strip(), b""))
        found.append((status, headers, json.loads(got.read(int(headers[b"content-length"])))))
    return found


def test_a_step_in_one_piece_and_in_many_is_answered_alike(server):
    ids = [server.open(model="gru") for _ in range(2)]
    # Several models read: without a name the session has to be looked up, which is the long way.
    for text in ("He", ""):
        found = []
        for id, pieces in zip(ids, (1, 7), strict=True):
            for named in (True, False):
                body = {"text": text} | ({"model": "gru"} if named else {})
                data = raw_step(id, body)
                with server.raw() as connection:
                    for i in range(pieces):
                        connection.sendall(data[i * len(data) // pieces : (i + 1) * len(data) // pieces])
                        time.sleep(0.01 * (pieces > 1))
                    found.append(answers(connection, 1)[0])
        statuses, headers, bodies = zip(*found, strict=True)
        assert set(statuses) == {200}
        assert bodies[:2] == bodies[2:]
        plain = [{k: v for k, v in one.items() if k not in (b"date", b"content-length")} for one in headers]
        assert plain == [plain[0]] * 4
        assert b"content-security-policy" in plain[0]
        assert all(b"date" in one for one in headers)


def test_steps_sent_one_behind_the_other_are_answered_in_order(server):
    id = server.open(model="gru")
    with server.raw() as connection:
        connection.sendall(
            b"".join(raw_step(id, {"text": text, "model": "gru"}) for text in ("a", "bc", "d"))
        )
        assert [body["symbols"] for _, _, body in answers(connection, 3)] == [1, 3, 4]


def test_a_step_that_closes_its_connection(server):
    id = server.open(model="lstm")
    for more, status in ((["Connection: close"], 200), (["Connection: close", "X: \x01"], 400)):
        with server.raw() as connection:
            connection.sendall(raw_step(id, {"text": "a"}, *more))
            data = b""
            while part := connection.recv(65536):
                data += part
            assert data.startswith(f"HTTP/1.1 {status} ".encode())
            assert b"connection: close\r\n" in data.lower()
