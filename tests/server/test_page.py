"""`serve --app`: the page beside the endpoints, behind the same guard."""

from __future__ import annotations

import pytest

from tests.server.conftest import served

pytest.importorskip("gradio")


def test_the_page_is_served_beside_the_endpoints(home):
    with served(page=True) as client:
        front = client.get("/", follow_redirects=False)
        assert front.status_code == 307 and front.headers["location"] == "/app/"
        assert "gradio" in client.get("/app/").text
        assert client.get("/v1/models").json()["object"] == "list"
        assert client.get("/app/", headers={"host": "evil.example"}).status_code == 400
        missing = client.get("/v1/nothing")
        assert missing.status_code == 404 and missing.json()["error"]["message"]


def test_with_a_key_browsers_are_asked_for_it(home):
    with served(page=True, api_key="secret") as client:
        refused = client.get("/app/")
        assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Basic"
        assert client.get("/app/", auth=("anyone", "secret")).status_code == 200
