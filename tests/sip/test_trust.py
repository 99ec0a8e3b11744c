"""Who belongs to the trust domain."""

from __future__ import annotations

import pytest

from rtpmix.errors import UsageError
from rtpmix.sip.trust import TrustDomain, identity_key


def test_a_domain_knows_networks_names_and_trunks() -> None:
    """RFC 3324 section 2.3: its members are configured."""
    domain = TrustDomain(("192.0.2.0/28", "2001:db8::/32", "tls:SBC.example.net", "trunk:main"))
    assert domain
    assert domain.has_address("192.0.2.15")
    assert not domain.has_address("192.0.2.16")
    assert domain.has_address("2001:db8::1%eth0")
    assert domain.has_address("::ffff:192.0.2.1")  # the same host, seen by an IPv6 socket
    assert domain.has_name(("other.example", "sbc.example.net"))
    assert not domain.has_name(())
    assert domain.trunks == {"main"}


def test_nobody_is_trusted_without_a_word_and_nonsense_is_no_address() -> None:
    domain = TrustDomain(())
    assert not domain
    assert not domain.has_address("192.0.2.1")
    assert not domain.has_name(("a",))
    assert not TrustDomain(("192.0.2.0/24",)).has_address("pbx.example.net")


@pytest.mark.parametrize("entry", ["", "trunk:", "tls:", "tls:a b", "example.net", "192.0.2.1/24"])
def test_an_entry_that_names_nobody_is_refused(entry: str) -> None:
    with pytest.raises(UsageError):
        TrustDomain((entry,))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("SIP:Alice@EXAMPLE.com;transport=tls", "sip:Alice@example.com"),
        ("sips:Alice@example.com:5061", "sips:Alice@example.com"),
        ("Gate.Example.COM", "gate.example.com"),
        ("sip:", ""),
    ],
)
def test_case_counts_in_the_user_part_alone(text: str, key: str) -> None:
    """RFC 3261 section 19.1.4."""
    assert identity_key(text) == key
