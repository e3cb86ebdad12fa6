"""What is refused before any endpoint sees it: foreign names and origins, no key, bodies, crowds; and unsafe settings."""

from __future__ import annotations

import base64

import pytest

from speechgen.core.errors import UserError
from speechgen.server.application import check
from speechgen.server.guard import shows_key
from speechgen.server.settings import ServerSettings
from tests.server.conftest import ADDRESS, served


def test_another_host_is_answered_only_if_it_was_named(home):
    with served(hosts=("voice.example",)) as client:
        for host in ("127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1", "voice.example"):
            assert client.get("/health", headers={"host": host}).status_code == 200, host
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", "[::2]"):
            refused = client.get("/health", headers={"host": host})
            assert refused.status_code == 400 and refused.json()["error"]["code"] == "unknown_host", host


def test_web_pages_of_others_may_not_ask(client):
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9", "http://["):
        refused = client.post("/v1/audio/voices", headers={"origin": origin}, data={"name": "evil"})
        assert refused.status_code == 403 and refused.json()["error"]["type"] == "permission_error", origin
        assert "access-control-allow-origin" not in refused.headers
    assert client.get("/health", headers={"origin": ADDRESS}).status_code == 200


def test_cors_lets_in_whom_it_names(home):
    page = "https://page.example"
    with served(origins=(page,), api_key="secret") as client:
        asked = {"origin": page, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        before = client.options("/v1/audio/speech", headers=asked)
        assert before.status_code == 200 and before.headers["access-control-allow-origin"] == page
        answer = client.get("/v1/models", headers={"origin": page, "authorization": "Bearer secret"})
        assert answer.headers["access-control-allow-origin"] == page
        assert client.get("/v1/models", headers={"origin": "https://other.example"}).status_code == 403


def test_a_key_is_asked_for_everywhere_but_for_health(home):
    with served(api_key="secret") as client:
        for path in ("/v1/models", "/v1/audio/voices", "/metrics", "/openapi.json", "/nowhere"):
            refused = client.get(path)
            assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
            assert refused.json()["error"]["type"] == "authentication_error"
        assert client.post("/v1/audio/speech", json={"input": "Hello."}).status_code == 401
        assert client.get("/health").status_code == 200
        assert client.get("/v1/models", headers={"authorization": "Bearer secret"}).status_code == 200


def test_only_the_key_is_the_key():
    basic = base64.b64encode(b"anyone:secret").decode()
    assert all(shows_key(shown, "secret") for shown in ("Bearer secret", "bearer  secret", f"Basic {basic}"))
    wrong = ("", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "secret", "Digest secret", "Basic secret", "Basic !")
    assert not any(
        shows_key(shown, "secret") for shown in (*wrong, f"Basic {base64.b64encode(b'secret').decode()}", "Bearer s\xe9")
    )


def test_a_server_for_others_needs_a_key(home):
    with pytest.raises(UserError, match="SPEECHGEN_API_KEY"):
        check(ServerSettings(host="0.0.0.0", pipeline="tiny"))


def test_large_bodies_are_refused_from_their_header_and_while_they_come(home):
    def gigabyte():
        block = bytes(2**20)
        for _ in range(1024):
            sent.append(len(block))
            yield block

    sent: list[int] = []
    with served() as client:
        told = client.post("/v1/audio/speech", content=b"{}", headers={"content-length": str(2**30)})
        assert told.status_code == 413 and "larger than the 1 MiB" in told.json()["error"]["message"]
        form = {"content-type": "multipart/form-data; boundary=x"}
        told = client.post("/v1/audio/voices", content=b"", headers={**form, "content-length": "9" * 400})
        assert told.status_code == 413 and "larger than the 25 MiB" in told.json()["error"]["message"]
        untold = client.post("/v1/audio/speech", content=bytes(2**20 + 1), headers={"transfer-encoding": "chunked"})
        assert untold.status_code in (400, 413)
        for length in ("-1", "abc", "1e3", "²"):
            wrong = client.post("/v1/audio/speech", content=b"{}", headers={"content-length": length.encode("latin-1")})
            assert wrong.status_code == 400, length


def test_compressed_bodies_are_refused(client):
    refused = client.post("/v1/audio/speech", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert refused.status_code == 415 and "compressed" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["/", "/v1/audio/speech/", "/../../etc/passwd", "/v1/audio/%2e%2e/voices", "/app", "/docs", "//evil"]
)
def test_other_paths_are_refused_in_the_same_envelope(client, path):
    refused = client.get(path, follow_redirects=False)
    assert refused.status_code in (404, 405) and refused.json()["error"]["message"]
    assert refused.headers["x-content-type-options"] == "nosniff"


def test_other_methods_are_refused(client):
    refused = client.put("/v1/models")
    assert refused.status_code == 405 and refused.json()["error"]["message"] == "PUT is not possible here"
