"""What each number means, for each kind of caller."""

from __future__ import annotations

import pytest

from rtpmix import Mode
from rtpmix.lab.config import LabConfig, parse
from rtpmix.lab.dialplan import (
    Action,
    CallUser,
    EnterQueue,
    EnterRoom,
    Login,
    Refuse,
    Supervise,
    plan,
)
from tests.lab.world import configuration

CONFIG: LabConfig = parse(configuration())
COACH, ALICE = CONFIG.users["coach"], CONFIG.users["alice"]


@pytest.mark.parametrize(
    ("number", "action"),
    [
        ("alice", CallUser("alice")),
        ("101", CallUser("alice")),
        ("support", EnterQueue("support")),
        ("600", EnterQueue("support")),
        ("conf-red", EnterRoom("red")),
        ("conf-", Refuse(404, "Not Found")),
        ("conf-a/b", Refuse(404, "Not Found")),
        ("", Refuse(404, "Not Found")),
        ("999", Refuse(404, "Not Found")),
    ],
)
@pytest.mark.parametrize("caller", [None, ALICE, COACH])
def test_ordinary_numbers_mean_the_same_for_everybody(
    number: str, action: Action, caller: object
) -> None:
    assert plan(number, caller, CONFIG) == action  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "mode"),
    [
        ("*80", Mode.MONITOR),
        ("*81", Mode.WHISPER),
        ("*82", Mode.BARGE),
        ("*83", Mode.TAKEOVER),
    ],
)
def test_a_feature_code_is_for_supervisors(code: str, mode: Mode) -> None:
    assert plan(code + "101", COACH, CONFIG) == Supervise("alice", mode)
    assert plan(code + "alice", COACH, CONFIG) == Supervise("alice", mode)
    assert plan(code + "999", COACH, CONFIG) == Refuse(404, "No Such Extension")
    assert plan(code, COACH, CONFIG) == Refuse(404, "No Such Extension")
    assert plan(code + "201", COACH, CONFIG) == Refuse(403, "Not Your Own Call")


@pytest.mark.parametrize("extension", ["101", "999", "", "201"])
def test_without_the_role_the_answer_does_not_depend_on_the_extension(extension: str) -> None:
    """Nobody learns which extensions exist by dialling feature codes."""
    assert plan("*80" + extension, ALICE, CONFIG) == Refuse(403, "Supervisors Only")
    assert plan("*80" + extension, None, CONFIG) == Login()


def test_without_users_nobody_can_log_in() -> None:
    empty = parse({"server": {}})
    assert plan("*80101", None, empty) == Refuse(403, "Supervisors Only")


def test_a_code_that_is_none_is_an_ordinary_number() -> None:
    assert plan("*84101", COACH, CONFIG) == Refuse(404, "Not Found")
