"""python -m unrolled.serve.load: what a server does under load, measured from this machine's loopback.

It makes two small random models, starts `unrolled serve` on a free port, and measures with clients that
keep their connection: as fast as the answers come (closed), and at a steady pace whatever the answers
do (a stated rate). What the server's process spends is read from /proc, so it runs on Linux alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from uvloop import new_event_loop

from ..models import Classifier, LanguageModel
from ..text import Vocabulary

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,;:!?'-\n"
CLIENTS = 64


@dataclass
class Load:
    """What some clients saw: seconds of each answer, and the answers that were not good."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    elapsed: float = 0.0
    cpu: float = 0.0
    """Seconds of a core that the server spent."""

    def at(self, quantile: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(quantile * len(ordered)))]

    def row(self, what: str, each: int = 1) -> str:
        """A line of the table; each: how many of what is counted are in a request."""
        rate = each * len(self.seconds) / self.elapsed
        cpu = 1e6 * self.cpu / (each * len(self.seconds))
        waited = f"{self.at(0.5):.2f} | {self.at(0.99):.2f}"
        return f"| {what} | {rate:,.0f} | {waited} | {cpu:.0f} | {self.failed} |"


class Client(asyncio.Protocol):
    """One connection: sends a request, and the next when it is answered or when its turn comes."""

    def __init__(self, request: bytes, load: Load, pace: float, end: float) -> None:
        self._request, self._load, self._pace, self._end = request, load, pace, end
        self._got = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Begins; paced clients begin at different moments."""
        self._transport, self._due = transport, time.perf_counter() + self._pace * (id(self) % 997) / 997
        self._next()

    def data_received(self, data: bytes) -> None:
        """Counts an answer when it is there whole."""
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) < int(size or 0):
            return
        self._load.seconds.append(time.perf_counter() - self._began)
        self._load.failed += not head.startswith(b"HTTP/1.1 20")
        self._got = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that ends before its time is a failure."""
        if not self.done.done():
            self._load.failed += 1
            self.done.set_result(None)

    def _next(self) -> None:
        now = time.perf_counter()
        if now >= self._end:
            self.done.set_result(None)
            self._transport.close()
        elif self._pace:
            # Late answers do not make the clients slower: a turn that was missed is taken at once, and
            # its answer counts as asked for when its turn was.
            self._due += self._pace
            if self._due > now:
                asyncio.get_running_loop().call_later(self._due - now, self._send)
            else:
                self._send(self._due)
        else:
            self._send()

    def _send(self, began: float = 0.0) -> None:
        # A timer that rings late is not the server's fault: without `began` the clock starts here.
        self._began = began or time.perf_counter()
        self._transport.write(self._request)


