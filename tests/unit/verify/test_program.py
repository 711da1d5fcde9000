"""Programs that misbehave: each gets its verdict, sees nothing of the caller, and leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from creditree.config.reward import reward_of
from creditree.errors import ConfigError
from creditree.problem import Problem
from creditree.setup.grading import build_verifier
from creditree.verify import confined, sandbox
from creditree.verify.program import Program
from creditree.verify.sandbox import Containment, Ran, SetupError, containment, run
from creditree.verify.verifier import Answer
from tests.unit.verify.test_pool import ended

needs_namespaces = pytest.mark.skipif(
    containment().how == "none", reason=f"no namespaces for programs here: {containment().reason}"
)
WAYS = [
    pytest.param(True, marks=needs_namespaces, id="contained"),
    pytest.param(False, id="free"),
]


def answer(code: str, *truths: str) -> Answer:
    return Answer(Problem("p", "?", truths or ("5",)), "", f"Here:\n```python\n{code}\n```\n")


def test_programs_run_only_where_that_is_allowed() -> None:
    with pytest.raises(ConfigError, match="allow_execution: true"):
        Program()


@pytest.mark.parametrize("contain", WAYS)
@pytest.mark.parametrize(
    ("code", "statuses"),
    [
        ("print(2 + 3)", "ok"),
        ("import numpy; print(int(numpy.ones((5, 5)).dot(numpy.ones(5))[0]))", "ok"),
        ("while True: pass", "timeout"),
        ("import time; time.sleep(60)", "timeout"),
        ("import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])", "late"),
        ("print('5' * 10**7)", "crash"),
        ("x = [0] * 10**9", "crash"),
        ("open('large', 'w').write('x' * 10**7)", "crash"),
        ("raise ValueError", "crash"),
        ("import os; os._exit(3)", "crash"),
        ("import os; os.kill(os.getpid(), 9)", "crash"),
        ("import sys; print(sys.stdin.read())", "wrong"),
        ("import os; print(os.environ.get('CREDITREE_TEST_SECRET'))", "wrong"),
        ("import os\nfor i in range(3000): os.mkdir('d'); os.chdir('d')\nprint(5)", "any"),
        ("import os\nos.mkdir('d'); os.chmod('d', 0)\nprint(5)", "ok"),
    ],
)
def test_programs_that_misbehave(contain: bool, code: str, statuses: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDITREE_TEST_SECRET", "5")
    (verdict,) = Program(True, deadline_s=0.5 if statuses in ("timeout", "late") else 30.0, contain=contain).judge(
        [answer(code)]
    )
    allowed = {"late": ("timeout", "crash"), "any": ("ok", "crash"), "wrong": ("ok",)}.get(statuses, (statuses,))
    assert verdict.status in allowed  # where no process may be started, waiting for one fails
    assert verdict.reward == (1.0 if verdict.status == "ok" and statuses != "wrong" else 0.0), verdict


HOSTILE = {
    "the caller's processes": "import os\nprint(5 if not os.path.exists('/proc') else os.listdir('/proc'))",
    "the caller's files": "import os\nprint(5 if not os.path.exists({secret!r}) else open({secret!r}).read())",
    "other folders": "import os\n"
    "print(5 if not {{'proc', 'sys', 'boot', 'srv', 'mnt', 'media'}} & set(os.listdir('/')) else os.listdir('/'))",
    "writing to the system": "try: open('/usr/canary', 'w')\nexcept OSError: print(5)",
    "writing to the interpreter": "import os, sys\ntry: open(os.path.join(sys.prefix, 'canary'), 'w')\n"
    "except OSError: print(5)",
    "the network": "import socket\ntry: socket.create_connection(('127.0.0.1', {port}), 2)\nexcept OSError: print(5)",
    "killing its parent": "import os\ntry: os.kill(os.getppid(), 9)\nexcept OSError: pass\nprint(5)",
    "stopping its parent": "import os\ntry: os.kill(os.getppid(), 19)\nexcept OSError: pass\nprint(5)",
    "killing everything": "import os, signal\nsignal.signal(15, signal.SIG_IGN)\nfor target in (-1, 0):\n"
    "    try: os.kill(target, 15)\n    except OSError: pass\nprint(5)",
    "killing the caller": "import os\ntry: os.kill({caller}, 9)\nexcept OSError: print(5)",
    "forking": "import os\ntry: os.fork()\nexcept OSError: print(5)",
    "another user's rights": "import os\ntry: os.setuid(0)\nexcept OSError: print(5)",
    "mounting": "import ctypes\nprint(5 if ctypes.CDLL(None).mount(b'none', b'/tmp', b'tmpfs', 0, None) else 6)",
    "new namespaces": "import ctypes\nprint(5 if ctypes.CDLL(None).unshare(0x10020000) else 6)",
    "segments": "import ctypes\nprint(5 if ctypes.CDLL(None).shmget(0, 1 << 20, 0o1600) < 0 else 6)",
    "shared memory": "open('/dev/shm/canary', 'w').write('x')\nopen('/tmp/canary', 'w').write('x')\nprint(5)",
    "folders without end": "import os\nn = 0\n"
    "while True:\n    try: os.mkdir(str(n)); n += 1\n    except OSError: break\n"
    "print(5 if n < 5000 else n)",
    "files without end": "n = 0\ntry:\n    while True:\n        open(str(n), 'wb').write(bytes(60000)); n += 1\n"
    "except OSError: print(5 if n < 300 else n)",
    "its own folder": "import os\nprint(5 if os.listdir() == ['program.py'] else os.listdir())",
}


@needs_namespaces
@pytest.mark.parametrize("kind", HOSTILE)
def test_a_program_that_is_shut_in_reaches_nothing(kind: str, tmp_path: Path) -> None:
    import socket

    secret = tmp_path / "secret"
    secret.write_text("key")
    with socket.create_server(("127.0.0.1", 0)) as server:
        values = {"secret": str(secret), "port": server.getsockname()[1], "caller": os.getpid()}
        (verdict,) = Program(True, deadline_s=20.0).judge([answer(HOSTILE[kind].format(**values))])
    assert (verdict.reward, verdict.detail) == (1.0, ""), verdict
    assert not Path("/dev/shm/canary").exists()
    assert not Path("/tmp/canary").exists()


def test_programs_can_be_shut_in_wherever_the_system_has_what_that_needs() -> None:
    mount = ["unshare", "--map-root-user", "--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "mount"]
    tool = shutil.which("unshare") and shutil.which("mount")
    if not tool or subprocess.run([*mount, "-t", "tmpfs", "none", "/tmp"], capture_output=True).returncode:
        pytest.skip("no namespaces here, or nothing to try them with")
    assert containment().how != "none", containment().reason


@needs_namespaces
@pytest.mark.parametrize("how", ["root", "user"])
def test_each_way_that_works_shuts_in(how: sandbox.How) -> None:
    if how == "root" and os.geteuid() != 0:
        pytest.skip("this way needs to be root")
    try:
        ran = run("import os; print(os.getpid(), os.listdir())", how, 20.0, 1 << 29)
    except SetupError as error:
        pytest.skip(f"this way does not work here: {error}")
    assert ran == Ran(0, "2 ['program.py']\n")


@pytest.mark.parametrize("contain", WAYS)
def test_folders_and_processes_are_gone_afterwards(
    contain: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    deep = "import os\nfor i in range(3000): os.mkdir('d'); os.chdir('d')\n"
    Program(True, contain=contain).judge([answer(deep), answer("open('kept', 'w').write('x')")])
    limit = time.monotonic() + 30
    while os.listdir(tmp_path) and time.monotonic() < limit:
        time.sleep(0.05)
    assert os.listdir(tmp_path) == []


def test_where_programs_cannot_be_shut_in_they_are_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    missing = Containment("none", "unshare: Operation not permitted")
    monkeypatch.setattr("creditree.verify.program.containment", lambda: missing)
    values = {"name": {"name": "program", "allow_execution": True}}
    with pytest.raises(ConfigError) as raised:
        build_verifier(reward_of(values["name"]))
    assert "unshare: Operation not permitted" in str(raised.value)
    assert "contain: false" in str(raised.value)
    assert "\n" not in str(raised.value)
    canary = tmp_path / "canary"
    (verdict,) = Program(True).judge([answer(f"open({str(canary)!r}, 'w'); print(5)")])
    assert (verdict.reward, verdict.status) == (None, "crash")
    assert "cannot shut programs in" in verdict.detail
    assert not canary.exists()
    build_verifier(reward_of(values["name"] | {"contain": False}))


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RecursionError("deep")], ids=repr)
def test_whatever_fails_in_one_verdict_is_a_crash(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> Ran:
        raise error

    monkeypatch.setattr("creditree.verify.program.run", fails)
    (verdict,) = Program(True, contain=False).judge([answer("print(5)")])
    assert (verdict.reward, verdict.status) == (None, "crash")


def test_what_cannot_be_set_up_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(SetupError, match="/no/such/python"):
        run("print(5)", "none", 5.0, 1 << 29)


HOLDER = """
from creditree.problem import Problem
from creditree.verify.program import Program
from creditree.verify.verifier import Answer
code = "import os, time\\nopen({mark!r}, 'w').write(str(os.getpid()))\\ntime.sleep(300)"
text = f"```python\\n{{code}}\\n```"
print("started", flush=True)
Program(True, deadline_s=300.0, contain={contain}).judge([Answer(Problem("p", "?", ("5",)), "", text)])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end a process with its parent")
@pytest.mark.parametrize("contain", WAYS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_program_ends_with_the_caller(contain: bool, number: signal.Signals, tmp_path: Path) -> None:
    code = HOLDER.format(mark="/tmp/mark" if contain else str(tmp_path / "mark"), contain=contain)
    caller = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    found: list[int] = []
    limit = time.monotonic() + 60
    while time.monotonic() < limit and not found:
        time.sleep(0.1)
        found = [process for process in descendants(caller.pid) if b"program.py" in command_of(process)]
    assert found
    caller.send_signal(number)
    caller.wait(60)
    assert caller.stdout is not None
    caller.stdout.close()
    assert all(map(ended, found))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end a process with its parent")
@pytest.mark.parametrize("contain", WAYS)
def test_a_program_whose_caller_ended_while_it_was_prepared_does_not_run(contain: bool, tmp_path: Path) -> None:
    """Its caller is gone before the system is asked to end it with that: nobody reads its report."""
    how = containment().how if contain else "none"
    unread, report = os.pipe()
    os.close(unread)
    spec = sandbox._spec(how, 30.0, 1 << 29, report)
    with open(tmp_path / "printed", "w+b") as printed:
        command = [sys.executable, "-I", "-S", confined.__file__, json.dumps(spec)]
        code = subprocess.run(
            command, input=b"print(5)", stdout=printed, cwd=tmp_path, pass_fds=[report], timeout=60
        ).returncode
    os.close(report)
    assert (code, (tmp_path / "printed").read_bytes()) == (1, b"")


def descendants(process: int) -> list[int]:
    children = [int(one) for task in Path(f"/proc/{process}/task").glob("*") for one in read(task / "children").split()]
    return children + [one for child in children for one in descendants(child)]


def command_of(process: int) -> bytes:
    return read(Path(f"/proc/{process}/cmdline"))


def read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_the_first_process_imports_nothing_of_ours() -> None:
    assert "creditree" not in {line.split()[1] for line in Path(confined.__file__).read_text().splitlines()
                               if line.startswith(("import ", "from "))}  # fmt: skip
