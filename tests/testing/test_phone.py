"""The test phone, phone to phone: what it says and hears must be true before servers are judged."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import rtpmix
from rtpmix.errors import CallFailed, UsageError
from rtpmix.rtp.rtcp import Goodbye, SenderReport
from rtpmix.testing import (
    Link,
    PhoneState,
    TonePhone,
    VirtualNet,
    decode_g711,
    level_db,
    run,
    tone,
)
from rtpmix.testing.servers import HOST, virtual_server

TONES = (437.0, 1013.0, 1693.0)


def phone(user: str, number: int, **options: object) -> TonePhone:
    return TonePhone(
        user,
        host=f"192.0.2.{number}",
        frequency=TONES[number % 3],
        **options,  # type: ignore[arg-type]
    )


def between(
    script: Callable[[TonePhone, TonePhone], Awaitable[None]],
    net: VirtualNet | None = None,
    **of_bob: object,
) -> tuple[TonePhone, TonePhone]:
    """Run a script of two phones; afterwards both must have nothing left."""
    alice, bob = phone("alice", 0), phone("bob", 1, **of_bob)

    async def main() -> None:
        async with alice, bob:
            await script(alice, bob)
            if alice.state is PhoneState.TALKING:
                alice.bye()
            await asyncio.sleep(64)
            for each in (alice, bob):
                counts = each.snapshot()
                assert counts["calls"] == counts["dialogs"] == counts["timers"] == 0

    run(main(), net or VirtualNet(delay_ms=20))
    return alice, bob


def test_two_phones_hear_each_other_and_not_themselves() -> None:
    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        assert alice.state is bob.state is PhoneState.TALKING
        await asyncio.sleep(2)
        assert alice.hears(*TONES) == {1013.0}
        assert bob.hears(*TONES) == {437.0}
        assert alice.level_db(1013) == pytest.approx(-20, abs=0.2)

    alice, _ = between(script)
    assert alice.progress == [180]


def test_the_same_call_twice_is_the_same_to_the_byte_and_the_nanosecond() -> None:
    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        await asyncio.sleep(5)

    def heard() -> list[object]:
        net = VirtualNet(3, delay_ms=30, jitter_ms=20, loss=0.05, duplicate=0.05, reorder=0.05)
        return [*between(script, net)[0].received]

    assert len(heard()) > 200
    assert heard() == heard()


def test_packets_leave_every_20_ms_with_one_identity() -> None:
    """RFC 3550: one SSRC, sequence +1, timestamp +160; RFC 3551 section 4.1: marker first."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        await asyncio.sleep(3)

    _, bob = between(script)
    first, *rest = bob.received
    assert first.packet.marker
    for n, each in enumerate(rest, 1):
        assert each.at == pytest.approx(first.at + 0.02 * n, abs=1e-9)
        assert each.packet.sequence_number == (first.packet.sequence_number + n) % 65536
        assert each.packet.timestamp == (first.packet.timestamp + 160 * n) % (1 << 32)
        assert (each.packet.ssrc, each.packet.marker) == (first.packet.ssrc, False)


def test_a_law_is_used_where_it_comes_first() -> None:
    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        await asyncio.sleep(1)
        assert bob.received[-1].packet.payload_type == 8
        assert bob.hears(*TONES) == {437.0}

    between(script, codecs=("PCMA",))


def test_a_busy_or_unwilling_phone_refuses() -> None:
    """RFC 3261 section 21.4.24 (486)."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        with pytest.raises(CallFailed) as caught:
            await alice.call(bob.uri)
        assert (caught.value.status, caught.value.target) == (603, bob.uri)
        bob.reject_with = None
        await alice.call(bob.uri)
        carol = phone("carol", 2)
        async with carol:
            with pytest.raises(CallFailed) as caught:
                await carol.call(bob.uri)
            assert caught.value.status == 486
        with pytest.raises(UsageError, match="one line"):
            await alice.call(bob.uri)

    alice, _ = between(script, reject_with=603)
    assert alice.end_cause == "local-bye"


def test_a_scripted_phone_rings_until_it_is_told() -> None:
    async def script(alice: TonePhone, bob: TonePhone) -> None:
        calling = asyncio.create_task(alice.call(bob.uri))
        invitation = await bob.rings()
        assert invitation.from_.uri.user == "alice"  # type: ignore[union-attr]
        await asyncio.sleep(5)
        assert bob.state is PhoneState.RINGING
        assert alice.state is PhoneState.CALLING
        await bob.answer()
        await calling
        assert alice.state is PhoneState.TALKING
        bob.bye()
        assert await alice.ended() == "remote-bye"
        with pytest.raises(UsageError, match="no call"):
            alice.bye()
        with pytest.raises(UsageError, match="not ring"):
            await bob.answer()
        with pytest.raises(UsageError, match="not ring"):
            bob.reject()

    between(script, answer_after=None)


def test_a_caller_gives_up_by_hanging_up_or_after_a_time() -> None:
    """RFC 3261 section 9: CANCEL."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        with pytest.raises(CallFailed) as caught:
            await alice.call(bob.uri, timeout_s=3)
        assert caught.value.status == 408
        await bob.ended()
        assert bob.end_cause == "cancelled"
        calling = asyncio.create_task(alice.call(bob.uri))
        await bob.rings()
        await asyncio.sleep(1)
        alice.bye()
        with pytest.raises(CallFailed) as caught:
            await calling
        assert caught.value.status == 487

    between(script, answer_after=None)


