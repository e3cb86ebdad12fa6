"""The page's server, asked without a browser."""

from __future__ import annotations

import httpx
import pytest

pytest.importorskip("gradio", reason="the page needs the extra app")

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "/proc/self/environ", "~/.ssh/id_rsa"])
@pytest.mark.parametrize("route", ["gradio_api/file=", "gradio_api/stream/", "live/"])
def test_no_file_of_the_machine_is_served(address: str, route: str, path: str):
    answer = httpx.get(f"{address}{route}{path}", timeout=60)
    assert 400 <= answer.status_code < 500


def test_the_page_fetches_nothing_from_elsewhere_and_tells_nobody(address: str):
    answer = httpx.get(address, timeout=60)
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "fonts.googleapis.com" not in answer.text and "fonts.gstatic.com" not in answer.text
    config = httpx.get(f"{address}config", timeout=60).json()
    assert config["analytics_enabled"] is False


def test_another_name_of_the_machine_is_refused(address: str):
    assert httpx.get(address, headers={"host": "evil.example"}, timeout=60).status_code == 400


def test_too_large_an_upload_is_refused(address: str):
    content = {"files": ("voice.wav", b"0" * (26 * 2**20), "audio/wav")}
    assert httpx.post(f"{address}gradio_api/upload", files=content, timeout=120).status_code == 413


def test_a_file_named_by_an_address_is_refused(address: str):
    content = {"data": [{"path": "http://127.0.0.1:1/a.wav", "meta": {"_type": "gradio.FileData"}}], "fn_index": 0}
    assert httpx.post(f"{address}gradio_api/queue/join", json=content, timeout=60).status_code == 400
