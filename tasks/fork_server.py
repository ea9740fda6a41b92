"""A process that has imported TensorFlow and forks others that need it. Linux only.

Blocks work in processes of their own (`tasks.fresh_process` says why), and importing TensorFlow takes each of them some
6 s. The copy of a process that has imported it, and done nothing else, is as good as a new one and there at once:
before its first operation TensorFlow starts no thread, touches no device and numbers nothing.

The flow's process starts the server when it first needs it and keeps a socket to it; when that closes, the server ends.
A request is one message: what to run, as JSON, with the descriptors that become the new process's stdin, stdout and
stderr, and one over which its pid and, in the end, its status come back.
"""

import atexit
import contextlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

# A message with more would not go through the socket at once; a command's environment is far below.
_LARGEST_REQUEST = 1 << 17


class ForkServerEnded(Exception):
    """The server ended before it forked.

    Args:
        status: of its process.
        last_words: the end of what it wrote to stderr.
    """

    def __init__(self, status: int, last_words: str) -> None:
        super().__init__(status, last_words)
        self.status, self.last_words = status, last_words


class _Server:
    """The server that this process keeps, from the first request on."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._running: tuple[subprocess.Popen[bytes], socket.socket, IO[bytes]] | None = None

    def fork(self, request: bytes, descriptors: list[int], environment: dict[str, str]) -> None:
        """Send a request; the answer comes over the last of the descriptors."""
        with self._lock:
            if self._running is not None and self._running[0].poll() is not None:
                self.stop()  # it was killed: nothing depends on it but what it would have forked
            if self._running is None:
                self._running = self._start(environment)
                atexit.register(self.stop)
            with contextlib.suppress(BrokenPipeError):  # nothing will come back then, which is looked at anyway
                socket.send_fds(self._running[1], [request], descriptors)

    def stop(self) -> ForkServerEnded:
        """End the server, if it has not ended by itself; the next request starts another."""
        with self._lock:
            if self._running is None:
                return ForkServerEnded(-signal.SIGKILL, "")
            process, control, stderr = self._running
            self._running = None
            control.close()
            process.wait()
            with stderr:
                stderr.seek(0)
                return ForkServerEnded(process.returncode, stderr.read().decode(errors="replace")[-2000:].strip())

    @staticmethod
    def _start(environment: dict[str, str]) -> tuple[subprocess.Popen[bytes], socket.socket, IO[bytes]]:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        with theirs:
            process = subprocess.Popen(
                # -P: what lies in the working directory must not stand in for a module.
                [sys.executable, "-P", "-m", "tasks.fork_server", str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
            )
        return process, mine, stderr


_server = _Server()


class ForkedProcess:
    """A process that the server forks; it offers what `subprocess.Popen` does, as far as it is used.

    Args:
        module: what is run, as by `python -m module`.
        environment: its environment variables. What is read of them while TensorFlow is imported was read from those of
            the first process that was asked for.

    Raises:
        ForkServerEnded: before it could fork.
    """

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        request = {"module": module, "environment": environment, "folder": str(Path.cwd())}
        (their_in, mine_in), (mine_out, their_out), (mine_err, their_err) = os.pipe(), os.pipe(), os.pipe()
        mine, theirs = socket.socketpair()
        self.returncode: int | None = None
        self.stdin = os.fdopen(mine_in, "w", encoding="utf-8")
        # "replace": TensorFlow's own log lines may be cut within a character.
        self.stdout = os.fdopen(mine_out, encoding="utf-8", errors="replace")
        self.stderr = os.fdopen(mine_err, encoding="utf-8", errors="replace")
        with theirs, mine:
            descriptors = [their_in, their_out, their_err, theirs.fileno()]
            try:
                _server.fork(json.dumps(request).encode(), descriptors, environment)
            finally:
                for descriptor in descriptors[:3]:
                    os.close(descriptor)
            self._status = mine.makefile("r", encoding="ascii")
        line = self._status.readline()
        if not line:
            for pipe in (self.stdin, self.stdout, self.stderr, self._status):
                pipe.close()
            raise _server.stop()
        self.pid = int(line)

    def wait(self) -> int:
        """Wait for its end.

        Returns:
            Its exit status; the negative number of a signal that ended it.
        """
        if self.returncode is None:
            # No line: the server itself was killed, and what killed it most likely meant them all.
            self.returncode = int(self._status.readline() or -signal.SIGKILL)
            self._status.close()
        return self.returncode

    def kill(self) -> None:
        """End it; nothing happens if it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork at each request: gives it in the new process. Gives None in the server, once the flow's process is gone."""
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not control:
                    _report_end(selector, key)
                    continue
                message, descriptors, _, _ = socket.recv_fds(control, _LARGEST_REQUEST, 4)
                if not message:
                    return None
                pid = os.fork()
                if not pid:
                    control.close()
                    _become(descriptors, selector)
                    request: dict[str, Any] = json.loads(message)
                    return request
                *streams, status = descriptors
                for descriptor in streams:
                    os.close(descriptor)
                _tell(status, pid)
                selector.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))


def _become(descriptors: list[int], selector: selectors.BaseSelector) -> None:
    """Take what is this process's own, and close what is its siblings'."""
    for key in selector.get_map().values():
        if key.data is not None:
            os.close(key.fd)
            os.close(key.data[1])
    for target, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, target)
    for descriptor in descriptors:
        os.close(descriptor)


def _report_end(selector: selectors.BaseSelector, key: selectors.SelectorKey) -> None:
    pid, status = key.data
    _tell(status, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    selector.unregister(key.fileobj)
    os.close(key.fd)
    os.close(status)


def _tell(status: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):  # who asked is gone, and the server about to end
        os.write(status, f"{number}\n".encode())


def main(control: int) -> None:
    """Serve until the flow's process is gone; in each process that is forked, run what it was forked for.

    Args:
        control: descriptor of the socket that requests come through.
    """
    import tensorflow  # noqa: F401  (this is what the server is for)

    request = _serve(socket.socket(fileno=control))
    if request is not None:
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(request["folder"])
        sys.argv[:] = [request["module"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
