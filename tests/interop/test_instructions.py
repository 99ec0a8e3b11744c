"""What a leg's tick costs, counted by valgrind: a change that makes it dearer is seen at once."""

from benchmarks import instructions
from tests.interop.conftest import find_peer

# Turns of the reference loop a leg and tick, `python -m benchmarks instructions`. Who adds what is
# worth its cost puts the new figure here and says why in the commit.
KNOWN = 2.177
MARGIN = 1.10


def test_a_leg_and_tick_cost_no_more_instructions_than_they_did() -> None:
    find_peer("valgrind")
    found = instructions.run([])
    assert found.value <= KNOWN * MARGIN, found.to_table()
    # Much cheaper is good news, but then the bound above holds nothing back any more.
    assert found.value >= KNOWN / MARGIN / MARGIN, f"lower KNOWN: {found.to_table()}"
