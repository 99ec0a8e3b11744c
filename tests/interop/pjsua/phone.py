"""A PJSUA2 phone for tests, as a program of its own: PJSIP can be started once in a process.

Takes one JSON object a line on standard input, ``{"do": NAME, ...}`` with the arguments of the
method `Phone.NAME`, and prints one a line for each thing that happens, ``{"event": NAME, ...}``.
Calls are numbered from 0 in the order in which they began.  Each speaks a tone, and what each hears
goes to ``heard-NUMBER.wav`` in the working directory while it comes.

Everything but the audio runs in one thread: PJSIP's callbacks come out of `libHandleEvents`.
"""

from __future__ import annotations

import json
import os
import select
import sys
import traceback
from typing import Any

import pjsua2 as pj

# PJSIP prints on standard output before it can be told not to: that becomes standard error.
OUTPUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

CLOCK_HZ = 8000
VOLUME = 8000  # of 32767
TRANSPORTS = {
    "udp": pj.PJSIP_TRANSPORT_UDP,
    "tcp": pj.PJSIP_TRANSPORT_TCP,
    "tls": pj.PJSIP_TRANSPORT_TLS,
}
MEDIA = {
    pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "held here",
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "held there",
}
TIMER = {
    "inactive": pj.PJSUA_SIP_TIMER_INACTIVE,
    "optional": pj.PJSUA_SIP_TIMER_OPTIONAL,
    "required": pj.PJSUA_SIP_TIMER_REQUIRED,
    "always": pj.PJSUA_SIP_TIMER_ALWAYS,
}
RELIABLE = {
    "off": pj.PJSUA_100REL_NOT_USED,
    "optional": pj.PJSUA_100REL_OPTIONAL,
    "mandatory": pj.PJSUA_100REL_MANDATORY,
}


def say(event: str, **facts: Any) -> None:
    """Print one event."""
    OUTPUT.write(json.dumps({"event": event, **facts}) + "\n")
    OUTPUT.flush()


def ok(status: int = 200, headers: dict[str, str] | None = None) -> Any:
    """Return the parameters of an operation on a call."""
    parameters = pj.CallOpParam(True)
    parameters.statusCode = status
    for name, value in (headers or {}).items():
        header = pj.SipHeader()
        header.hName, header.hValue = name, value
        parameters.txOption.headers.append(header)
    return parameters


class Call(pj.Call):  # type: ignore[misc]
    """One call: speaks the phone's tone, and records what it hears."""

    def __init__(self, phone: Phone, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone.account, call_id)
        self.phone = phone
        self.number = len(phone.calls)
        phone.calls.append(self)
        self._recorder: Any = None

    def onCallState(self, prm: Any) -> None:  # noqa: N802 - PJSUA2's name
        """Tell each state."""
        info = self.getInfo()
        say(
            "call",
            call=self.number,
            state=info.stateText,
            status=info.lastStatusCode,
            reason=info.lastReason,
            id=info.callIdString,
            remote=info.remoteUri,
        )

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        """Connect the tone and the recorder; tell who holds."""
        info = self.getInfo()  # owns what it tells: a media taken out of it must not outlive it
        media = info.media[0]
        if media.status == pj.PJSUA_CALL_MEDIA_ACTIVE:
            audio = self.getAudioMedia(0)
            if self._recorder is None:
                self._recorder = pj.AudioMediaRecorder()
                self._recorder.createRecorder(f"heard-{self.number}.wav")
            self.phone.tone.startTransmit(audio)
            audio.startTransmit(self._recorder)
        say("media", call=self.number, state=MEDIA.get(media.status, str(media.status)))

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        """Tell what a NOTIFY said of our REFER."""
        say("transfer", call=self.number, status=prm.statusCode, final=prm.finalNotify)

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        """Follow a REFER."""
        say("referred", call=self.number, to=prm.dstUri)
        prm.newCall = Call(self.phone)

    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802
        """Tell that an INVITE with Replaces names this call."""
        say("replace request", call=self.number)

    def onCallReplaced(self, prm: Any) -> None:  # noqa: N802
        """Take the call that replaces this one."""
        taken = Call(self.phone, prm.newCallId)
        say("replaced", call=self.number, by=taken.number)

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        """Tell a key that the other side pressed."""
        say("digit", call=self.number, digit=prm.digit)

    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802
        """Tell each request in a call when it has its final answer."""
        transaction = prm.e.body.tsxState.tsx
        status, ours = transaction.statusCode, transaction.role == pj.PJSIP_ROLE_UAC
        # A 2xx ends the client transaction of an INVITE at once (RFC 3261 section 17.1.1.2).
        accepted = ours and transaction.method == "INVITE" and status < 300
        last = pj.PJSIP_TSX_STATE_TERMINATED if accepted else pj.PJSIP_TSX_STATE_COMPLETED
        if transaction.state == last:
            say("request", call=self.number, method=transaction.method, status=status, ours=ours)


