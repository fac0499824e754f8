"""A proxy on 127.0.0.1 that does to connections what networks do; toxiproxy's eight faults."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import contextmanager, suppress
from random import Random
from threading import Event, Thread

#: as long as the time limit of a source in the tests that use this, in seconds
_LONG = 0.5
_CHUNK = 65_536


class Fault:
    """None: what comes is passed on."""

    #: whether nobody listens any more
    refuses = False

    async def carry(self, stream, data):
        stream.send(data)

    async def end(self, stream):
        """Before the other side learns that this one has hung up."""


class Latency(Fault):
    """Every message is late, and each by another time."""

    async def carry(self, stream, data):
        await asyncio.sleep(stream.random.uniform(0, _LONG / 3))
        stream.send(data)


class Down(Fault):
    """Nobody listens, and whoever was connected is no more."""

    refuses = True


class Bandwidth(Fault):
    """So many bytes a second that an answer takes too long, though something always comes."""

    async def carry(self, stream, data):
        await stream.sliced(data, size=8, pause=_LONG / 10)


class SlowClose(Fault):
    """The end of a connection is told late."""

    async def end(self, stream):
        del stream
        await asyncio.sleep(_LONG)


class Hang(Fault):
    """Everything is swallowed, and what was swallowed stays lost when the fault is over."""

    async def carry(self, stream, data):
        """Do nothing."""


class ResetPeer(Fault):
    """A connection is torn down by a RST as soon as something is said."""

    async def carry(self, stream, data):
        del data
        stream.link.reset()


class Slicer(Fault):
    """What was one message comes in bits of a few bytes."""

    async def carry(self, stream, data):
        await stream.sliced(data, size=stream.random.randint(20, 60), pause=0)


class LimitData(Fault):
    """After some bytes, in the midst of a message, the connection is closed."""

    async def carry(self, stream, data):
        if stream.left is None:
            stream.left = stream.random.randrange(400)
        stream.send(data[: stream.left])
        stream.left -= len(data)
        if stream.left <= 0:
            stream.link.close()


FAULTS = (Latency, Down, Bandwidth, SlowClose, Hang, ResetPeer, Slicer, LimitData)


class _Stream:
    """One direction of a connection."""

    def __init__(self, link, reader, writer, random):
        self.link, self.random = link, random
        self.reader, self.writer = reader, writer
        #: bytes that may still pass; None: any number
        self.left = None

    def send(self, data):
        self.writer.write(data)

    async def sliced(self, data, size, pause):
        for at in range(0, len(data), size):
            if self.writer.is_closing():
                return
            self.send(data[at : at + size])
            await self.writer.drain()
            await asyncio.sleep(pause)


class _Link:
    """One connection of a client, and the one to the server that belongs to it."""

    def __init__(self, *writers):
        self._writers = writers

    def close(self):
        for writer in self._writers:
            writer.close()

    async def closed(self):
        for writer in self._writers:
            with suppress(OSError):
                await writer.wait_closed()

    def reset(self):
        for writer in self._writers:
            with suppress(OSError):  # it is closed already
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                )
            writer.transport.abort()


class Proxy:
    """Stands before a server; its fault can be changed at any time.

    Faults act in both directions, upon everything that is said from then on.
    """

    def __init__(self, upstream, seed):
        self._upstream = upstream
        self._random = Random(seed)  # noqa: S311 - repeatable, not secret
        self._loop = asyncio.new_event_loop()
        self._fault = Fault()
        self._listener = None
        self._turning = asyncio.Lock()
        self._links = set()
        # Bound but not listening, it keeps the port while nobody listens.
        self._place = socket.socket()
        self._place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._place.bind(("127.0.0.1", 0))
        self.port = self._place.getsockname()[1]
        #: how often the fault has met something to spoil
        self.struck = 0

    def strike(self, fault):
        """Let the network have this fault from now on."""
        asyncio.run_coroutine_threadsafe(self._turn(fault), self._loop).result()

    def lift(self):
        """Let it be well again."""
        self.strike(Fault())

    async def _turn(self, fault):
        async with self._turning:
            self._fault, self.struck = fault, 0
            if fault.refuses:
                await self._hang_up()
            elif not self._listener:
                self._listener = await asyncio.start_server(
                    self._connected, "127.0.0.1", self.port, reuse_port=True
                )

    async def _hang_up(self):
        if self._listener:
            listener, self._listener = self._listener, None
            for place in listener.sockets:
                self._loop.remove_reader(place)
            # asyncio drops what was accepted, and is no connection yet when its server closes.
            for _ in range(3):
                await asyncio.sleep(0)
            listener.close()
        self.struck += 1
        for link in self._links:
            link.reset()

    async def _connected(self, reader, writer):
        try:
            theirs = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, theirs[1])
        if self._fault.refuses:
            link.reset()
        self._links.add(link)
        try:
            await asyncio.gather(
                self._pump(_Stream(link, reader, theirs[1], self._random)),
                self._pump(_Stream(link, theirs[0], writer, self._random)),
            )
        finally:
            await link.closed()
            self._links.discard(link)

    async def _pump(self, stream):
        with suppress(OSError):
            while data := await stream.reader.read(_CHUNK):
                self.struck += 1
                await self._fault.carry(stream, data)
                await stream.writer.drain()
            await self._fault.end(stream)
        stream.link.close()

    async def _stop(self):
        self._fault = Fault()
        await self._hang_up()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(others, timeout=_LONG / 10)
            await self._hang_up()
        # What was aborted is closed in the next round of the loop.
        await asyncio.sleep(0)

    def run(self, started):
        """Serve until `stop`; in a thread of its own."""
        self._loop.call_soon(started.set)
        self._loop.run_forever()
        self._loop.run_until_complete(self._stop())
        self._loop.close()
        self._place.close()

    def stop(self):
        """End `run`."""
        self._loop.call_soon_threadsafe(self._loop.stop)


@contextmanager
def before(upstream, seed=0):
    """A proxy before the server at this host and port, without a fault as yet."""
    proxy, started = Proxy(upstream, seed), Event()
    thread = Thread(target=proxy.run, args=(started,))
    thread.start()
    started.wait()
    proxy.lift()
    try:
        yield proxy
    finally:
        proxy.stop()
        thread.join()
