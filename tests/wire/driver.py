"""Plays a scenario against an image proxy and writes down what came back.

The server is any command that takes skopeo's arguments: ``[*command, *before, "experimental-image-proxy",
*after]``. It gets one end of a SEQPACKET socketpair, a working directory with the fixture images and an
environment that holds nothing of the host's. What differs between runs is replaced by a placeholder on the
way back, and put in on the way out: ``{CWD}``, ``{REGISTRY}``, ``{FAKE}``, ``{REFUSED}``, and the pipe ids,
which are file descriptors in skopeo and a counter in wherry.
"""

from __future__ import annotations

import array
import fcntl
import hashlib
import json
import os
import re
import socket
import subprocess
import termios
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.wire.steps import (
    Call,
    CloseFd,
    Data,
    End,
    Finish,
    Raw,
    Receive,
    Request,
    Scenario,
    Send,
    Step,
    Wait,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Event = dict[str, Any]

PATIENCE = 20  # seconds without an answer until the server counts as hung; no test waits for it
WHOLE = 8192  # bytes up to which data stands in a transcript as text
REPLY_MAX = 1 << 20
PIPE_ID = re.compile(rb'("pipeid":)([1-9][0-9]*)')
EXTRACTED = re.compile(rb"(/container_images_oci)[0-9]+")
LOG_TIME = re.compile(r'time="[^"]*"')


class WireError(Exception):
    """The server hung, or a scenario asked for something that makes no sense."""


@dataclass
class Pipe:
    """The client's ends of one reply's pipes; ``reader`` threads fill ``got``."""

    number: int
    fds: dict[str, int]
    got: dict[str, bytearray] = field(default_factory=dict)
    readers: dict[str, threading.Thread] = field(default_factory=dict)

    def start(self, which: str) -> None:
        """Reads one end to EOF in the background, as a client must: FinishPipe waits for the data."""
        self.got[which] = bytearray()
        self.readers[which] = threading.Thread(target=self._read, args=(which,), daemon=True)
        self.readers[which].start()

    def _read(self, which: str) -> None:
        while chunk := os.read(self.fds[which], 1 << 16):
            self.got[which] += chunk

    def result(self, which: str) -> bytes:
        if which not in self.readers:
            self.start(which)
        self.readers[which].join(PATIENCE)
        if self.readers[which].is_alive():
            raise WireError(f"no end of file on the {which} pipe")
        return bytes(self.got[which])

    def close(self) -> None:
        for reader in self.readers.values():
            reader.join(PATIENCE)
        for fd in self.fds.values():
            os.close(fd)


def described(data: bytes, whole: int = WHOLE) -> Any:
    """Data as it stands in a transcript: text, hex when it is no UTF-8, size and sha256 when it is long."""
    if len(data) > whole:
        return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}


def environment(home: Path) -> dict[str, str]:
    """An environment in which nothing of the host's configuration counts, apart from --policy's absence."""
    (home / ".config/containers/registries.d").mkdir(parents=True, exist_ok=True)
    (home / ".config/containers/registries.conf").touch()
    (home / "run").mkdir(exist_ok=True)
    return {
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home / "run"),
        "CONTAINERS_REGISTRIES_CONF": str(home / ".config/containers/registries.conf"),
        "TMPDIR": str(home / "run"),
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
    }


