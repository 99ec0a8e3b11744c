"""What becomes of a supervision when the conversation is transferred, as a table.

A transfer changes who is in a conversation, or takes some of it into another one. A supervision
is anchored to the conversation, to an agent or to a customer; the table says for each anchor and
each thing that can happen whether the supervisor stays, goes along, or is done.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Anchor(enum.Enum):
    """What a supervision belongs to."""

    CONVERSATION = "conversation"  # what the customer experiences as one call
    AGENT = "agent"
    CUSTOMER = "customer"


class Moved(enum.Enum):
    """What a transfer did, seen from the conversation that is supervised."""

    AGENT_REPLACED = "somebody else has the agent's place"
    AGENT_ON_ANOTHER_LEG = "the agent goes on with another telephone"
    CUSTOMER_REPLACED = "somebody else has the customer's place"
    CUSTOMER_ON_ANOTHER_LEG = "the customer goes on with another telephone"
    WITH_CUSTOMER = "the customer goes into another conversation, without the agent"
    WITH_AGENT = "the agent goes into another conversation, without the customer"
    WHOLE = "agent and customer go into another conversation"


class Follow(enum.Enum):
    """What the supervisor does."""

    STAY = "stay"
    MOVE = "move along"
    END = "end"


A, M, F = Anchor, Moved, Follow

FOLLOW: Mapping[tuple[Anchor, Moved], Follow] = {
    (A.CONVERSATION, M.AGENT_REPLACED): F.STAY,
    (A.CONVERSATION, M.AGENT_ON_ANOTHER_LEG): F.STAY,
    (A.CONVERSATION, M.CUSTOMER_REPLACED): F.STAY,
    (A.CONVERSATION, M.CUSTOMER_ON_ANOTHER_LEG): F.STAY,
    (A.CONVERSATION, M.WITH_CUSTOMER): F.MOVE,
    (A.CONVERSATION, M.WITH_AGENT): F.END,  # without its customer a conversation is over
    (A.CONVERSATION, M.WHOLE): F.MOVE,
    (A.AGENT, M.AGENT_REPLACED): F.END,
    (A.AGENT, M.AGENT_ON_ANOTHER_LEG): F.STAY,
    (A.AGENT, M.CUSTOMER_REPLACED): F.STAY,
    (A.AGENT, M.CUSTOMER_ON_ANOTHER_LEG): F.STAY,
    (A.AGENT, M.WITH_CUSTOMER): F.END,
    (A.AGENT, M.WITH_AGENT): F.MOVE,
    (A.AGENT, M.WHOLE): F.MOVE,
    (A.CUSTOMER, M.AGENT_REPLACED): F.STAY,
    (A.CUSTOMER, M.AGENT_ON_ANOTHER_LEG): F.STAY,
    (A.CUSTOMER, M.CUSTOMER_REPLACED): F.END,
    (A.CUSTOMER, M.CUSTOMER_ON_ANOTHER_LEG): F.STAY,
    (A.CUSTOMER, M.WITH_CUSTOMER): F.MOVE,
    (A.CUSTOMER, M.WITH_AGENT): F.END,
    (A.CUSTOMER, M.WHOLE): F.MOVE,
}


def moved(*, agent: bool, customer: bool) -> Moved | None:
    """Return what happened to a conversation of which these go elsewhere; None for nobody."""
    if agent and customer:
        return Moved.WHOLE
    if customer:
        return Moved.WITH_CUSTOMER
    return Moved.WITH_AGENT if agent else None
