"""One connection: packets in, replies and file descriptors out, and an end that leaves nothing behind.

The loop is one task: receive, handle, reply; so pipelined legacy requests wait in the socket, in order, and
the kernel is the queue. Extended requests run beside it in tasks of their own. A second task waits for the
peer's hang-up, which cancels everything at once.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import msgspec
import trio

from wherry.errors import (
    LimitError,
    OperationCancelledError,
    WherryError,
)
from wherry.protocol import fdpass, framing, messages
from wherry.protocol.messages import Reply
from wherry.protocol.session import End, Refusal, Session
from wherry.registry.shared import SharedRegistries
from wherry.server.bugs import told
from wherry.server.extended import ExtendedFace
from wherry.server.legacy import LegacyFace
from wherry.server.state import ConnectionState
from wherry.streams.background import background

if TYPE_CHECKING:
    from wherry.protocol.messages import Event
    from wherry.protocol.requests import Request
    from wherry.server.answers import Answer
    from wherry.server.settings import ProxySettings
    from wherry.system import System

SEND_TIMEOUT = 30.0


async def serve_connection(sock: socket.socket, system: System, settings: ProxySettings) -> None:
    """Serve one client until it hangs up, half-closes or sends Shutdown. Takes over and closes `sock`."""
    with sock:
        sock.setblocking(False)
        # All images of a client share connections, pings and tokens: they have the same owner and rights.
        async with SharedRegistries(system) as registries:
            await _serve(sock, msgspec.structs.replace(system, registries=registries), settings)


async def _serve(sock: socket.socket, system: System, settings: ProxySettings) -> None:
    with ExitStack() as stack:
        stack.callback(fdpass.discard, sock)
        async with background() as lifetime, trio.open_nursery() as transfers:
            state = ConnectionState(transfers, system, settings)
            stack.callback(state.pipes.close)
            connection = Connection(sock, state, settings)
            lifetime.start_soon(_cancel_on_hangup, sock, lifetime.cancel_scope)
            lifetime.start_soon(state.pipes.watch)
            try:
                await connection.run()
            except BaseException:
                transfers.cancel_scope.cancel()
                raise
            finally:
                state.no_more_requests()
            if connection.shut_down:
                transfers.cancel_scope.cancel()


async def _cancel_on_hangup(sock: socket.socket, scope: trio.CancelScope) -> None:
    """Wait until the peer has closed its end entirely; a half-close (SHUT_WR) is not that."""
    with select.epoll() as hangup:
        hangup.register(sock.fileno(), 0)
        await trio.lowlevel.wait_readable(hangup.fileno())
    scope.cancel()


class Connection:
    """The protocol's state over one socket."""

    def __init__(self, sock: socket.socket, state: ConnectionState, settings: ProxySettings) -> None:
        self._sock = sock
        self._state = state
        self._settings = settings
        self._legacy = LegacyFace(state)
        self._extended = ExtendedFace(state, self._tell, self._cancel)
        self._stream = sock.type == socket.SOCK_STREAM
        self._lines = framing.LineDecoder()
        self._sending = trio.Lock()
        self._session = Session(settings.limits.inflight)
        self._scopes: dict[int, trio.CancelScope] = {}
        self.shut_down = False

    async def run(self) -> None:
        """Answer requests until there are no more."""
        async with trio.open_nursery() as calls:
            while (packet := await self._receive()) is not None:
                if not await self._take(packet, calls):
                    self.shut_down = True
                    calls.cancel_scope.cancel()
                    return

    async def _take(self, packet: fdpass.Packet, calls: trio.Nursery) -> bool:
        """Handle one packet; False when it is Shutdown."""
        decision = self._session.take(packet.data, truncated=packet.truncated)
        if isinstance(decision, End):
            return False
        if isinstance(decision, Refusal):
            await self._fail(decision.error, decision.number)
            return True
        self._debug(f"Executing method {decision.request.method}")
        if decision.number is None:
            await self._answer(decision.request, None, trio.CancelScope())
            return True
        scope = trio.CancelScope()
        if decision.request.timeout_ms is not None:
            scope.deadline = trio.current_time() + decision.request.timeout_ms / 1000
        self._scopes[decision.number] = scope
        if decision.request.method in ("Hello", "Cancel"):
            # In order: what follows may rely on Hello, and Cancel, which no limit counts, can't pile up.
            await self._answer(decision.request, decision.number, scope)
        else:
            calls.start_soon(self._answer, decision.request, decision.number, scope)
        return True

    def _cancel(self, number: int) -> bool:
        scope = self._scopes.get(number)
        if scope is None:
            return False
        scope.cancel()
        return True

    async def _answer(self, request: Request, number: int | None, scope: trio.CancelScope) -> None:
        error: WherryError | None = None
        answer: Answer | None = None
        try:
            with scope:
                answer = await self._call(request, number)
        except WherryError as caught:
            error = caught
        except Exception as bug:
            error = told(self._settings.log, request.method, bug)
        if number is not None:
            del self._scopes[number]
            self._session.answered(number)
        if answer is not None:
            await self._reply(answer, number)
        else:
            await self._fail(error or _cut_short(scope, request), number)

    async def _call(self, request: Request, number: int | None) -> Answer:
        if request.method in messages.LEGACY_NAMES:
            if number is not None:
                self._legacy.initialized = True
            return await self._legacy.call(request.method, request.args)
        answer = await self._extended.call(request.method, request.args, number or 0)
        if request.method == "Hello":
            self._session.greeted()
        return answer

    # Receiving and sending

    async def _receive(self) -> fdpass.Packet | None:
        while True:
            if self._stream:
                try:
                    line = self._lines.next()
                except LimitError as error:
                    await self._fail(LimitError(f"invalid request: {error}"), None)
                    return None
                if line is not None:
                    return fdpass.Packet(line)
            try:
                packet = fdpass.receive(self._sock, framing.REQUEST_LIMIT, take_fds=False)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
                continue
            except ConnectionError:
                return None
            if self._stream:
                if not packet.data:
                    return None
                self._lines.feed(packet.data)
            elif packet.data:
                return packet
            elif fdpass.at_end(self._sock):
                return None
            else:
                return packet

    async def _reply(self, answer: Answer, number: int | None) -> None:
        reply = Reply(
            value=answer.value,
            pipeid=answer.pipe,
            id=msgspec.UNSET if number is None else number,
            fds=len(answer.fds) if self._stream and answer.fds else msgspec.UNSET,
        )
        try:
            try:
                data = framing.encode_reply(reply)
            except LimitError as error:
                await self._fail(error, number)
                return
            self._debug(
                f"Sending reply: err=<nil> value={answer.value} pipeid={answer.pipe} fds={len(answer.fds)}"
            )
            await self._send(data, answer.fds)
        finally:
            for fd in answer.fds:
                os.close(fd)

    async def _fail(self, error: WherryError, number: int | None) -> None:
        reply = framing.error_reply(error)
        if number is not None:
            cancelled = isinstance(error, OperationCancelledError)
            reply = msgspec.structs.replace(
                reply,
                id=number,
                detail=framing.error_detail(error),
                error_code="cancelled" if cancelled else reply.error_code,
            )
        self._debug(f"Sending reply: err={error} value=<nil> pipeid=0")
        await self._send(framing.encode_reply(reply), ())

    async def _tell(self, event: Event) -> None:
        data = framing.encode_event(event)
        if event.event != "progress":
            await self._send(data, ())
        elif not self._sending.locked() and not self._stream:
            try:
                fdpass.send(self._sock, data)
            except OSError:
                return  # Progress is what may be lost: the socket is full, or its reader gone.
        else:
            await self._send(data, ())

    async def _send(self, data: bytes, fds: tuple[int, ...]) -> None:
        """Send one message whole. A peer that does not read for SEND_TIMEOUT seconds loses the connection."""
        async with self._sending:
            left = memoryview(data + b"\n" if self._stream else data)
            with trio.move_on_after(SEND_TIMEOUT) as patience:
                while left:
                    try:
                        sent = fdpass.send(self._sock, left, fds)
                    except BlockingIOError:
                        await trio.lowlevel.wait_writable(self._sock)
                        continue
                    except OSError:
                        break  # The peer is gone; the hang-up task ends the connection.
                    left, fds = left[sent:], ()
            if patience.cancelled_caught:
                self._sock.shutdown(socket.SHUT_RDWR)

    def _debug(self, text: str) -> None:
        self._settings.log("debug", text)


def _cut_short(scope: trio.CancelScope, request: Request) -> WherryError:
    if request.timeout_ms is not None and trio.current_time() >= scope.deadline:
        return OperationCancelledError(f"{request.method}: {request.timeout_ms} ms are over")
    return OperationCancelledError(f"{request.method} was cancelled")
