"""A process that has imported TensorFlow and forks others that need it. Linux only.

Blocks work in processes of their own (`tasks.fresh_process` says why), and importing TensorFlow takes each of them some
6 s. The copy of a process that has imported it, and done nothing else, is as good as a new one and there at once:
before its first operation TensorFlow starts no thread, touches no device and numbers nothing.

The flow's process starts the server when it first needs it and keeps a socket to it; when that closes, the server ends.
A request is a message with four descriptors: three become the new process's stdin, stdout and stderr. The fourth is a
socket. What is to be run comes over it as JSON; the new process's pid goes back, and its status in the end. When the
other side closes it for writing, the server kills that process: only a parent knows that a pid is still the same one.
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
import weakref
from pathlib import Path
from typing import Any

# A server that is told to end and does not, as it hangs in an import, is killed after so long.
_PATIENCE_SECONDS = 3.0


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
    """One server, as the process that asks sees it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by end)
        self._lock = threading.Lock()
        self._last_words: str | None = None
        with theirs:
            self._process = subprocess.Popen(
                # -P: what lies in the working directory must not stand in for a module.
                [sys.executable, "-P", "-m", "tasks.fork_server", str(theirs.fileno())],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                pass_fds=[theirs.fileno()],
            )

    def runs(self) -> bool:
        return self._process.poll() is None

    def ask(self, descriptors: list[int]) -> None:
        # Where it has ended, nothing comes back over the descriptors, which is looked at anyway.
        with contextlib.suppress(OSError):
            socket.send_fds(self._control, [b"fork"], descriptors)

    def end(self) -> ForkServerEnded:
        """End it, if it has not ended by itself; how it ended."""
        with self._lock:
            if self._last_words is None:
                self._control.close()
                try:
                    self._process.wait(_PATIENCE_SECONDS)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
                with self._stderr:
                    self._stderr.seek(0)
                    self._last_words = self._stderr.read().decode(errors="replace")[-2000:].strip()
            return ForkServerEnded(self._process.returncode, self._last_words)


_lock = threading.Lock()
_servers: list[_Server] = []
# Those whose end the server has still to tell.
_users: "weakref.WeakSet[ForkedProcess]" = weakref.WeakSet()


def _running_server(environment: dict[str, str], user: "ForkedProcess") -> _Server:
    """The server of this process; another one if it was killed, since nothing depends on it but what it would fork."""
    with _lock:
        if not _servers or not _servers[-1].runs():
            _servers.append(_Server(environment))
        _users.add(user)
        return _servers[-1]


def end_if_idle() -> None:
    """End the server, and so give its memory back, unless there are processes whose end it is to tell."""
    with _lock:
        while _servers and not _users:
            _servers.pop().end()


@atexit.register
def _end_all() -> None:
    for server in _servers:
        server.end()