class Account(pj.Account):  # type: ignore[misc]
    """The phone's one account: answers every call."""

    phone: Phone

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        """Tell how registering went."""
        say("registration", status=prm.code, active=self.getInfo().regIsActive)

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        """Ring, or answer at once."""
        call = Call(self.phone, prm.callId)
        say("incoming", call=call.number)
        if self.phone.answers:
            call.answer(ok(200))

    def onMwiInfo(self, prm: Any) -> None:  # noqa: N802
        """Tell what waits in the mailbox."""
        say("mailbox", body=prm.rdata.wholeMsg.partition("\r\n\r\n")[2])


class Buddy(pj.Buddy):  # type: ignore[misc]
    """Somebody whose presence is watched."""

    def onBuddyState(self) -> None:  # noqa: N802
        """Tell the presence."""
        info = self.getInfo()
        status = info.presStatus
        say(
            "presence",
            uri=info.uri,
            subscription=info.subStateName,
            online=status.status == pj.PJSUA_BUDDY_STATUS_ONLINE,
            note=status.note,
            reason=info.subTermReason,
        )


class Phone:
    """The whole program."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.calls: list[Call] = []
        self.answers = options.get("answers", True)
        self._buddies: list[Buddy] = []
        self._running = True
        self._endpoint = pj.Endpoint()
        self._endpoint.libCreate()
        config = pj.EpConfig()
        config.logConfig.level = config.logConfig.consoleLevel = 0
        config.logConfig.filename = "pjsip.txt"
        config.logConfig.level = 5
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.medConfig.clockRate = CLOCK_HZ
        config.medConfig.noVad = True
        config.medConfig.ecTailLen = 0
        self._endpoint.libInit(config)
        transport = self._open_transport(options)
        self._endpoint.libStart()
        self._endpoint.audDevManager().setNullDev()
        for codec in self._endpoint.codecEnum2():
            wanted = codec.codecId.split("/")[0] in options.get("codecs", ("PCMU", "PCMA"))
            self._endpoint.codecSetPriority(codec.codecId, 128 if wanted else 0)
        self.tone = self._speak(options["frequency"], options.get("volume", VOLUME))
        self.account = self._log_in(options, transport)

    def _open_transport(self, options: dict[str, Any]) -> int:
        config = pj.TransportConfig()
        config.boundAddress = "127.0.0.1"
        if tls := options.get("tls"):
            config.tlsConfig.CaListFile = tls["ca"]
            config.tlsConfig.certFile = tls.get("certificate", "")
            config.tlsConfig.privKeyFile = tls.get("key", "")
            config.tlsConfig.verifyServer = True
            config.tlsConfig.verifyClient = True
            config.tlsConfig.proto = pj.PJ_SSL_SOCK_PROTO_TLS1_2
        number: int = self._endpoint.transportCreate(TRANSPORTS[options["transport"]], config)
        address = self._endpoint.transportGetInfo(number).localAddress
        say("listening", port=int(address.rpartition(":")[2]))
        return number

    def _speak(self, frequency: float, volume: int) -> Any:
        tone = pj.ToneGenerator()
        tone.createToneGenerator(CLOCK_HZ)
        description = pj.ToneDesc()
        description.freq1, description.freq2 = round(frequency), 0
        description.on_msec, description.off_msec = 1000, 0
        description.volume = volume
        tones = pj.ToneDescVector()
        tones.append(description)
        tone.play(tones, True)
        return tone

    def _log_in(self, options: dict[str, Any], transport: int) -> Account:
        config = pj.AccountConfig()
        config.idUri = options["identity"]
        config.sipConfig.transportId = transport
        config.mediaConfig.transportConfig.boundAddress = "127.0.0.1"
        config.mediaConfig.transportConfig.port = 0
        config.callConfig.timerUse = TIMER[options.get("timer", "inactive")]
        config.callConfig.timerSessExpiresSec = options.get("session_expires", 1800)
        config.callConfig.prackUse = RELIABLE[options.get("reliable", "off")]
        config.natConfig.contactRewriteUse = 0
        config.natConfig.sdpNatRewriteUse = 0
        config.mwiConfig.enabled = options.get("mailbox", False)
        if registrar := options.get("registrar"):
            config.regConfig.registrarUri = registrar
            proxy = options.get("proxy") or registrar
            # A proxy that does not know RFC 5626 between: 439 would be the answer to outbound.
            config.natConfig.sipOutboundUse = 0 if proxy != registrar else 1
            config.sipConfig.proxies.append(proxy.replace(";transport", ";lr;transport"))
            login = pj.AuthCredInfo("digest", "*", options["user"], 0, options["password"])
            config.sipConfig.authCreds.append(login)
        account = Account()
        account.phone = self
        account.create(config)
        return account

    # ------------------------------------------------------------------ commands

    def call(self, target: str, headers: dict[str, str] | None = None) -> None:
        """Call somebody."""
        call = Call(self)
        call.makeCall(target, ok(headers=headers))

    def answer(self, call: int, status: int) -> None:
        """Answer an incoming call, provisionally or for good."""
        self.calls[call].answer(ok(status))

    def hang_up(self, call: int) -> None:
        """End a call."""
        self.calls[call].hangup(pj.CallOpParam(True))

    def hold(self, call: int) -> None:
        """Put the other side on hold."""
        self.calls[call].setHold(pj.CallOpParam(True))

    def resume(self, call: int) -> None:
        """Take the other side back."""
        parameters = pj.CallOpParam(True)
        parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
        self.calls[call].reinvite(parameters)

    def reinvite(self, call: int) -> None:
        """Offer once more what is agreed."""
        self.calls[call].reinvite(pj.CallOpParam(True))

    def update(self, call: int) -> None:
        """Offer once more what is agreed, by UPDATE."""
        self.calls[call].update(pj.CallOpParam(True))

    def transfer(self, call: int, target: str) -> None:
        """Blind transfer: REFER."""
        self.calls[call].xfer(target, pj.CallOpParam(True))

    def attended_transfer(self, call: int, other: int) -> None:
        """Attended transfer: REFER of one call to the peer of another, with Replaces."""
        self.calls[call].xferReplaces(self.calls[other], pj.CallOpParam(True))

    def press(self, call: int, keys: str) -> None:
        """Press keys: RFC 4733 events."""
        self.calls[call].dialDtmf(keys)

    def watch(self, target: str) -> None:
        """Subscribe to somebody's presence."""
        buddy = Buddy()
        config = pj.BuddyConfig()
        config.uri, config.subscribe = target, True
        buddy.create(self.account, config)
        self._buddies.append(buddy)

    def unregister(self) -> None:
        """Take the registration back."""
        self.account.setRegistration(False)

    # ------------------------------------------------------------------ the loop

    def run(self) -> None:
        """Serve until standard input ends."""
        os.set_blocking(0, False)
        pending = b""
        while self._running:
            self._endpoint.libHandleEvents(10)
            while select.select([0], [], [], 0)[0]:
                data = os.read(0, 65536)
                if not data:
                    self._running = False
                    break
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    command = json.loads(line)
                    getattr(self, command.pop("do"))(**command)
        self._endpoint.libDestroy()


def main() -> None:
    """Run one phone; the first line of standard input is its options."""
    phone = Phone(json.loads(sys.stdin.buffer.readline()))
    say("ready")
    try:
        phone.run()
    except Exception:
        traceback.print_exc()
        os._exit(1)  # PJSIP's destructors would wait for calls that nobody serves any more
    os._exit(0)


main()