class Server:
    """A server of its own process."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "unrolled", "serve", "--port", "0", *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        line = (self._process.stdout or sys.stdin).readline()
        if "serving on" not in line:
            raise SystemExit("the server did not start")
        self.port = int(line.split()[2].rpartition(":")[2])

    def memory(self) -> float:
        """Resident megabytes (Linux)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu(self) -> float:
        """Seconds of a core that it has spent (Linux)."""
        user, system = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Ends it as a service manager would."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def request(self, method: str, path: str, data: Any) -> bytes:
        """The bytes of a request."""
        body = json.dumps(data).encode()
        return (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        ).encode() + body

    async def ask(self, method: str, path: str, data: Any) -> Any:
        """One answer, from a connection of its own."""
        [answer] = await self.ask_all([self.request(method, path, data)])
        return answer

    async def ask_all(self, requests: list[bytes]) -> list[Any]:
        """The answers of several requests on one connection, one after the other."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        answers = []
        for request in requests:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            answers.append(json.loads(await reader.readexactly(size)))
        writer.close()
        await writer.wait_closed()
        return answers

    async def load(self, requests: list[bytes], seconds: float, rate: float = 0.0) -> Load:
        """Each request again and again from a client of its own; rate: of all together, 0: closed."""
        load, begin, spent = Load(), time.perf_counter(), self.cpu()
        pace = len(requests) / rate if rate else 0.0
        loop, clients = asyncio.get_running_loop(), []
        for request in requests:

            def client(request: bytes = request) -> Client:
                return Client(request, load, pace, begin + seconds)

            clients.append((await loop.create_connection(client, "127.0.0.1", self.port))[1])
        await asyncio.gather(*(client.done for client in clients))
        load.elapsed, load.cpu = time.perf_counter() - begin, self.cpu() - spent
        return load

    async def sessions(self, count: int) -> list[bytes]:
        """Opens sessions; the requests that step them by one letter."""
        opened = await self.ask_all([self.request("POST", "/v1/sessions", {})] * count)
        return [
            self.request("POST", f"/v1/sessions/{answer['id']}/step", {"text": LETTERS[i % 26]})
            for i, answer in enumerate(opened)
        ]


async def measure(server: Server, seconds: float, soak: float, many: int) -> list[str]:
    """The lines of the table."""
    lines = ["| what | a second | p50 ms | p99 ms | server's µs each | failed |", "| --- " * 6 + "|"]
    steps = await server.sessions(CLIENTS)
    # Before anything that takes memory and gives it back, which would hide what the sessions take.
    before = server.memory()
    await server.ask_all(await server.sessions(many))
    after = server.memory()
    await server.load(steps, min(1.0, seconds))
    closed = await server.load(steps, seconds)
    lines.append(closed.row(f"steps, {CLIENTS} clients, one symbol each, closed"))
    fastest = len(closed.seconds) / closed.elapsed
    for rate in (640.0, 2000.0, 5000.0):
        paced = await server.load(steps, seconds, rate)
        lines.append(paced.row(f"steps, {CLIENTS} clients, {rate:,.0f} a second"))
    for texts in (1, 16):
        data = {"texts": ["the quick brown fox jumps over the dog"] * texts, "model": "classifier"}
        predict = [server.request("POST", "/v1/predict", data)] * 16
        load = await server.load(predict, seconds)
        lines.append(load.row(f"classifications, 38 letters, 16 clients, {texts} a request", texts))
    lines += ["", f"{many:,} more sessions, each stepped: {after - before:.1f} MB more"]
    lines.append(f"resident memory then: {after:.0f} MB, the model, torch and Python among it")
    if soak:
        before = server.memory()
        load = await server.load(steps, soak, 0.8 * fastest)
        grown = server.memory() - before
        lines.append(f"soak of {soak:g} s at 80 % of the fastest rate: {grown:+.1f} MB")
        lines += ["", *lines[:2], load.row(f"soak, {0.8 * fastest:,.0f} a second")]
    return lines


@contextmanager
def _models() -> Iterator[list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        place = Path(folder)
        LanguageModel(Vocabulary(LETTERS), cell="gru", hidden_size=128).save(place / "language")
        classifier = Classifier(Vocabulary(LETTERS), ["sad", "happy", "angry"], hidden_size=64)
        classifier.save(place / "classifier")
        yield [
            *(str(place / name) for name in ("language", "classifier")),
            *("--sessions", f"sqlite:///{place / 'sessions.db'}", "--most", "20000"),
        ]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="scripts/load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds at 80 %% of the fastest rate")
    parser.add_argument("--sessions", type=int, default=10_000, help="to open and keep")
    options = parser.parse_args()
    if not Path("/proc/self/stat").exists():
        parser.error("it reads what the server spends from /proc, which only Linux has")
    if not (0 < options.seconds <= 60 and 0 <= options.soak <= 3600 and 0 < options.sessions <= 20_000):
        parser.error("at most 60 seconds, a soak of 3600, 20000 sessions")
    with _models() as arguments:
        server = Server(*arguments)
        try:
            print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads of torch")
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                work = measure(server, options.seconds, options.soak, options.sessions)
                print("\n".join(runner.run(work)))
        finally:
            server.stop()


if __name__ == "__main__":
    main()
