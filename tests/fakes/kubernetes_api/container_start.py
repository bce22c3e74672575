"""`python container_start.py <parent> <pipe> <hostname> <command…>`: a command as the first process of a container.

It gets PID, UTS and mount namespaces of its own, with a `/proc` to match. This process stays outside: it passes signals
on and ends as the container does, with 128 plus the number where that was a signal. Dies with its parent. Into the pipe
it writes the id of the first process, and the pipe is closed when that runs the command.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

NEW_MOUNTS, NEW_UTS, NEW_USER, NEW_PIDS = 0x20000, 0x4000000, 0x10000000, 0x20000000
RECURSIVE_PRIVATE = 0x4000 | 0x40000
DIE_WITH_PARENT = 1
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def enter_namespaces() -> None:
    """Whoever is not root is, in a user namespace, root as far as these namespaces go."""
    user, group = os.geteuid(), os.getegid()
    check(libc.unshare(NEW_MOUNTS | NEW_UTS | NEW_PIDS | (NEW_USER if user else 0)), "unshare")
    if user:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")


def run(hostname: bytes, command: list[str]) -> None:
    """In the child, which is number 1 of the new PID namespace."""
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    check(libc.mount(b"none", b"/", None, RECURSIVE_PRIVATE, None), "mount private")
    check(libc.mount(b"proc", b"/proc", b"proc", 0, None), "mount /proc")
    check(libc.sethostname(hostname, len(hostname)), "sethostname")
    os.execvp(command[0], command)  # noqa: S606  # a shell would be number 1


def main(parent: str, pipe: str, hostname: str, *command: str) -> int:
    libc.prctl(DIE_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(parent):
        return 1
    signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    enter_namespaces()
    os.set_inheritable(int(pipe), False)
    first = os.fork()
    if not first:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
        run(hostname.encode(), list(command))
    os.write(int(pipe), str(first).encode())
    os.close(int(pipe))
    for number in PASSED_ON:
        signal.signal(number, lambda number, _: os.kill(first, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PASSED_ON)
    code = os.waitstatus_to_exitcode(os.waitpid(first, 0)[1])
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
