"""The first process of a graded program: it shuts itself in, then becomes the program.

Run by its path as ``python -I -S confined.py SPEC``, with the program on standard input, by
`creditree.verify.sandbox`; never imported. What fails before the program starts is written to the pipe that SPEC names.

A namespace of its own for mounts, processes, network, System V objects and the host's name, and in it a file system in
memory that holds the interpreter (to be read only), five devices and an empty folder: neither files nor processes of
anybody else are there. The program's parent is process 1 there, so whatever the program started ends with it.
"""

import ctypes
import json
import os
import resource
import select
import signal
import sys
from typing import Any, NoReturn

NEW_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # mount, UTS, IPC, PID, network
NEW_USER = 0x10000000
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, ATTR_RDONLY_NOSUID = 442, -100, 0x8000, 0x3
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
NOBODY = 65534
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Without threads of its own: numpy's library ends a process that may start none."""
FOLDER = "/creditree-program"
ROOT = "/root"
LAST_S = 2


def main(spec: dict[str, Any]) -> NoReturn:
    """Shut this process in as `spec` says, and become the program."""
    report = spec["report"]
    os.set_inheritable(report, False)
    try:
        program = sys.stdin.buffer.read()
        if spec["how"] != "none":
            _enter(spec, report)
        elif sys.platform == "linux":
            _end_with_parent(_Libc(), report)
        with open("program.py", "wb") as file:
            file.write(program)
        if spec["how"] == "root":
            _become_nobody()
        _limit(spec)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.execve(
            spec["python"],
            [spec["python"], "-I", "program.py"],
            ENVIRONMENT | {"HOME": os.getcwd()},
        )
    except BaseException as error:
        os.write(report, f"{type(error).__name__}: {error}".encode())
    os._exit(1)


def _enter(spec: dict[str, Any], report: int) -> None:
    """Return in a new process, in namespaces of its own; the present one and process 1 wait for it and end with it."""
    libc = _Libc()
    user, group = os.geteuid(), os.getegid()
    libc.call("unshare", NEW_NAMESPACES | (NEW_USER if spec["how"] == "user" else 0))
    if spec["how"] == "user":
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{NOBODY} {user} 1"),
            ("gid_map", f"{NOBODY} {group} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    _end_with_parent(libc, report)
    first = os.fork()
    if first:
        os.close(report)
        _wait(first)
    _end_with_parent(libc, report)
    libc.call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)
    signal.signal(signal.SIGALRM, lambda number, frame: os._exit(1))
    signal.alarm(int(spec["most_s"]) + LAST_S)
    _forbid_shared_memory()
    _make_root(libc, spec["visible"], spec["mount_on"], int(spec["scratch"]))
    second = os.fork()
    if second:
        os.close(report)
        _wait(second)
    signal.alarm(0)
    os.setsid()
    libc.call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


class _Libc:
    """System calls that Python does not have; a failure is an OSError that names the call."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)

    def call(self, name: str, *arguments: int | bytes | None) -> None:
        # As long as pointers are: a variadic function reads its arguments so.
        passed = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
        if getattr(self._library, name)(*passed) < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{name}: {os.strerror(number)}")

    def mount(self, source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        encoded = [None if argument is None else os.fsencode(argument) for argument in (source, target, kind)]
        self.call("mount", *encoded, flags, None if data is None else data.encode())


def _end_with_parent(libc: _Libc, report: int) -> None:
    """Have the system kill this process where the thread that started it ends; new credentials would undo that.

    Where that has happened already, nobody reads the pipe any more.
    """
    libc.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    reader = select.poll()
    reader.register(report, 0)
    if reader.poll(0):
        os._exit(1)


def _forbid_shared_memory() -> None:
    """Allow no segments of System V, which no limit of a process counts, where the kernel lets a namespace say that."""
    for name in ("shmall", "shmmni", "msgmni"):
        try:
            with open(f"/proc/sys/kernel/{name}", "w", encoding="ascii") as file:
                file.write("0")
        except OSError:
            pass


def _make_root(libc: _Libc, visible: list[str], mount_on: str, scratch: int) -> None:
    """Make a file system in memory the root, with what is visible at its place, read-only, and go into its folder."""
    libc.mount("none", "/", None, MS_REC | MS_PRIVATE)
    # Opened before anything is mounted, which may hide them; O_PATH reads nothing.
    sources = {path: os.open(path, os.O_PATH) for path in (*visible, *DEVICES) if os.path.exists(path)}
    os.umask(0)
    libc.mount("tmpfs", mount_on, "tmpfs", MS_NOSUID | MS_NODEV, f"size={scratch},nr_inodes=4096,mode=755")
    root = mount_on + ROOT
    for path, source in sources.items():
        if os.path.islink(path):
            _make_folder(root + os.path.dirname(path))
            os.symlink(os.readlink(path), root + path)
            continue
        _bind(libc, f"/proc/self/fd/{source}", root + path, is_folder=os.path.isdir(f"/proc/self/fd/{source}"))
        os.close(source)
    for folder in (FOLDER, "/tmp", "/var/tmp", "/dev/shm"):
        _make_folder(root + folder)
        os.chmod(root + folder, 0o1777)
    os.chdir(mount_on)
    libc.call("pivot_root", b".", b".")
    libc.call("umount2", b".", MNT_DETACH)
    # The root of a process that may make user namespaces, and in them mounts, is that of its mounts; this one's is not.
    os.chroot(ROOT)
    os.chdir(FOLDER)


def _bind(libc: _Libc, source: str, target: str, *, is_folder: bool) -> None:
    if is_folder:
        _make_folder(target)
    else:
        _make_folder(os.path.dirname(target))
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
    libc.mount(source, target, None, MS_BIND | MS_REC)
    if not target.endswith(DEVICES):
        attributes = ATTR_RDONLY_NOSUID.to_bytes(8, sys.byteorder) + bytes(24)
        libc.call("syscall", MOUNT_SETATTR, AT_FDCWD, os.fsencode(target), AT_RECURSIVE, attributes, len(attributes))


def _make_folder(path: str) -> None:
    os.makedirs(path, 0o755, exist_ok=True)


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _limit(spec: dict[str, Any]) -> None:
    """Limit processor seconds, memory, sizes of files, descriptors, and allow no further process or thread."""
    limits = {"CPU": spec["cpu"], "AS": spec["memory"], "FSIZE": spec["size"], "NPROC": 0, "CORE": 0, "NOFILE": 64}
    for name, limit in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        most = resource.getrlimit(kind)[1]
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        try:
            resource.setrlimit(kind, (limit, limit))
        except (OSError, ValueError):
            if sys.platform == "linux":  # other systems do not have every limit
                raise


def _wait(child: int) -> NoReturn:
    """Wait for a process, end those that it left, and end as it did."""
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
