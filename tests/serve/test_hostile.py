"""Clients that are broken, slow, greedy or mean; whatever they do, the server serves the others."""

import json
import socket
import time

import pytest


def request(path, body, *more, method="POST"):
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return (head + "".join(line + "\r\n" for line in more) + "\r\n").encode("latin-1") + body


def answer(connection):
    """(status, rest) of what comes until the end, or as much as an answer says it has."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += (part := connection.recv(65536))
        if not part:
            break
    head, _, body = got.partition(b"\r\n\r\n")
    size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
    while size and len(body) < int(size):
        body += connection.recv(65536)
    return int(head.split()[1]) if head else 0, body


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"texts": [NaN]}',
        b'{"texts": ["\xff\xfe"]}',
        b"\x00",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"texts": ' + b"9" * 5000 + b"}",
        "﻿{}".encode("utf-16"),
    ],
    ids=["cut", "words", "nan", "not-utf8", "nul", "deep", "deeper", "digits", "utf16"],
)
def test_what_is_not_json_is_refused(server, body):
    status, told, _ = server.ask("POST", "/v1/predict", body=body)
    assert status == 400
    assert set(told) == {"error", "do"}


def test_a_huge_body_is_not_read(server):
    with server.raw() as connection:
        head = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
        connection.sendall(head)
        status, body = answer(connection)
    assert status == 413
    assert json.loads(body)["do"]


def test_an_endless_body_is_cut(server):
    with server.raw() as connection:
        connection.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        sent = 0
        try:
            while sent < 50_000_000:
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass  # hung up upon, as wanted
        assert sent < 50_000_000
    server.alive()


def test_path_traversal_finds_nothing(server):
    for path in (
        "/page/../app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e/app.py",
        "/page/%2e%2e%2fapp.py",
        "/page/....//app.py",
        "/page//etc/passwd",
        "/page/%2fetc%2fpasswd",
        "/page/page.js%00.html",
        "/page/",
        "/page/.",
        "/page/..",
        "/../../../etc/passwd",
    ):
        with server.raw() as connection:
            connection.sendall(request(path, b"", method="GET"))
            status, body = answer(connection)
        assert status in (400, 404), path
        assert b"import" not in body
        assert b"root:" not in body


def test_header_injection_does_nothing(server):
    for path in ("/v1/sessions/a%0d%0aSet-Cookie:%20x=1/step", "/v1/sessions/%00/step"):
        status, _, headers = server.ask("POST", path, {"text": "a"})
        assert status == 404
        assert "set-cookie" not in headers
    for lines in (["X: a\r\n b"], ["X\x00: a"], ["Content-Length: 5"], ["Transfer-Encoding: chunked"]):
        with server.raw() as connection:
            connection.sendall(request("/v1/sessions", b"{}", *lines))
            connection.shutdown(socket.SHUT_WR)
            status, _ = answer(connection)
        assert status in (0, 201, 400), lines
    server.alive()


def test_unknown_sessions_and_places(server):
    for id in ("x", "x" * 5000, "%F0%9F%98%80", "%ff", "' OR 1=1 --".replace(" ", "%20")):
        assert server.ask("POST", f"/v1/sessions/{id}/step", {"text": "a"})[0] == 404
        assert server.ask("DELETE", f"/v1/sessions/{id}")[0] == 404
    assert server.ask("GET", "/v1/predict")[0] == 405
    assert server.ask("BREW", "/v1/predict")[0] in (400, 405)
    assert set(server.get("/nowhere", 404)) == {"error", "do"}


def test_pages_elsewhere_cannot_ask(server):
    evil = {"Origin": "http://evil.example"}
    assert server.ask("POST", "/v1/sessions", {}, headers=evil)[0] == 403
    assert server.ask("POST", "/v1/sessions", {}, headers={"Origin": "null"})[0] == 403
    for host in ("evil.example", "[", "127.0.0.1:[", ""):
        assert server.ask("GET", "/health", headers={"Host": host})[0] == 421, host
    for origin in ("http://[", "http://[::1", ""):
        assert server.ask("POST", "/v1/sessions", {}, headers={"Origin": origin})[0] == 403, origin
    own = {"Origin": server.url}
    assert server.ask("POST", "/v1/sessions", {}, headers=own)[0] == 201


def test_a_client_that_goes_in_the_middle_of_a_stream(server):
    for _ in range(5):
        with server.raw() as connection:
            body = json.dumps({"length": 10_000}).encode()
            connection.sendall(request("/v1/generate", body))
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
    deadline = time.monotonic() + 10
    while server.metric("unrolled_streams"):
        assert time.monotonic() < deadline, "streams that nobody reads go on"
        time.sleep(0.1)
    server.alive()


def test_a_client_that_goes_before_its_answer(server):
    id = server.open()
    for _ in range(10):
        with server.raw() as connection:
            connection.sendall(request(f"/v1/sessions/{id}/step", b'{"text":"abc"}'))
    assert server.step(id, "")["symbols"] % 3 == 0


def test_ten_thousand_sessions(server):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    before, ids = server.metric("unrolled_sessions"), []
    for _ in range(10_000):
        connection.request("POST", "/v1/sessions", body=b"{}")
        ids.append(json.loads(connection.getresponse().read())["id"])
    connection.close()
    assert len(set(ids)) == 10_000
    assert server.metric("unrolled_sessions") == before + 10_000
    for id in (ids[0], ids[5000], ids[-1]):
        assert server.step(id, "a")["symbols"] == 1


@pytest.fixture(scope="module")
def strict(folders, tmp_path_factory):
    """A server of small limits, with a token."""
    from .conftest import Server

    place = tmp_path_factory.mktemp("strict")
    (place / "token").write_text("a-secret-of-nobody\n")
    limits = ["--body", 2000, "--text", 50, "--length", 100_000, "--seconds", 2, "--requests", 8]
    running = Server(
        place,
        folders[0],
        "--token-file",
        place / "token",
        "--patience",
        1,
        "--sessions",
        "memory:",
        *limits,
    )
    running.token = "a-secret-of-nobody"
    yield running
    running.stop()
    log = running.log.read_text()
    assert "Traceback" not in log, log
    assert "a-secret" not in log


def test_without_the_token_nothing_is_told(strict):
    for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": "a-secret-of-nobody"}):
        strict.token = None
        try:
            status, told, headers = strict.ask("POST", "/v1/sessions", {}, headers=header)
            assert strict.ask("GET", "/metrics", headers=header)[0] == 401
            assert strict.ask("GET", "/v1/models", headers=header)[0] == 401
        finally:
            strict.token = "a-secret-of-nobody"
        assert status == 401
        assert headers["www-authenticate"] == "Bearer"
        assert "Bearer" in told["do"]
    assert strict.open()
    assert strict.ask("GET", "/health")[0] == 200


def test_limits_say_what_to_do(strict):
    status, told, _ = strict.ask("POST", "/v1/predict", {"texts": ["a" * 51]})
    assert (status, told["do"]) == (422, "send at most 50 at once")
    assert strict.ask("POST", "/v1/predict", body=b" " * 2001)[0] == 413
    assert strict.ask("POST", "/v1/predict", body=iter([b" " * 1500] * 2))[0] == 413


def test_a_long_answer_ends_in_time(strict):
    begin = time.monotonic()
    status, content, _ = strict.ask("POST", "/v1/generate", {"length": 100_000})
    assert status == 200
    assert b"event: error" in content.split(b"\n\n")[-2]
    assert time.monotonic() - begin < 5


def test_too_many_at_once(strict):
    connections = []
    try:
        for _ in range(8):
            connection = socket.create_connection(("127.0.0.1", strict.port), timeout=30)
            connections.append(connection)
            connection.sendall(
                request("/v1/generate", b'{"length":100000}', "Authorization: Bearer a-secret-of-nobody")
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        status, told, headers = strict.ask("POST", "/v1/sessions", {})
        assert status == 503
        assert headers["retry-after"] == "1"
        assert "try again" in told["do"]
        assert strict.ask("GET", "/health")[0] == 200
    finally:
        for connection in connections:
            connection.close()
    time.sleep(0.5)
    assert strict.open()


def test_slow_clients_are_hung_up_on(strict):
    begin = time.monotonic()
    with strict.raw() as silent, strict.raw() as slow_head, strict.raw() as slow_body:
        slow_head.sendall(b"POST /v1/predict HTTP/1.1\r\nHos")
        token = "Authorization: Bearer a-secret-of-nobody"
        slow_body.sendall(request("/v1/predict", b"x" * 100, token)[:-50])
        assert answer(slow_body)[0] == 408
        assert silent.recv(10) == b""
        assert slow_head.recv(10) == b""
    assert time.monotonic() - begin < 8
    strict.alive()


def test_a_text_that_nobody_reads_is_given_up(strict):
    with strict.raw() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        body = b'{"length":100000}'
        connection.sendall(request("/v1/generate", body, "Authorization: Bearer a-secret-of-nobody"))
        deadline = time.monotonic() + 8
        time.sleep(2.2)
        while strict.metric("unrolled_streams"):
            assert time.monotonic() < deadline
            time.sleep(0.1)


CHUNKED = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "url": (b"GET /", b"y" * 65_536),
    "header": (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: ", b"y" * 65_536),
    "headers": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n" * 10_000),
    "trailer": (CHUNKED + b"0\r\nX: ", b"y" * 65_536),
    "extension": (CHUNKED + b"1;x=", b"y" * 65_536),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_headers_are_cut(server, kind):
    begin, more = ENDLESS[kind]
    with server.raw() as connection:
        connection.sendall(begin)
        sent = 0
        try:
            while sent < 20_000_000:
                connection.sendall(more)
                sent += len(more)
        except OSError:
            pass  # hung up upon, as wanted
        assert sent < 20_000_000
    server.alive()


def test_large_headers_are_refused_and_larger_ones_served_up_to_there(server):
    for size, wanted in ((60_000, 200), (90_000, 431)):
        with server.raw() as connection:
            line = b"X: " + b"y" * size + b"\r\n"
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + line + b"\r\n")
            status, body = answer(connection)
        assert status == wanted
    assert set(json.loads(body)) == {"error", "do"}


def test_a_large_body_in_pieces_has_nothing_to_do_with_headers(server):
    texts = json.dumps({"texts": ["word " * 2000] * 40}).encode()
    status, told, _ = server.ask("POST", "/v1/predict", body=texts)
    assert status == 200, told


@pytest.mark.parametrize(
    "sent",
    [
        b"FOO / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["method", "length", "tls"],
)
def test_what_is_no_http_is_refused_in_json(server, sent):
    with server.raw() as connection:
        connection.sendall(sent)
        status, body = answer(connection)
    assert status == 400
    assert set(json.loads(body)) == {"error", "do"}
