"""The load report: a short run against the tiny pipeline, and that it notices what is wrong."""

from __future__ import annotations

import json

import pytest

from speechgen.cli.main import run
from speechgen.core.errors import UserError
from speechgen.server import load
from speechgen.server.asking import KINDS, Load
from speechgen.server.load import measure


def test_a_run_is_counted_by_kind_and_status(server, capsys):
    asked = ["bench", "serve", "--url", server.address, "--clients", "3", "--requests", "24", "--minutes", "1"]
    assert run([*asked, "--pipeline", "tiny", "--most-growth", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["passed"] and report["requests"] == 24 == sum(report["statuses"].values())
    assert set(report["statuses"]) <= {"200", "400", "429"} and report["memory_mb"] > 50
    assert 0 < report["calm"]["first_byte"] < 5 and 0.3 < report["calm"]["two_at_once"] < 3
    figures = report["kinds"]["stream pcm"]
    assert 0 < figures["first_byte_p50"] <= figures["whole_p50"] <= figures["whole_p95"]


def test_the_table_tells_what_was_wrong(server, capsys):
    asked = ["bench", "serve", "--url", server.address, "--clients", "1", "--requests", "2", "--minutes", "1"]
    assert run([*asked, "--pipeline", "nowhere", "--only", "whole wav"]) == 1
    assert "wrong: whole wav: 404 (2 times)" in capsys.readouterr().out


def test_a_crowd_beyond_the_queue_is_told_to_come_again(server):
    report = measure(Load(server.address, clients=12, seconds=2.0, requests=40, model="tiny"))
    assert report.passed, report.faults
    assert report.statuses["429"] > 0


def test_memory_is_compared_behind_the_warm_up():
    flat = [(n, 100.0 if n < 10 else 200.0) for n in range(100)]
    assert load._growth(flat) == (200.0, 0.0)
    assert load._growth([(n, 100.0 + n) for n in range(101)])[1] > 0.3
    assert load._growth([]) == (0.0, 0.0)


def test_where_nothing_answers_it_says_so():
    with pytest.raises(UserError, match="nothing answers at http://127.0.0.1:9"):
        measure(Load("http://127.0.0.1:9"))
    with pytest.raises(UserError, match="no address of a server"):
        measure(Load("ftp://x"))
    assert {kind.status for kind in KINDS.values()} == {"200", "400"}
