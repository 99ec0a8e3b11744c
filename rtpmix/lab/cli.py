"""The ``rtpmix`` command. Wrong use is one line and exit status 2, a refusal one line and 1."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from rtpmix import Fate, Mode, RtpmixError, UsageError, __version__

from . import config, control, recordings, run
from .table import CallView, printable, render

MODES = [mode.value for mode in Mode]
SUPERVISION = "as `rtpmix supervise` and `rtpmix calls` name it"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with status 2."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit status."""
    options = parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except BrokenPipeError:
        # Whoever read our output, `head` for one, has seen enough. What is still buffered must not
        # fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UsageError as error:
        print(f"rtpmix: {printable(str(error))}", file=sys.stderr)
        return 2
    except (RtpmixError, OSError) as error:
        print(f"rtpmix: {printable(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> Parser:
    """Return the parser of the whole command line."""
    top = Parser(prog="rtpmix", description="a SIP lab server with supervision and recording")
    top.add_argument("--version", action="version", version=f"rtpmix {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    _add_lab(commands)
    _add_control(commands)
    _add_recording(commands)
    return top


Commands = argparse._SubParsersAction  # the one name that argparse has for it


def _add_lab(commands: Commands[Parser]) -> None:
    lab = commands.add_parser("lab", help="run the lab server")
    lab.add_argument("--config", type=Path, metavar="FILE", help="TOML; see examples/lab.toml")
    lab.add_argument("--demo", action="store_true", help="with phones that call each other")
    lab.add_argument(
        "--listen", action="append", metavar="udp:ADDRESS:PORT", help="without --config; repeatable"
    )
    _add_socket(lab)
    lab.set_defaults(command=_lab)


def _add_control(commands: Commands[Parser]) -> None:
    calls = commands.add_parser("calls", help="list the calls of the running lab")
    calls.add_argument("--json", action="store_true", help="as JSON")
    calls.set_defaults(command=_calls)
    supervise = commands.add_parser("supervise", help="call a supervisor into a call")
    supervise.add_argument("call", metavar="CALL", help="as `rtpmix calls` names it")
    supervise.add_argument(
        "--as", dest="supervisor", required=True, metavar="sip:USER@HOST", help="who is called"
    )
    supervise.add_argument("--mode", choices=MODES, default="monitor", help="monitor unless given")
    supervise.set_defaults(command=_supervise)
    mode = commands.add_parser("mode", help="change a supervision's mode")
    mode.add_argument("supervision", metavar="SUPERVISION", help=SUPERVISION)
    mode.add_argument("mode", metavar="MODE", choices=MODES, help=", ".join(MODES))
    mode.set_defaults(command=_mode)
    takeover = commands.add_parser("takeover", help="take the call over from its agent")
    takeover.add_argument("supervision", metavar="SUPERVISION", help=SUPERVISION)
    takeover.add_argument(
        "--fate",
        choices=[fate.value for fate in Fate],
        default="leave",
        help="of the agent: leave unless given",
    )
    takeover.add_argument(
        "--overlap", type=float, default=0.0, metavar="SECONDS", help="both talk for so long"
    )
    takeover.set_defaults(command=_takeover)
    hand_back = commands.add_parser("hand-back", help="give a call back that was taken over")
    hand_back.add_argument("supervision", metavar="SUPERVISION", help=SUPERVISION)
    hand_back.set_defaults(command=_hand_back)
    hang_up = commands.add_parser("hangup", help="end a call")
    hang_up.add_argument("call", metavar="CALL", help="as `rtpmix calls` names it")
    hang_up.set_defaults(command=_hang_up)
    for command in (calls, supervise, mode, takeover, hand_back, hang_up):
        _add_socket(command)


def _add_recording(commands: Commands[Parser]) -> None:
    recording = commands.add_parser("recording", help="look at, check and export recordings")
    actions = recording.add_subparsers(required=True, metavar="ACTION", parser_class=Parser)
    texts: dict[str, tuple[str, Callable[[argparse.Namespace], int]]] = {
        "list": ("list the captures in a directory", recordings.list_),
        "info": ("what a capture says of itself; takes no key", recordings.info_),
        "verify": ("sealed, unsealed, truncated or tampered", recordings.verify_),
        "recover": ("seal what a crash left", recordings.recover_),
        "export": ("write WAV files", recordings.export_),
    }
    for name, (text, command) in texts.items():
        action = actions.add_parser(name, help=text)
        if name == "list":
            action.add_argument(
                "path", type=Path, metavar="PATH", nargs="?", default=Path("recordings")
            )
        else:
            action.add_argument("path", type=Path, metavar="PATH")
        action.add_argument("--key", type=Path, metavar="FILE", help="the key file")
        if name == "verify":
            action.add_argument(
                "--replay", action="store_true", help="mix the .in tracks again and compare"
            )
        if name == "export":
            action.add_argument("--out", type=Path, metavar="PATH", help="directory, or WAV file")
            action.add_argument("--stereo", action="store_true", help="agent left, customer right")
            action.add_argument("--track", action="append", metavar="NAME", help="repeatable")
            action.add_argument(
                "--coaching", action="store_true", help="with what only the agent heard"
            )
        action.set_defaults(command=command)


def _add_socket(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--socket", type=Path, default=control.default_path(), metavar="PATH", help="control socket"
    )


# ------------------------------------------------------------------------- the commands


def _lab(options: argparse.Namespace) -> int:
    if options.config is not None:
        if options.listen:
            raise UsageError("--listen and --config exclude each other: use server.sip_listen")
        settings = config.load(options.config)
    else:
        listen = tuple(options.listen) if options.listen else None
        settings = config.demo(lambda: secrets.token_urlsafe(9), sip_listen=listen)
        print("users have passwords of this run alone (name your own with --config):")
        for user in settings.users.values():
            print(f"  {user.name}: {user.password}")
    asyncio.run(run.run(settings, control=options.socket, demo=options.demo))
    return 0


def _calls(options: argparse.Namespace) -> int:
    answer = control.ask(options.socket, {"do": "calls"})
    if options.json:
        print(json.dumps(answer["calls"], indent=1))
        return 0
    views = [CallView.from_json(entry) for entry in answer["calls"]]
    print("\n".join(render(views, width=200)))
    for view in views:
        for party in view.parties:
            if party.supervision is not None:
                print(f"{printable(party.name)} in {view.call}: {party.supervision}")
    return 0


def _supervise(options: argparse.Namespace) -> int:
    request = {"do": "supervise", "call": options.call, "as": options.supervisor}
    answer = control.ask(options.socket, request | {"mode": options.mode})
    print(f"{answer['supervision']}: {answer['mode']}")
    return 0


def _mode(options: argparse.Namespace) -> int:
    request = {"do": "mode", "supervision": options.supervision, "mode": options.mode}
    print(f"{options.supervision}: {control.ask(options.socket, request)['mode']}")
    return 0


def _takeover(options: argparse.Namespace) -> int:
    request = {"do": "takeover", "supervision": options.supervision, "fate": options.fate}
    answer = control.ask(options.socket, request | {"overlap_s": options.overlap})
    print(f"{options.supervision}: {answer['mode']}")
    return 0


def _hand_back(options: argparse.Namespace) -> int:
    control.ask(options.socket, {"do": "hand-back", "supervision": options.supervision})
    print(f"{options.supervision}: handed back")
    return 0


def _hang_up(options: argparse.Namespace) -> int:
    control.ask(options.socket, {"do": "hangup", "call": options.call})
    print(f"{options.call}: hung up")
    return 0


if __name__ == "__main__":
    sys.exit(main())