class ForkedProcess:
    """A process that the server forks; it offers what `subprocess.Popen` does, as far as it is used.

    Args:
        module: what is run, as by `python -m module`.
        environment: its environment variables. What is read of them while TensorFlow is imported was read from those of
            the first process that was asked for.
        timeout_seconds: how long the server may take until it has forked, the import included.

    Raises:
        ForkServerEnded: before it could fork.
        TimeoutError: it took longer, and was killed.
    """

    def __init__(self, module: str, environment: dict[str, str], timeout_seconds: float) -> None:
        request = {"module": module, "environment": environment, "folder": str(Path.cwd())}
        (their_in, mine_in), (mine_out, their_out), (mine_err, their_err) = os.pipe(), os.pipe(), os.pipe()
        self._socket, theirs = socket.socketpair()
        self._answers = self._socket.makefile("r", encoding="ascii")
        self.returncode: int | None = None
        self.stdin = os.fdopen(mine_in, "w", encoding="utf-8")
        # "replace": TensorFlow's own log lines may be cut within a character.
        self.stdout = os.fdopen(mine_out, encoding="utf-8", errors="replace")
        self.stderr = os.fdopen(mine_err, encoding="utf-8", errors="replace")
        server = _running_server(environment, self)
        server.ask([their_in, their_out, their_err, theirs.fileno()])
        for descriptor in (their_in, their_out, their_err):
            os.close(descriptor)
        theirs.close()
        line = ""
        try:
            self._socket.settimeout(timeout_seconds)
            with contextlib.suppress(ConnectionError):
                self._socket.sendall(json.dumps(request).encode() + b"\n")
                line = self._answers.readline()
            self._socket.settimeout(None)
        except TimeoutError:
            server.end()
            raise
        finally:
            if not line:
                _users.discard(self)
                for each in (self.stdin, self.stdout, self.stderr, self._answers, self._socket):
                    each.close()
        if not line:
            raise server.end()
        self.pid = int(line)

    def wait(self) -> int:
        """Wait for its end.

        Returns:
            Its exit status; the negative number of a signal that ended it.
        """
        if self.returncode is None:
            # No line: the server itself was killed, and what killed it most likely meant them all.
            self.returncode = int(self._answers.readline() or -signal.SIGKILL)
            self._answers.close()
            self._socket.close()
            _users.discard(self)
        return self.returncode

    def kill(self) -> None:
        """End it; nothing happens if it has ended."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)


def _serve(control: socket.socket) -> dict[str, Any] | None:
    """Fork at each request: gives it in the new process. Gives None in the server, once the flow's process is gone."""
    children: dict[int, socket.socket] = {}
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(waker.fileno())
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    woken.recv(4096)
                    _report_ends(children, selector)
                elif key.fileobj is not control:
                    selector.unregister(key.fileobj)
                    if key.data in children:
                        os.kill(key.data, signal.SIGKILL)
                else:
                    message, descriptors, _, _ = socket.recv_fds(control, len(b"fork"), 4)
                    if not message:
                        return None
                    asker = socket.socket(fileno=descriptors.pop())
                    request = _hear(asker)
                    pid = os.fork()
                    if not pid:
                        for each in (control, woken, waker, asker, *children.values()):
                            each.close()
                        _become(descriptors)
                        return request
                    for descriptor in descriptors:
                        os.close(descriptor)
                    children[pid] = asker
                    selector.register(asker, selectors.EVENT_READ, pid)
                    _tell(asker, pid)


def _hear(asker: socket.socket) -> dict[str, Any]:
    line = b""
    while not line.endswith(b"\n"):
        part = asker.recv(1 << 16)
        if not part:  # the flow's process was killed
            sys.exit()
        line += part
    request: dict[str, Any] = json.loads(line)
    return request


def _become(streams: list[int]) -> None:
    """Leave the server's ways behind, and take what is this process's own."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for target, descriptor in enumerate(streams):
        os.dup2(descriptor, target)
        os.close(descriptor)


def _report_ends(children: dict[int, socket.socket], selector: selectors.BaseSelector) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        asker = children.pop(pid)
        with contextlib.suppress(KeyError):  # it was to be killed, and is not listened to any more
            selector.unregister(asker)
        _tell(asker, os.waitstatus_to_exitcode(status))
        asker.close()


def _tell(asker: socket.socket, number: int) -> None:
    with contextlib.suppress(ConnectionError):  # who asked is gone, and the server about to end
        asker.sendall(f"{number}\n".encode())


def main(control: int) -> None:
    """Serve until the flow's process is gone; in each process that is forked, run what it was forked for.

    Args:
        control: descriptor of the socket that requests come through.
    """
    # Ctrl-C at a terminal reaches all processes: the server stays to tell how the others ended.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import tensorflow  # noqa: F401  (this is what the server is for)

    request = _serve(socket.socket(fileno=control))
    if request is None:
        # Python would take TensorFlow apart for another 1.2 s, and there is nobody left to tell.
        os._exit(0)
    os.environ.clear()
    os.environ.update(request["environment"])
    tempfile.tempdir = None  # it was asked for while TensorFlow was imported, and may be another one now
    os.chdir(request["folder"])
    sys.argv[:] = [request["module"]]
    runpy.run_module(request["module"], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
