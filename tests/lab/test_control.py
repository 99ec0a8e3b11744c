"""The control socket: what it does, whom it lets in, and what it makes of nonsense."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

import rtpmix
from rtpmix import UsageError
from rtpmix.lab.config import parse
from rtpmix.lab.control import LINE_LIMIT, ControlServer, RefusedError, ask, prepare
from rtpmix.lab.lab import Lab
from tests.lab.test_lab import HEARD, queue_call
from tests.lab.world import World, configuration, in_lab


async def told(world: World, **request: Any) -> dict[str, Any]:
    """Return the answer to one request."""
    control = ControlServer(world.lab, Path("unused"))
    return await control.answer(json.dumps(request).encode())


def test_every_request_does_what_it_says() -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        (call,) = (await told(world, do="calls"))["calls"]
        name = call["call"].removeprefix("bridge-")
        made = await told(
            world, do="supervise", call=name, mode="monitor", **{"as": "sip:coach@rtpmix"}
        )
        supervision = made["supervision"]
        assert made == {"ok": True, "supervision": supervision, "mode": "monitor"}
        changed = await told(world, do="mode", supervision=supervision, mode="barge")
        assert changed == {"ok": True, "mode": "barge"}
        await asyncio.sleep(1)
        assert world.heard("dora", "alice", "coach") == HEARD[rtpmix.Mode.BARGE]
        taken = await told(world, do="takeover", supervision=supervision, fate="listen")
        assert taken == {"ok": True, "mode": "takeover"}
        assert await told(world, do="hand-back", supervision=supervision) == {"ok": True}
        await asyncio.sleep(1)
        assert world.heard("dora", "alice", "coach") == HEARD[rtpmix.Mode.BARGE]
        again = await told(world, do="hand-back", supervision=supervision)
        assert (again["ok"], again["status"]) == (False, 409)
        assert await told(world, do="hangup", call="alice") == {"ok": True}
        assert (await told(world, do="calls"))["calls"] == []

    in_lab(scenario)


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({}, 400, "unknown request"),
        ({"do": "explode"}, 400, "unknown request"),
        ({"do": "supervise", "mode": "shout", "call": "1", "as": "sip:a@b"}, 400, "unknown mode"),
        ({"do": "supervise", "mode": "barge", "as": "sip:a@b"}, 400, "needs 'call'"),
        ({"do": "supervise", "mode": "barge", "call": "1", "as": "x"}, 400, "no call '1'"),
        ({"do": "mode", "supervision": 5, "mode": "barge"}, 400, "needs 'supervision'"),
        ({"do": "mode", "supervision": "5", "mode": "barge"}, 400, "no supervision '5'"),
        ({"do": "hangup", "call": "5"}, 400, "no call '5'"),
    ],
)
def test_a_wrong_request_is_answered_with_the_reason(
    request_: dict[str, Any], status: int, says: str
) -> None:
    async def scenario(world: World) -> None:
        answer = await told(world, **request_)
        assert (answer["ok"], answer["status"]) == (False, status)
        assert says in answer["error"]

    in_lab(scenario)


def test_refusals_of_the_policy_and_of_the_phone_come_back() -> None:
    async def scenario(world: World) -> None:
        await queue_call(world)
        target = {"do": "supervise", "call": "alice", "mode": "monitor"}
        assert (await told(world, **target, **{"as": "sip:bob@rtpmix"}))["status"] == 403
        world["coach"].reject_with = 486
        assert (await told(world, **target, **{"as": "sip:coach@rtpmix"}))["status"] == 486
        assert (await told(world, **target, **{"as": "tel:1"}))["status"] == 400
        assert world.heard("dora", "alice") == {"dora": {"alice"}, "alice": {"dora"}}

    in_lab(scenario)


NONSENSE = (b"\n", b"{", b"[]\n", b"5\n", b"\xff\xfe\n", b"null\n", b"[" * 5000 + b"\n", b'"x"\n')


@pytest.mark.parametrize("line", NONSENSE)
def test_nonsense_is_answered_and_harms_nothing(line: bytes) -> None:
    async def scenario(world: World) -> None:
        answer = await ControlServer(world.lab, Path("unused")).answer(line)
        assert (answer["ok"], answer["status"]) == (False, 400)

    in_lab(scenario)


# ------------------------------------------------------------------- the real socket


async def with_socket(path: Path, work: Any) -> None:
    """Open a lab's control socket in a directory, and do something in a thread meanwhile."""
    config = parse(configuration())
    control = ControlServer(Lab(config, rtpmix.Server(config.server)), path)
    await control.open()
    try:
        await asyncio.get_running_loop().run_in_executor(None, work)
    finally:
        await control.close()


def test_the_socket_and_its_directory_are_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lab.sock"

    def look() -> None:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert ask(path, {"do": "calls"}) == {"ok": True, "calls": []}
        with pytest.raises(RefusedError, match="no call"):
            ask(path, {"do": "hangup", "call": "1"})

    asyncio.run(with_socket(path, look))
    assert not path.exists()
    with pytest.raises(UsageError, match="start one with"):
        ask(path, {"do": "calls"})


def test_a_request_that_is_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lab.sock"

    def shout() -> None:
        with pytest.raises(RefusedError, match="at most 8192 bytes"):
            ask(path, {"do": "x" * 2 * LINE_LIMIT})

    asyncio.run(with_socket(path, shout))


def test_a_second_lab_is_refused_and_a_dead_ones_socket_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "lab.sock"

    def second() -> None:
        with pytest.raises(UsageError, match="another lab is running"):
            asyncio.run(with_socket(path, lambda: None))
        assert ask(path, {"do": "calls"})["ok"]

    asyncio.run(with_socket(path, second))
    path.touch()  # what a killed lab leaves behind
    asyncio.run(with_socket(path, lambda: None))


def test_a_directory_that_is_not_ours_alone_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o700)
    shared.chmod(0o755)
    link = tmp_path / "link"
    (tmp_path / "target").mkdir(mode=0o700)
    os.symlink(tmp_path / "target", link)
    file = tmp_path / "file"
    file.touch()
    for folder in (shared, link):
        with pytest.raises(UsageError, match="mode 0700"):
            prepare(folder / "lab.sock")
    with pytest.raises(UsageError, match="can't make"):
        prepare(file / "lab.sock")
