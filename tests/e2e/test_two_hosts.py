"""Two hosts: network namespaces with own addresses, a Ray node in each, a run across them, a line that is cut."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.command import ENVIRONMENT, write_config

HOSTS = {"creditree-a": "10.231.7.1", "creditree-b": "10.231.7.2"}
HEAD, ADDRESS = "creditree-a", "10.231.7.1:6399"
CUT_S = 10.0
RAY = [sys.executable, "-m", "ray.scripts.scripts"]
QUIET = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef0123456789abcdef",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_agent_register_timeout_ms": "300000",
}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def on(host: str, command: list[str], **more: str) -> subprocess.Popen[str]:
    """Start a command on a host."""
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *command],
        env=ENVIRONMENT | QUIET | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def link(state: str) -> None:
    ip("netns", "exec", HEAD, "ip", "link", "set", "creditree-va", state)


def killed(host: str) -> None:
    """End all that runs on a host, at once."""
    pids = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True, check=False).stdout.split()
    if pids:
        subprocess.run(["kill", "-9", *pids], check=False, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[None]:
    """Make two hosts with a line between them; skip where this machine cannot."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("two hosts are made with `ip netns`, which takes root and iproute2")
    try:
        for host in HOSTS:
            ip("netns", "add", host)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespaces: {error.stderr.decode().strip()}")
    try:
        ip("link", "add", "creditree-va", "type", "veth", "peer", "name", "creditree-vb")
        for host, name in zip(HOSTS, ("creditree-va", "creditree-vb"), strict=True):
            ip("link", "set", name, "netns", host)
            ip("netns", "exec", host, "ip", "addr", "add", f"{HOSTS[host]}/24", "dev", name)
            ip("netns", "exec", host, "ip", "link", "set", name, "up")
            ip("netns", "exec", host, "ip", "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            killed(host)
            subprocess.run(["ip", "netns", "del", host], check=False, capture_output=True)


def joined(temporary: Path) -> None:
    """Start a Ray node with one CPU on each host."""
    first = ["--head", "--port=6399", f"--temp-dir={temporary}", "--include-dashboard=false"]
    for host, words in ((HEAD, first), ("creditree-b", [f"--address={ADDRESS}"])):
        node = on(host, [*RAY, "start", *words, f"--node-ip-address={HOSTS[host]}", "--num-cpus=1"])
        out, _ = node.communicate(timeout=300)
        assert node.returncode == 0, out


COMMAND = [sys.executable, "-m", "creditree", "train"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the configuration's folder, with a run by two workers on one host."""
    folder = tmp_path_factory.mktemp("hosts")
    write_config(
        folder / "c.yaml",
        train={"steps": 40, "problems_per_step": 4, "learning_rate": 4e-3, "threads": 1},
        evaluation={"problems": 8, "temperatures": [0]},
    )
    command = [*COMMAND, str(folder / "c.yaml"), "--workers", "2", "--run", str(folder / "here")]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=500)
    assert run.returncode == 0, run.stderr
    return folder


def begun(folder: Path, run: Path) -> subprocess.Popen[str]:
    """Start a run across both hosts, and wait until it has made a few steps."""
    joined(Path("/tmp") / f"ray-{os.getpid()}-{run.parent.name[-6:]}")  # short: sockets lie below it
    across = on(HEAD, [*COMMAND, str(folder / "c.yaml"), "--workers", "2", "--run", str(run)], RAY_ADDRESS=ADDRESS)
    until = time.monotonic() + 400
    while steps_of(run) < 3 and time.monotonic() < until:
        assert across.poll() is None, across.communicate()[0]
        time.sleep(0.02)
    return across


def steps_of(run: Path) -> int:
    metrics = run / "metrics.jsonl"
    return metrics.read_text(encoding="utf-8").count("\n") if metrics.exists() else 0


def assert_same(run: Path, other: Path) -> None:
    adapters = [(path / "adapter" / "adapter_model.safetensors").read_bytes() for path in (run, other)]
    assert adapters[0] == adapters[1]
    summaries = [json.loads((path / "summary.json").read_text()) for path in (run, other)]
    assert summaries[0]["after"] == summaries[1]["after"]


@pytest.mark.slow
def test_a_run_across_two_hosts_outlives_a_line_that_is_cut(hosts: None, here: Path, tmp_path: Path) -> None:
    across = begun(here, tmp_path / "run")
    link("down")
    done = steps_of(tmp_path / "run")
    time.sleep(CUT_S)
    stood = steps_of(tmp_path / "run")
    link("up")
    out, _ = across.communicate(timeout=500)
    assert across.returncode == 0, out
    assert stood <= done + 1 < 40  # the other host had work in hand, and the run waited for it
    assert_same(tmp_path / "run", here / "here")


@pytest.mark.slow
def test_a_run_across_two_hosts_goes_on_without_one_that_is_lost(hosts: None, here: Path, tmp_path: Path) -> None:
    across = begun(here, tmp_path / "run")
    killed("creditree-b")
    out, _ = across.communicate(timeout=500)
    assert across.returncode == 0, out
    assert "died; another takes its place" in out
    assert_same(tmp_path / "run", here / "here")
