"""A connection that breaks when it is told to."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import select
import signal
import socket
import struct
import time

from torture.job import Job, integers

__all__ = ["Proxy"]


class Proxy:
    """A port on this machine before a server; its connections can be cut after some bytes.

    Parameters
    ----------
    target : str or tuple
        The path of a socket, or a host and a port.
    """

    def __init__(self, target: str | tuple[str, int]) -> None:
        self._left = mmap.mmap(-1, 8)
        self.cut_after(-1)
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        self._pid = os.fork()
        if self._pid == 0:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # end with the process that made it
            try:
                self._serve(listening, target)
            finally:
                os._exit(0)
        listening.close()

    def cut_after(self, n_bytes: int) -> None:
        """Cut all connections once so many bytes have passed; -1: never."""
        struct.pack_into("q", self._left, 0, n_bytes)

    def close(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _serve(self, listening: socket.socket, target: str | tuple[str, int]) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        until = time.monotonic() + 300
        while time.monotonic() < until:
            for ready in select.select([listening, *peers], [], [], 1.0)[0]:
                if ready is listening:
                    client, _ = listening.accept()
                    server = socket.socket(
                        socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
                    )
                    with contextlib.suppress(OSError):
                        server.connect(target)
                    peers[client], peers[server] = server, client
                elif ready in peers and not self._pass(ready, peers[ready]):
                    self._cut(peers, [ready, peers[ready]])

    def _pass(self, source: socket.socket, sink: socket.socket) -> bool:
        """Hand some bytes on; False if the connection has to end."""
        (left,) = struct.unpack_from("q", self._left, 0)
        try:
            content = source.recv(65536)
            sink.sendall(content if left < 0 else content[:left])
        except OSError:
            return False
        if left >= 0:
            struct.pack_into("q", self._left, 0, max(0, left - len(content)))
        return bool(content) and (left < 0 or len(content) < left)

    @staticmethod
    def _cut(peers: dict[socket.socket, socket.socket], ended: list[socket.socket]) -> None:
        for one in ended:
            if one.family == socket.AF_INET:  # a reset, not a farewell
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peers.pop(one, None)
            one.close()


def cut_and_run(job: Job, most: int) -> None:
    """Run a job whose connections are cut after so many bytes, `most` times at most."""
    for _ in range(integers(job.rng, 1, most)):
        job.world.proxy.cut_after(integers(job.rng, 0, 2 ** integers(job.rng, 4, 17)))
        job.run()
        job.world.proxy.cut_after(-1)