class Player:
    """One server process and the client's end of its socket. Use as a context manager."""

    def __init__(
        self, command: Sequence[str], scenario: Scenario, cwd: Path, home: Path, places: Mapping[str, str]
    ) -> None:
        self.scenario = scenario
        self.places = {"{CWD}": str(cwd), "{TMP}": str(home / "run"), **places}
        self.pipes: dict[str, Pipe] = {}
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        number = {"{SOCKFD}": str(theirs.fileno())}
        before, after = (
            [self.fill(arg, number) for arg in args] for args in (scenario.before, scenario.after)
        )
        env = environment(home) | {"PYTHONPATH": os.pathsep.join(IMPORTABLE)}
        with theirs:
            self.process = subprocess.Popen(
                [*command, *before, "experimental-image-proxy", *after],
                stdin=theirs.fileno() if scenario.stdin == "socket" else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()] if scenario.stdin != "socket" else [],
                cwd=cwd,
                env=env,
            )

    def __enter__(self) -> Player:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        for pipe in self.pipes.values():
            pipe.close()

    # --- placeholders ------------------------------------------------------------------------------

    def fill(self, text: str, more: Mapping[str, str]) -> str:
        for place, value in {**self.places, **more}.items():
            text = text.replace(place, value)
        return text

    def hide(self, data: bytes) -> bytes:
        for place, value in self.places.items():
            data = data.replace(value.encode(), place.encode())
        return EXTRACTED.sub(rb"\1{N}", data)

    # --- steps -------------------------------------------------------------------------------------

    def play(self) -> Iterator[Event]:
        """Yields the events, each with the number ``n`` of its step. Ends early when the server does."""
        for number, step in enumerate(self.scenario.steps):
            alive = True
            for event in self.step(step):
                alive = alive and "eof" not in event
                yield {"n": number, **event}
            if not alive:
                yield {"n": number, **self.ended(End())}
                return

    def step(self, step: Step) -> Iterator[Event]:
        match step:
            case Call() | Raw():
                yield self.send(step.packet)
                yield self.receive(step)
            case Send():
                yield self.send(step.packet)
            case Receive():
                yield self.receive(step)
            case Finish():
                yield from self.finish(step.pipe)
            case Data():
                known = step.pipe in self.pipes
                data = self.pipes[step.pipe].result(step.which) if known else b""
                shown = described(self.hide(data), WHOLE if step.text else -1) if known else None
                yield {"data": shown, "of": f"{step.pipe}.{step.which}"}
            case Wait():
                self.wait(step)
            case CloseFd():
                os.close(self.pipes[step.pipe].fds.pop("data"))
            case End():
                yield self.ended(step)

    def send(self, packet: bytes) -> Event:
        """Sends; a server that is gone shows in ``receive``."""
        sent = packet
        for place, value in self.places.items():
            sent = sent.replace(place.encode(), value.encode())
        with suppress(BrokenPipeError):
            self.socket.send(sent)
        return {"send": described(packet)}

    def finish(self, name: str) -> Iterator[Event]:
        place, number = b"{%s}" % name.encode(), b"%d" % self.pipes[name].number
        self.places[place.decode()] = number.decode()
        yield self.send(b'{"method":"FinishPipe","args":[%s]}' % place)
        del self.places[place.decode()]
        event = self.receive(Request())
        if isinstance(text := event.get("recv"), str):
            event["recv"] = text.replace(
                f"no active pipe {number.decode()}", f"no active pipe {place.decode()}"
            )
        yield event

    def receive(self, step: Request) -> Event:
        try:
            reply, fds = self.packet()
        except ConnectionResetError:
            reply, fds = b"", []
        if not reply:
            return {"eof": True}
        match = PIPE_ID.search(reply)
        if fds:
            if step.pipe is None:
                raise WireError(f"{step} got {len(fds)} file descriptors and names no pipe: {reply[:200]!r}")
            number = int(match[2]) if match else 0
            self.pipes[step.pipe] = pipe = Pipe(number, dict(zip(("data", "err"), fds, strict=False)))
            for which in pipe.fds if step.read else []:
                pipe.start(which)
            reply = PIPE_ID.sub(rb"\1{%s}" % step.pipe.encode(), reply)
        return {"recv": described(self.hide(reply)), "fds": len(fds)}

    def packet(self) -> tuple[bytes, list[int]]:
        room = array.array("i")
        reply, ancillary, flags, _ = self.socket.recvmsg(
            REPLY_MAX, socket.CMSG_SPACE(8 * room.itemsize), socket.MSG_CMSG_CLOEXEC
        )
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                room.frombytes(data)
        if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            raise WireError("the reply was cut by the receive buffer")
        return reply, list(room)

    def wait(self, step: Wait) -> None:
        fd, until = self.pipes[step.pipe].fds["data"], time.monotonic() + PATIENCE
        while waiting(fd) < step.size:
            if time.monotonic() > until:
                raise WireError(f"fewer than {step.size} bytes came")
            time.sleep(0.001)

    def ended(self, step: End) -> Event:
        """Closes the client's end and waits for the server's exit; nothing else tells it to go."""
        if step.close:
            self.socket.close()
        try:
            out, err = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise WireError("the server does not end") from None
        event: Event = {"exit": self.process.returncode, "stdout": described(out)}
        if step.stderr:
            event["stderr"] = LOG_TIME.sub('time="{TIME}"', self.hide(err).decode())
        return event


IMPORTABLE = [str(Path(__file__).resolve().parents[2] / part) for part in ("proxy", "clients")]


def waiting(fd: int) -> int:
    """Bytes that can be read from a pipe now."""
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


def play(
    command: Sequence[str], scenario: Scenario, cwd: Path, home: Path, places: Mapping[str, str]
) -> list[Event]:
    """Runs one scenario and returns its transcript."""
    with Player(command, scenario, cwd, home, places) as player:
        return list(player.play())


def lines(name: str, scenario: Scenario, events: list[Event]) -> Iterator[str]:
    """A scenario's part of a golden file: a headline, then one line per event."""
    head = {"scenario": name, "before": list(scenario.before), "after": list(scenario.after)}
    for item in (head, *events):
        yield json.dumps(item, ensure_ascii=False, separators=(",", ":"))
