"""Taichi's workers have a processor each, if Taichi is ours and there is one for each."""

import json
import os
import subprocess
import sys

import pytest

from taichi_softras import affinity

PINS = hasattr(os, "sched_setaffinity")
PROCESSORS = len(os.sched_getaffinity(0)) if PINS else 0

pytestmark = pytest.mark.skipif(not PINS, reason="only Linux pins threads")

PROGRAM = """
import json, os, sys
import torch
import taichi as ti
import taichi_softras as tsr
if "host" in sys.argv:
    ti.init(arch=ti.cpu, log_level=ti.WARN)
processors = os.sched_getaffinity(0)
tsr.init("cpu")
def busy():
    return {int(t): int(open(f"/proc/self/task/{t}/schedstat").read().split()[0])
            for t in os.listdir("/proc/self/task")}
mesh, camera = tsr.shapes.icosphere(3), tsr.Camera.orbit(2.7, 20.0, 30.0, image_size=128)
tsr.render(mesh, camera)
before = busy()
for _ in range(100):
    tsr.render(mesh, camera)
after = busy()
pinned = [t for t in after if len(os.sched_getaffinity(t)) == 1]
worked = [after[t] - before.get(t, 0) for t in pinned]
print(json.dumps([len(processors), len(pinned), worked]))
"""


def ask(*arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=os.environ | {"TI_SKIP_VERSION_CHECK": "ON", affinity.VARIABLE: ""} | environment,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(PROCESSORS < 2, reason="needs two processors")
def test_each_worker_has_a_processor_and_it_is_the_workers_that_have():
    processors, pinned, worked = ask()
    assert pinned == processors
    assert all(nanoseconds > 1e6 for nanoseconds in worked)


def test_the_host_may_forbid_it():
    assert ask(**{affinity.VARIABLE: "0"})[1] == 0


def test_a_hosts_own_taichi_is_left_alone():
    assert ask("host")[1] == 0


def test_an_unknown_taichi_is_left_alone(monkeypatch):
    class Config:
        arch, num_compile_threads, cpu_max_num_threads = affinity.ti.x64, 4, 2

    monkeypatch.setattr(affinity.ti.lang.impl, "current_cfg", Config)
    assert affinity._workers({10, 11, 12, 13, 14, 15}) == [14, 15]
    assert affinity._workers({10, 11, 12, 13, 14}) == []
    monkeypatch.setattr(affinity, "KNOWN_VERSIONS", ())
    assert affinity._workers({10, 11, 12, 13, 14, 15}) == []
