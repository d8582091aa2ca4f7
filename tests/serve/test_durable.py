"""What was acknowledged survives, however the server ends."""

import http.client
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

import unrolled as ur
from unrolled.cli import main
from unrolled.serve.reader import Reader
from unrolled.serve.sessions import Keeping, Session, open_store

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.EngineWarning")


def typist(server, id, read, stop):
    """Steps a session letter by letter until the server is gone; notes what was acknowledged."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        while not stop.is_set():
            letter = "abcdefg"[len(read) % 7]
            connection.request("POST", f"/v1/sessions/{id}/step", body=json.dumps({"text": letter}))
            answer = json.loads(connection.getresponse().read())
            read.append(letter)
            assert answer["symbols"] == len(read)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def typed_until_killed(server, sessions, seconds):
    stop = threading.Event()
    threads = [threading.Thread(target=typist, args=(server, *s, stop)) for s in sessions.items()]
    before = sum(map(len, sessions.values()))
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    deadline = time.monotonic() + 30
    while sum(map(len, sessions.values())) == before and time.monotonic() < deadline:
        time.sleep(0.05)  # a machine that others use
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()
    assert sum(map(len, sessions.values())) > before


def kept(read, symbols):
    """One step may have been kept whose answer did not arrive any more, and no other."""
    assert len(read) <= symbols <= len(read) + 1
    read += "abcdefg"[len(read) % 7] * (symbols - len(read))


def test_no_acknowledged_symbol_is_lost_by_sigkill_under_load(start, folders, tmp_path):
    arguments = (folders[0], "--sessions", "sqlite:///kept.db")
    server = start(*arguments)
    sessions = {server.open(): [] for _ in range(16)}
    typed_until_killed(server, sessions, 0.5)
    server = start(*arguments)
    for id, read in sessions.items():
        kept(read, server.get(f"/v1/sessions/{id}")["symbols"])
    typed_until_killed(server, sessions, 0.9)
    store = open_store(f"sqlite:///{tmp_path / 'kept.db'}", Keeping())
    reader = Reader("gru", ur.LanguageModel.load(folders[0]))
    for (id, read), session in zip(sessions.items(), store.get(list(sessions)), strict=True):
        kept(read, session.symbols)
        # However it was cut into steps and batches, and on both sides of a kill: the same bits.
        [whole] = reader.read([b""], [reader.encode("".join(read))], [False]).states
        assert session == Session(reader.fingerprint, len(read), whole), id
    store.close()


def test_sigterm_lets_what_is_in_progress_end(start, folders, tmp_path, monkeypatch, capsys):
    server = start(folders[0])
    id = server.open()
    server.step(id, "abc")
    monkeypatch.chdir(tmp_path)
    assert "in use by another server" in refused(capsys, monkeypatch, folders[0], "--port", "0")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/v1/generate", body=json.dumps({"length": 3000}))
    answer = connection.getresponse()
    assert answer.read(10)
    server.process.send_signal(signal.SIGTERM)
    rest = answer.read()
    connection.close()
    assert b"\n\nevent: end\ndata: " in rest
    assert rest.endswith(b"}\n\n")
    assert server.stop() == 0
    again = start(folders[0], folders[1])
    assert again.get(f"/v1/sessions/{id}")["symbols"] == 3
    # A state is of use to the model that made it alone.
    assert again.post(f"/v1/sessions/{id}/step", {"text": "a", "model": "lstm"}, 404)["do"]
    again.process.send_signal(signal.SIGINT)
    assert again.stop() == 0


def refused(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["unrolled", "serve", *map(str, arguments)])
    with pytest.raises(SystemExit) as exited:
        main()
    _, errors = capsys.readouterr()
    assert exited.value.code == 2, errors
    assert errors.count("\n") == 1
    return errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "a token is required"),
        (["--sessions", "mysql://x"], "wanted sqlite:///FILE"),
        (["--sessions", "sqlite:///text.txt"], "cannot open text.txt"),
        (["--sessions", "sqlite:///other.db"], "something else"),
        (["--sessions", "redis://127.0.0.1:1/0"], "cannot reach Redis"),
        (["--token-file", "nothing"], "cannot read the token"),
        (["--idle", "0"], "wanted both above 0"),
        (["--host", "no.such.host.invalid", "--token-file", "text.txt"], "cannot listen"),
    ],
    ids=lambda value: value[0] + value[1] if isinstance(value, list) else "",
)
def test_wrong_options_are_refused(arguments, says, folders, tmp_path, monkeypatch, capsys):
    pytest.importorskip("redis")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNROLLED_TOKEN", raising=False)
    (tmp_path / "text.txt").write_text("not a database, but a text that is long enough " * 9)
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    assert says in refused(capsys, monkeypatch, folders[0], *arguments, "--port", "0")
    assert (tmp_path / "text.txt").read_text().startswith("not a database")


def test_a_folder_that_is_no_model_and_a_port_in_use(server, folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert "is not a folder" in refused(capsys, monkeypatch, "nowhere")
    shutil.copytree(folders[0], tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text('{"format": 1, "task": "fortune"}')
    assert "'fortune'" in refused(capsys, monkeypatch, "model")
    assert "cannot listen" in refused(capsys, monkeypatch, folders[0], "--port", server.port)


def test_importing_unrolled_imports_no_server_and_without_the_extra_it_says_what_to_install():
    code = (
        "import sys, unrolled.cli; print([m for m in ('starlette', 'uvicorn') if m in sys.modules]);"
        "sys.modules['uvicorn'] = None; sys.argv = ['unrolled', 'serve', 'x']; unrolled.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == "[]\n"
    assert "pip install 'unrolled[serve]'" in done.stderr


@pytest.fixture(params=["memory:", "sqlite", "redis"])
def place(request, tmp_path):
    if request.param == "redis":
        return request.getfixturevalue("redis_server")
    return f"sqlite:///{tmp_path / 'a.db'}" if request.param == "sqlite" else "memory:"


def session(symbols, state=b"\x00\xff" * 8):
    return Session("0123456789abcdef", symbols, state)


def test_every_store_keeps_its_promise(place):
    store = open_store(place, Keeping(most=3, idle=60))
    store.create([("a", session(0)), ("b", session(0)), ("c", session(0))])
    assert store.get(["a", "nothing", "c"]) == [session(0), None, session(0)]
    assert store.put([("a", session(0), session(2)), ("gone", session(0), session(1))]) == [True, False]
    assert store.put([("a", session(0), session(1))]) == [False]  # it has been read on from since
    assert store.get(["a"]) == [session(2)]
    store.create([("d", session(0))])  # b was idle longest
    store.sweep()
    assert store.get(["a", "b", "c", "d"]) == [session(2), None, session(0), session(0)]
    assert (store.count(), store.evicted) == (3, 1)
    assert store.delete(["a", "b"]) == [True, False]
    assert store.count() == 2
    store.close()


def test_every_store_forgets_the_idle(place):
    store = open_store(place, Keeping(most=10, idle=0.5))
    store.create([("a", session(0)), ("b", session(0))])
    time.sleep(0.3)
    assert store.put([("a", session(0), session(1))]) == [True]
    time.sleep(0.3)
    assert store.get(["a", "b"]) == [session(1), None]
    store.sweep()
    assert (store.count(), store.expired) == (1, 1)
    store.close()


def test_the_log_is_moved_while_changes_go_on_and_begins_anew(tmp_path):
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}", Keeping())
    store.create([(str(i), session(0)) for i in range(50)])
    ended, sizes = threading.Event(), []

    def settle():
        while not ended.is_set():
            store.settle()

    for turn in range(3):
        # The first hundred changes all lie in the log. Of the others `settle` moves what it can meanwhile,
        # and has ended, as a server's has, when `sweep` moves the rest.
        beside = threading.Thread(target=settle)
        if turn:
            beside.start()
        for n in range(100 * turn + 1, 100 * turn + 101):
            changes = [(str(i), session(n - 1), session(n, bytes(16 * i))) for i in range(50)]
            assert store.put(changes) == [True] * 50
        if turn:
            ended.set()
            beside.join()
            ended.clear()
        store.settle()
        store.sweep()
        sizes.append((tmp_path / "a.db-wal").stat().st_size)
    assert sizes[2] < 1.5 * sizes[0]
    store.close()
    store.settle()  # of a closed one: nothing
    store = open_store(f"sqlite:///{tmp_path / 'a.db'}", Keeping())
    assert store.get(["7"]) == [session(300, bytes(112))]
    store.close()


@pytest.mark.parametrize("change", ["DROP TABLE session", None])
def test_a_damaged_file_is_one_sentence_and_is_let_go(tmp_path, change):
    file = tmp_path / "a.db"
    store = open_store(f"sqlite:///{file}", Keeping())
    store.create([(str(i), session(i, bytes(1000))) for i in range(50)])
    store.close()
    if change is None:
        content = file.read_bytes()
        file.write_bytes(content[:2048] + b"\xff" * (len(content) - 2048))
    else:
        with closing(sqlite3.connect(file)) as database:
            database.execute(change)
    for _ in range(2):  # the lock is let go
        with pytest.raises(ur.Error, match=r"cannot open .*a\.db for sessions"):
            open_store(f"sqlite:///{file}", Keeping())


def test_the_file_is_read_back_in_order(tmp_path):
    place = f"sqlite:///{tmp_path / 'a.db'}"
    store = open_store(place, Keeping(most=3))
    store.create([("a", session(0)), ("b", session(0)), ("c", session(0))])
    store.put([("a", session(0), session(1))])
    store.close()
    store = open_store(place, Keeping(most=3))
    store.create([("d", session(0))])
    assert store.get(["a", "b"]) == [session(1), None]
    store.close()
    assert (tmp_path / "a.db").stat().st_mode & 0o077 == 0
    assert open_store(place, Keeping(most=1)).evicted == 2
