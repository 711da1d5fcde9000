"""The viewer answers to this machine's own name alone, and with nothing but the run."""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from creditree.errors import RunError
from creditree.runs.directory import RunDirectory
from creditree.view.server import Server, serving
from tests.stored_run import HOSTILE, stored_run, write_trees


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored_run(tmp_path_factory.mktemp("served") / "run")


@pytest.fixture(scope="module")
def server(path: Path) -> Iterator[Server]:
    with serving(path, port=0) as running:
        until(running, lambda state: state["indexed"] == 2)
        yield running


def got(server: Server, address: str, host: str | None = None, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    try:
        connection.request(method, address, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def of_json(server: Server, address: str) -> Any:
    status, text, _ = got(server, address)
    assert status == 200, text
    return json.loads(text)


def until(server: Server, holds: Any) -> Any:
    ends = monotonic() + 60
    while monotonic() < ends:
        state = of_json(server, "/state")
        if holds(state):
            return state
        sleep(0.05)
    raise AssertionError(state)


def test_it_listens_on_this_machine_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example", ""])
def test_another_host_is_refused(server: Server, host: str) -> None:
    status, text, _ = got(server, "/state", host=host or " ")
    assert status in (400, 403)
    assert "completions" not in text


def test_its_own_names_are_answered_under_a_strict_policy(server: Server) -> None:
    status, text, headers = got(server, "/", host=f"localhost:{server.server_port}")
    assert status == 200
    assert HOSTILE not in text
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "address", ["/config.yaml", "/../../etc/passwd", "/..%2f..%2fetc/passwd", "//etc/passwd", "/rollouts/"]
)
def test_nothing_but_its_pages_is_served(server: Server, address: str) -> None:
    status, text, _ = got(server, address)
    assert status == 404
    assert "root:" not in text


def test_nothing_can_be_written(server: Server) -> None:
    assert got(server, "/", method="POST")[0] == 501
    assert got(server, "/", method="DELETE")[0] == 501


def test_a_search_and_the_trees_that_it_leads_to(server: Server) -> None:
    found = of_json(server, "/search?reward_least=1&step_least=20&problem=p-1")
    assert (found["total"], found["of"]) == (2, 14)
    row = found["rows"][0]
    forest = of_json(server, f"/forest?step={row['step']}&place={row['place']}")
    assert forest["id"] == "p-1"
    assert forest["trees"][row["tree"]]["leaves"][row["branch"]]["reward"] == 1


@pytest.mark.parametrize(
    "address",
    ["/search?reward_least=x", "/search?colour=1", "/forest", "/forest?step=1&place=0", "/forest?step=20&place=9"],
)
def test_what_makes_no_sense_is_one_sentence(server: Server, address: str) -> None:
    status, text, _ = got(server, address)
    assert status == 400
    assert json.loads(text)["error"].endswith((".", "0)"))


def test_new_steps_appear_by_themselves(tmp_path: Path) -> None:
    stored_run(tmp_path, ended=False, kept=(10,))
    with (
        serving(tmp_path, port=0) as running,
        RunDirectory.resume(tmp_path, (tmp_path / "config.yaml").read_text()) as run,
    ):
        before = until(running, lambda state: state["indexed"] == 1)
        write_trees(run, 20)
        run.append({"step": 21, "reward_mean": 0.5})
        after = until(running, lambda state: state["indexed"] == 2)
        assert (before["completions"], after["completions"]) == (7, 14)
        assert before["version"] != after["version"]
        assert not after["ended"]
        assert "step 21 of 20" in got(running, "/overview")[1]


def test_a_port_that_is_taken_is_one_sentence(server: Server, path: Path) -> None:
    with (
        pytest.raises(RunError, match=r"^port \d+ cannot be listened on .*; choose another `port`, or 0\.$"),
        serving(path, server.server_port),
    ):
        pass
