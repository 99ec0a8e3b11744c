"""`python -m benchmarks NAME --json` prints one JSON object."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import main, names
from benchmarks.dialogs import dialog_kb
from benchmarks.result import Result
from benchmarks.sip_parse import invite, read_as_uas
from rtpmix.rtp.srtp import SUITES


def test_a_benchmark_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sip_parse", "--json", "--runs", "3", "--messages", "20"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["benchmark"] == "sip_parse"
    assert facts["unit"].startswith("us")
    assert len(facts["runs"]) == 3
    assert facts["value"] == sorted(facts["runs"])[1]
    assert facts["ratio"] == pytest.approx(facts["value"] / facts["floor"], rel=0.01)


def test_a_benchmark_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sip_parse", "--runs", "1", "--messages", "5"]) == 0
    assert "us per INVITE" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["result"], ["--json"]])
def test_an_unknown_name_is_a_wrong_command_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "sip_parse" in capsys.readouterr().err


def test_benchmarks_are_found_by_their_run_function() -> None:
    assert {"sip_parse", "peers"} <= set(names())  # a module, and a package
    assert not {"__main__", "result"} & set(names())


def test_the_value_is_the_median_and_the_ratio_is_to_the_floor() -> None:
    result = Result(benchmark="x", unit="us", runs=(3.0, 1.0, 2.0), floor=0.5, details={"n": 1})
    assert result.facts() == {
        "benchmark": "x",
        "value": 2.0,
        "unit": "us",
        "runs": [3.0, 1.0, 2.0],
        "floor": 0.5,
        "ratio": 4.0,
        "n": 1,
    }
    assert "ratio" not in Result(benchmark="x", unit="us", runs=(1.0,)).facts()


def test_the_measured_reading_reads_what_a_uas_needs() -> None:
    """A benchmark of less work than it claims would flatter."""
    data = invite(0xBCD, 0x12)
    assert 1100 <= len(data) <= 1300
    uri, branch, host, from_tag, to_tag, call_id, number, hops, contact, kind, need, body = (
        read_as_uas(data)
    )
    assert str(uri) == "sip:bob@biloxi.example.com;transport=udp"
    assert (branch, host) == ("z9hG4bK74bf9a1b0bcd", "proxy.atlanta.example.com")
    assert (from_tag, to_tag, number, hops) == ("9fxce00bcd", None, 31862, 69)
    assert call_id == "3848276298220000bcd@atlanta.example.com"
    assert str(contact) == "sip:al012@client.atlanta.example.com:5060;transport=udp"
    assert (kind, need) == ("application/sdp", [])
    assert isinstance(body, bytes)
    assert invite(1, 1) != invite(2, 1)
    assert body.startswith(b"v=0")


def test_the_srtp_benchmark_measures_packets_that_pass(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["srtp", "--json", "--runs", "1", "--legs", "3", "--frames", "4"]
    for suite in SUITES:
        assert main([*arguments, "--suite", suite]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["suite"] == suite
        assert facts["value"] > 0


def test_an_idle_dialog_is_small() -> None:
    """The bound of the requirements is 12 kB."""
    allocated, _ = dialog_kb(200)
    assert 0.5 < allocated < 12
