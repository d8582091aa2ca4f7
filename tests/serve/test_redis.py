"""Two servers that share their sessions in a real Redis."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import unrolled as ur

pytestmark = pytest.mark.filterwarnings("ignore::unrolled.errors.EngineWarning")


def test_two_servers_share_sessions(start, folders, redis_server):
    one, two = (start(folders[0], "--sessions", redis_server) for _ in range(2))
    id = one.open()
    assert one.step(id, "The")["symbols"] == 3
    assert two.step(id, " fox")["symbols"] == 7
    # Both at once: whichever comes second must begin again from what the first left.
    with ThreadPoolExecutor(8) as pool:
        positions = list(pool.map(lambda i: (one, two)[i % 2].step(id, "a")["symbols"], range(40)))
    assert sorted(positions) == list(range(8, 48))
    model = ur.LanguageModel.load(folders[0])
    hidden, _ = model.hidden(model.vocabulary.encode(["The fox" + "a" * 40 + "Z"]))
    seen = two.step(id, "Z", see=True)["predictions"][0]["hidden"]
    assert seen == pytest.approx(hidden[0, -1].tolist(), abs=1e-4)
    one.kill()
    assert two.get(f"/v1/sessions/{id}")["symbols"] == 48
    assert two.ask("DELETE", f"/v1/sessions/{id}")[0] == 204
    assert two.stop() == 0


def test_while_redis_is_gone_clients_are_told(start, folders, redis_server):
    import redis

    server = start(folders[0], "--sessions", redis_server)
    id = server.open()
    redis.Redis.from_url(redis_server).shutdown(nosave=True)
    time.sleep(0.2)
    answer = server.post(f"/v1/sessions/{id}/step", {"text": "a"}, 503)
    assert "try again" in answer["do"]
    server.alive()
    assert len(server.post("/v1/predict", {"texts": ["a"]})["predictions"]) == 1