def test_hold_silences_this_side_and_resume_brings_it_back() -> None:
    """RFC 3264 section 8.4."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        await asyncio.sleep(2)
        await alice.hold()
        await asyncio.sleep(2)
        assert bob.hears(*TONES) == set()
        assert alice.hears(*TONES) == set()  # the held side has nowhere to send
        await alice.resume()
        await asyncio.sleep(2)
        assert bob.hears(*TONES) == {437.0}
        assert alice.hears(*TONES) == {1013.0}

    between(script)


def test_digits_arrive_and_are_not_audio() -> None:
    """RFC 4733."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        await alice.press("159*0#D")
        assert bob.digits == "159*0#D"
        await alice.press("7", duration_ms=9000)
        assert bob.digits[-1] == "7"
        assert bob.media.digits[-1].duration == 72000

    between(script)


def test_digits_arrive_through_a_bad_network() -> None:
    """RFC 4733 section 2.6.2, seeded."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        await alice.press("0123456789" * 5)
        await asyncio.sleep(1)
        assert bob.digits == "0123456789" * 5

    between(script, VirtualNet(5, delay_ms=40, jitter_ms=30, loss=0.1, duplicate=0.1, reorder=0.1))


def test_a_phone_is_silent_or_mute_when_told() -> None:
    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        alice.be_silent()
        await asyncio.sleep(2)
        count = len(bob.received)
        assert bob.hears(*TONES) == set()
        alice.stop_sending()
        await asyncio.sleep(2)
        assert len(bob.received) <= count + 1
        alice.be_silent(False)
        alice.stop_sending(False)
        await asyncio.sleep(1.5)
        assert bob.hears(*TONES) == {437.0}

    between(script)


def test_another_tone_and_a_clip_are_spoken(tmp_path: Path) -> None:
    clip = tone(1693, 1.0, level_db=-10)
    soundfile.write(tmp_path / "clip.wav", clip, 8000)
    soundfile.write(tmp_path / "stereo.wav", np.zeros((80, 2), np.int16), 8000)

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        alice.speak_tone(700)
        await asyncio.sleep(1.1)
        assert bob.hears(437, 700, 1693) == {700}
        alice.speak(tmp_path / "clip.wav")
        await asyncio.sleep(1.02)
        assert bob.hears(437, 700, 1693, seconds=0.9) == {1693}
        await asyncio.sleep(1.1)
        assert bob.hears(437, 700, 1693) == set()
        alice.speak(clip, loop=True)
        await asyncio.sleep(5)
        assert bob.hears(437, 700, 1693) == {1693}
        for wrong in ("stereo.wav", "missing.wav"):
            with pytest.raises(UsageError):
                alice.speak(tmp_path / wrong)

    between(script)


def test_what_was_heard_lies_where_its_timestamps_say() -> None:
    """Lost packets are gaps of silence, not a shorter recording."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        alice.speak(tone(437, 1.0, level_db=-6), loop=True)
        await alice.call(bob.uri)
        await asyncio.sleep(10)

    net = VirtualNet(7, delay_ms=20, jitter_ms=15, loss=0.1, duplicate=0.1, reorder=0.1)
    _, bob = between(script, net)
    pcm = bob.heard_pcm()
    packets = sorted({p.packet.sequence_number: p for p in bob.received}.items())
    whole = decode_g711(b"".join(p.packet.payload for _, p in packets))
    assert len(pcm) == 160 * (packets[-1][0] - packets[0][0] + 1)
    assert len(whole) < 0.95 * len(pcm)
    # 90 % of a steady tone in place is a tone 0.9 dB down; out of place it would be noise.
    assert level_db(pcm, 437) == pytest.approx(-6.9, abs=0.4)


