"""A real server in a process of its own, on loopback, and a plain client."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

import unrolled as ur

LETTERS = "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ.,\n"


class Server:
    """`unrolled serve` and what it said."""

    def __init__(self, folder, *arguments, environment=None):
        command = [sys.executable, "-m", "unrolled", "serve", "--port", "0", *map(str, arguments)]
        package = str(Path(ur.__file__).parents[1])
        variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": package, **(environment or {})}
        self.log = folder / f"log-{time.monotonic_ns()}.txt"
        with self.log.open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder, env=variables
            )
        line = self.process.stdout.readline()
        if not line.startswith("serving on http://"):
            self.kill()
            pytest.fail(f"the server did not start: {self.log.read_text()}")
        self.port = int(line.split()[2].rpartition(":")[2])
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = None

    def ask(self, method, path, data=None, *, body=None, headers=None):
        """(status, JSON or text, headers) of one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if data is not None:
            body = json.dumps(data).encode()
        headers = dict(headers or {})
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        found = {name.lower(): value for name, value in answer.getheaders()}
        if "json" in found.get("content-type", ""):
            content = json.loads(content)
        return answer.status, content, found

    def post(self, path, data=None, status=200):
        got, content, _ = self.ask("POST", path, data)
        assert got == status, content
        return content

    def get(self, path, status=200):
        got, content, _ = self.ask("GET", path)
        assert got == status, content
        return content

    def open(self, **fields):
        return self.post("/v1/sessions", fields, 201)["id"]

    def step(self, id, text, **fields):
        return self.post(f"/v1/sessions/{id}/step", {"text": text, **fields})

    @contextmanager
    def raw(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            yield connection

    def metric(self, name):
        for line in self.get("/metrics").decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        raise AssertionError(name)

    def alive(self):
        assert self.process.poll() is None
        assert self.get("/health")["status"] == "ok"

    def kill(self):
        self.process.kill()
        self.process.wait(30)
        self.process.stdout.close()

    def stop(self):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(40)
        self.process.stdout.close()
        return status


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Small random models: two of language, a classifier, a tagger."""
    place = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    ur.LanguageModel(ur.Vocabulary(LETTERS), cell="gru", hidden_size=12).save(place / "gru")
    ur.LanguageModel(ur.Vocabulary("ab한글 \n"), cell="lstm", hidden_size=6, num_layers=2).save(
        place / "lstm"
    )
    vocabulary = ur.Vocabulary(LETTERS, unknown="�")
    ur.Classifier(vocabulary, ["sad", "happy", "angry"], hidden_size=8).save(place / "moods")
    words = ur.Vocabulary(["the", "fox", "�"], unknown="�")
    ur.Tagger(words, vocabulary, ["NOUN", "DET", "VERB"], hidden_size=8).save(place / "tags")
    return [place / name for name in ("gru", "lstm", "moods", "tags")]


@pytest.fixture(scope="session")
def gru(folders):
    """The first of the models."""
    return ur.LanguageModel.load(folders[0])


@pytest.fixture
def start(tmp_path):
    """Starts servers that end with the test."""
    servers = []

    def begin(*arguments, **options):
        servers.append(Server(tmp_path, *arguments, **options))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture(scope="session")
def server(folders, tmp_path_factory):
    """One server of all the models for the tests that do it no harm; it must end well."""
    place = tmp_path_factory.mktemp("server")
    running = Server(place, *folders, "--most", "20000", "--seconds", "20")
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text(), running.log.read_text()


@pytest.fixture
def redis_server(tmp_path):
    """The address of a Redis of the test's own; skipped where Redis or its client is not installed."""
    redis = pytest.importorskip("redis")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        client = redis.Redis(port=port)
        for _ in range(100):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        client.close()
        yield f"redis://127.0.0.1:{port}/0"
        running.terminate()
