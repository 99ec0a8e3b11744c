"""All transactions of a user agent: their indexes, their timers, and what they send."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable

from .client_transaction import (
    ClientTransaction,
    InviteClientTransaction,
    NonInviteClientTransaction,
)
from .flow import Address, Flow, Outgoing
from .matching import client_key, merge_key, server_key
from .message import Request, Response
from .routing import reopened_flow, response_flow
from .server_transaction import (
    InviteServerTransaction,
    NonInviteServerTransaction,
    ServerTransaction,
)
from .timers import Timers
from .transaction import NOBODY, Input, Transaction, TransactionUser

_MACHINES = (
    InviteClientTransaction,
    NonInviteClientTransaction,
    InviteServerTransaction,
    NonInviteServerTransaction,
)


class TransactionLayer:
    """The transaction layer of RFC 3261 section 17, without a transport under it.

    Parameters
    ----------
    timers
        Shared with the users of the transactions.
    """

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.outbox: deque[Outgoing] = deque()
        self._clients: dict[Hashable, ClientTransaction] = {}
        self._servers: dict[Hashable, ServerTransaction] = {}
        self._merged: dict[Hashable, ServerTransaction] = {}
        # Who hears of a transport error. Datagrams that we answer are not in here: a lost one is
        # repeated by its client. Dictionaries, not sets: what fails, fails in order.
        self._by_remote: dict[tuple[str, Address], dict[Transaction, None]] = {}
        self._counts = {machine.MACHINE: 0 for machine in _MACHINES}

    def __len__(self) -> int:
        return len(self._clients) + len(self._servers)

    def snapshot(self) -> dict[str, int]:
        """Count the live transactions, machine by machine."""
        return dict(self._counts)

    # ------------------------------------------------------------------ for the transactions

    def transmit(self, flow: Flow, data: bytes) -> None:
        """Hand one message to the transport."""
        self.outbox.append(Outgoing(flow, data))

    def forget(self, transaction: Transaction) -> None:
        """Take a transaction that has ended out of every index."""
        self._counts[transaction.MACHINE] -= 1
        if isinstance(transaction, ServerTransaction):
            del self._servers[transaction.key]
            if transaction.merge_key is not None:
                del self._merged[transaction.merge_key]
        else:
            del self._clients[transaction.key]
        self._unwatch(transaction)

    # ------------------------------------------------------------------ for the core

    def send_request(
        self,
        request: Request,
        branch: str,
        flow: Flow,
        user: TransactionUser,
        now: float,
        make_ack: Callable[[Response], bytes] | None = None,
    ) -> ClientTransaction:
        """Start a client transaction; ``make_ack`` is for an INVITE and only there."""
        key = (branch, request.method)
        transaction: InviteClientTransaction | NonInviteClientTransaction
        if make_ack is not None:
            transaction = InviteClientTransaction(
                self, flow, user, key, request=request.to_bytes(), make_ack=make_ack
            )
        else:
            transaction = NonInviteClientTransaction(
                self, flow, user, key, request=request.to_bytes()
            )
        self._clients[key] = transaction
        self._counts[transaction.MACHINE] += 1
        self._watch(transaction)
        transaction.start(now)
        return transaction

    def receive_response(self, response: Response, flow: Flow, now: float) -> bool:
        """Give a response to its transaction; False if there is none (RFC 6026 section 8.9)."""
        transaction = self._clients.get(client_key(response))
        if transaction is None:
            return False
        if flow.connection and flow.remote == transaction.flow.remote:
            transaction.flow = flow  # the connection that was opened for us: stay on it
        transaction.receive(response.status, response, now)
        return True

    def find_server(self, request: Request, method: str | None = None) -> ServerTransaction | None:
        """Return the transaction that a request repeats, acknowledges or (by method) cancels."""
        return self._servers.get(server_key(request, method))

    def has_server(self, key: Hashable) -> bool:
        """Tell whether there is a server transaction of that `server_key`."""
        return key in self._servers

    def is_merged(self, request: Request) -> bool:
        """Tell whether a request without a To tag is in progress by another way (8.2.2.2)."""
        return merge_key(request) in self._merged

    def accept_request(self, request: Request, flow: Flow) -> ServerTransaction:
        """Make a server transaction for a request that matched none."""
        machine = (
            InviteServerTransaction if request.method == "INVITE" else NonInviteServerTransaction
        )
        key = server_key(request)
        transaction = machine(self, response_flow(request.via, flow), NOBODY, key)
        transaction.via_port = request.via.port
        self._servers[key] = transaction
        self._counts[transaction.MACHINE] += 1
        if request.to.tag is None and not self.is_merged(request):
            transaction.merge_key = merge_key(request)
            self._merged[transaction.merge_key] = transaction
        if flow.reliable:
            self._watch(transaction)
        return transaction

    def transport_failed(self, flow: Flow, now: float) -> None:
        """Tell every transaction whose peer is there that the transport has failed."""
        for transaction in self._watching(flow):
            transaction.handle(Input.TRANSPORT_ERROR, now)

    def connection_closed(self, flow: Flow, now: float) -> None:
        """Fail the requests of a lost connection, and give its responses another way.

        References
        ----------
        RFC 3261 sections 18.2.2 and 18.4
        """
        for transaction in self._watching(flow):
            if transaction.flow.connection not in (0, flow.connection):
                continue
            if isinstance(transaction, ServerTransaction):
                self._unwatch(transaction)
                transaction.flow = reopened_flow(transaction.via_port, transaction.flow)
                self._watch(transaction)
            else:
                transaction.flow = transaction.flow._replace(connection=0)
                transaction.handle(Input.TRANSPORT_ERROR, now)

    def _watching(self, flow: Flow) -> list[Transaction]:
        return list(self._by_remote.get((flow.transport, flow.remote), ()))

    def _watch(self, transaction: Transaction) -> None:
        place = (transaction.flow.transport, transaction.flow.remote)
        self._by_remote.setdefault(place, {})[transaction] = None

    def _unwatch(self, transaction: Transaction) -> None:
        place = (transaction.flow.transport, transaction.flow.remote)
        watching = self._by_remote.get(place)
        if watching is not None:
            watching.pop(transaction, None)
            if not watching:
                del self._by_remote[place]