def test_reports_are_sent_with_loss_and_a_goodbye_at_the_end() -> None:
    """RFC 3550 sections 6.4 and 6.6."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        net.set_link(Link(loss=0.2, delay_ms=50), source=alice.media.address)
        await asyncio.sleep(16)
        alice.bye()
        await asyncio.sleep(1)

    net = VirtualNet(8, delay_ms=50)
    alice, bob = between(script, net)
    at_alice = [r for r in alice.media.reports if isinstance(r, SenderReport)]
    at_bob = bob.media.reports
    assert len(at_alice) == 3
    assert [block.fraction_lost for r in at_alice for block in r.blocks] == [
        pytest.approx(51, abs=12)
    ] * 3
    assert any(isinstance(report, Goodbye) for report in at_bob)
    sender_reports = [r for r in at_bob if isinstance(r, SenderReport)]
    assert sender_reports[-1].packet_count == pytest.approx(800, abs=2)


def test_calls_over_tcp_work_alike() -> None:
    async def main() -> None:
        alice = phone("alice", 0, transport="TCP")
        bob = phone("bob", 1, transport="TCP")
        async with alice, bob:
            await alice.call(bob.uri)
            await asyncio.sleep(1)
            assert bob.hears(*TONES) == {437.0}
            bob.bye()
            assert await alice.ended() == "remote-bye"

    run(main(), VirtualNet(1, delay_ms=20, jitter_ms=20, loss=0.05))


def test_a_call_survives_a_network_that_loses_a_third_of_everything() -> None:
    """RFC 3261 section 17: retransmissions."""

    async def script(alice: TonePhone, bob: TonePhone) -> None:
        await alice.call(bob.uri)
        await asyncio.sleep(2)
        assert bob.hears(*TONES, threshold_db=-40) == {437.0}
        bob.bye()
        await alice.ended()

    for seed in range(5):
        between(script, VirtualNet(seed, delay_ms=20, loss=0.33))


def test_a_phone_for_ever_keeps_what_it_is_told_to() -> None:
    async def main() -> None:
        alice, bob = phone("alice", 0, keep=100), phone("bob", 1)
        async with alice, bob:
            await alice.call(bob.uri)
            await asyncio.sleep(60)
            assert 100 <= len(alice.received) <= 201
            assert alice.hears(*TONES) == {1013.0}

    run(main(), VirtualNet())


def test_a_phone_must_be_open_and_needs_an_address_to_call() -> None:
    async def main() -> None:
        closed = phone("alice", 0)
        with pytest.raises(UsageError, match="not open"):
            await closed.call("sip:bob@192.0.2.1")
        with pytest.raises(UsageError, match="no call yet"):
            _ = closed.media
        assert closed.received == []
        async with phone("alice", 0) as alice:
            with pytest.raises(UsageError, match="proxy"):
                await alice.register()
            with pytest.raises(UsageError):
                await alice.call("tel:+15550100")
            with pytest.raises(UsageError, match="answered"):
                await alice.hold()

    run(main(), VirtualNet())


async def test_the_same_phone_works_on_real_sockets_and_real_time() -> None:
    """A second of real time on loopback: nothing in a phone depends on virtual time."""
    alice = TonePhone("alice", frequency=437)
    bob = TonePhone("bob", frequency=1013)
    async with asyncio.timeout(20), alice, bob:
        await alice.call(bob.uri)
        await alice.press("12", duration_ms=100)
        assert bob.digits == "12"
        alice.bye()
        assert await bob.ended() == "remote-bye"
    assert bob.received


def test_a_phone_registers_with_digest_and_is_found_by_its_address_of_record() -> None:
    """RFC 3261 section 10, RFC 7616: challenged once, and registered again in half the time."""

    async def main() -> None:
        users = {"alice": "wonderland", "bob": "builder"}
        server = virtual_server(net, users=users, realm="example.com")
        async with server:
            proxy = (HOST, 5060)
            account = {"proxy": proxy, "domain": "example.com"}
            alice = phone("alice", 10, password="wonderland", **account)
            bob = phone("bob", 20, password="builder", **account)
            mallory = phone("alice", 30, password="guess", **account)
            async with alice, bob, mallory:
                with pytest.raises(CallFailed) as caught:
                    await mallory.register()
                assert caught.value.status == 401
                await bob.register(expires=120)
                await asyncio.sleep(600)
                assert server.contacts("bob") == 1

                @server.on_invite
                async def connect(call: rtpmix.IncomingCall) -> None:
                    assert call.identity == "alice"
                    caller = await call.answer()
                    callee = await server.invite(f"sip:{call.target}@example.com")
                    await server.bridge(caller, callee)
                    await caller.closed()

                await alice.call("sip:bob@example.com")
                await asyncio.sleep(2)
                assert alice.hears(*TONES) == {bob.frequency}
                assert bob.hears(*TONES) == {alice.frequency}
                await bob.register(expires=0)
                assert server.contacts("bob") == 0

    net = VirtualNet(delay_ms=10)
    run(main(), net)
