"""The command line: one line and exit status 2 for wrong use; the demo lab from start to Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtpmix.lab.cli import main
from rtpmix.recorder import Verdict, list_captures, load_key, verify
from tests.lab.test_lab import queue_call
from tests.lab.world import World, in_lab


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return exit status, output and errors of one command."""
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = int(exit_.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("explode",),
        ("supervise", "1"),
        ("supervise", "1", "--as", "sip:a@b", "--mode", "shout"),
        ("mode", "1", "shout"),
        ("mode", "1"),
        ("recording",),
        ("recording", "explode", "x"),
        ("recording", "verify"),
        ("lab", "--config", "no-such-file.toml"),
        ("lab", "--listen", "5060"),
        ("lab", "--config", "x", "--listen", "udp:127.0.0.1:5060"),
        ("calls", "--socket", "no-such-directory/lab.sock"),
        ("hangup", "1", "--socket", "no-such-directory/lab.sock"),
    ],
)
def test_wrong_use_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.startswith("rtpmix")
    assert err.count("\n") == 1


def test_help_and_version_are_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version")[1].startswith("rtpmix 0.")
    for arguments in (("--help",), ("recording", "export", "--help"), ("lab", "--help")):
        assert run(capsys, *arguments)[0] == 0


def test_a_taken_port_and_a_second_lab_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        listen = f"udp:127.0.0.1:{taken.getsockname()[1]}"
        control = str(tmp_path / "run" / "lab.sock")
        status, _, err = run(capsys, "lab", "--listen", listen, "--socket", control)
    assert status == 2
    assert err.count("\n") == 1
    assert listen.rpartition(":")[2] in err


# --------------------------------------------------------------------- recordings


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one sealed capture of a queue call, and its key."""
    folder = tmp_path_factory.mktemp("recorded")

    async def scenario(world: World) -> None:
        await queue_call(world)

    in_lab(scenario, folder)
    return folder


def test_recordings_are_listed_described_and_verified(
    capsys: pytest.CaptureFixture[str], recorded: Path
) -> None:
    (capture,) = list_captures(recorded / "calls")
    key = ("--key", str(recorded / "key"))
    status, out, _ = run(capsys, "recording", "list", str(recorded / "calls"))
    assert (status, out.count("\n")) == (0, 1)
    assert "sealed" in out
    status, out, _ = run(capsys, "recording", "info", str(capture.path))
    assert status == 0
    assert "agent" in out
    status, out, _ = run(capsys, "recording", "verify", str(capture.path), *key)
    assert status == 0
    assert out.startswith("SEALED")


def test_a_recording_is_exported_as_wav(
    capsys: pytest.CaptureFixture[str], recorded: Path, tmp_path: Path
) -> None:
    (capture,) = list_captures(recorded / "calls")
    common = ("recording", "export", str(capture.path), "--key", str(recorded / "key"))
    stereo = tmp_path / "both.wav"
    assert run(capsys, *common, "--stereo", "--out", str(stereo))[0] == 0
    assert stereo.stat().st_size > 1000
    status, out, _ = run(capsys, *common, "--out", str(tmp_path / "tracks"))
    assert status == 0
    assert {Path(line).suffix for line in out.split()} == {".wav"}
    status, _, err = run(capsys, *common, "--track", "none", "--out", str(tmp_path / "t"))
    assert (status, err.count("\n")) == (2, 1)
    status, _, err = run(capsys, *common, "--stereo", "--out", str(tmp_path))
    assert (status, err.count("\n")) == (1, 1)


def test_what_is_no_capture_or_has_no_key_is_said_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for arguments in (
        ("verify", str(tmp_path)),
        ("info", str(tmp_path)),
        ("recover", str(tmp_path)),
        ("list", str(tmp_path / "nowhere")),
        ("verify", str(tmp_path), "--key", str(tmp_path / "nokey")),
    ):
        status, _, err = run(capsys, "recording", *arguments)
        assert (status, err.count("\n")) == (1, 1), arguments
    status, _, err = run(capsys, "recording", "export", str(tmp_path))
    assert (status, err.count("\n")) == (2, 1)
    assert "--key" in err


def test_an_edited_capture_fails_verification(
    capsys: pytest.CaptureFixture[str], recorded: Path, tmp_path: Path
) -> None:
    (capture,) = list_captures(recorded / "calls")
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in capture.path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (audio,) = copy.glob("*.srtp.pcap")
    data = bytearray(audio.read_bytes())
    data[len(data) // 2] ^= 1
    audio.write_bytes(data)
    status, out, _ = run(capsys, "recording", "verify", str(copy), "--key", str(recorded / "key"))
    assert status == 1
    assert out.startswith("TAMPERED")


# ------------------------------------------------------------------ the demo, for real


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo lab in a process of its own, with a home of its own."""
    command = [sys.executable, "-m", "rtpmix.lab.cli", "lab", "--demo"]
    command += ["--listen", "udp:127.0.0.1:0", "--socket", str(tmp_path / "run" / "lab.sock")]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    yield process
    process.kill()
    process.communicate()


def test_the_demo_is_supervised_from_outside_and_ends_sealed_with_ctrl_c(
    capsys: pytest.CaptureFixture[str], demo: subprocess.Popen[str], tmp_path: Path
) -> None:
    control = ("--socket", str(tmp_path / "run" / "lab.sock"))
    assert demo.stdout is not None
    for line in demo.stdout:
        if "(agent)" in line:
            break
    else:
        pytest.fail("the demo ended before a customer met an agent")
    status, out, _ = run(capsys, "calls", "--json", *control)
    assert status == 0
    call = next(call["call"] for call in json.loads(out) if len(call["parties"]) == 2)
    supervised = ("supervise", call, "--as", "sip:coach@rtpmix", "--mode", "whisper")
    status, out, _ = run(capsys, *supervised, *control)
    assert status == 0, out
    supervision = out.partition(":")[0]
    status, out, _ = run(capsys, "mode", supervision, "barge", *control)
    assert (status, out) == (0, f"{supervision}: barge\n")
    status, out, _ = run(capsys, "calls", *control)
    assert "barge" in out
    demo.send_signal(signal.SIGINT)
    out, _ = demo.communicate(timeout=30)
    assert demo.returncode == 0
    assert "Traceback" not in out
    captures = list_captures(tmp_path / "recordings")
    assert captures
    key = load_key(tmp_path / ".config" / "rtpmix" / "recording.key")
    assert {verify(capture.path, key).verdict for capture in captures} == {Verdict.SEALED}
