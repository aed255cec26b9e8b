"""A display, a process with a window in it, and hands for mouse and keyboard."""

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from taichi_softras.viewer import panel

PROGRAMS = ("Xvfb", "xdotool", "import")
LAVAPIPE = Path("/usr/share/vulkan/icd.d/lvp_icd.x86_64.json")
PATIENCE = 180.0


def need_programs():
    """Skip, saying what is missing; `.ci/run` installs it."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: apt install xvfb xdotool imagemagick")


@contextmanager
def display():
    """Start an X server on a display that is free, and yield the environment for its clients."""
    read, write = os.pipe()
    # -noreset: otherwise it starts anew, and refuses clients for a moment, when the last one left
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x900x24", "-noreset"]
    server = subprocess.Popen(command, pass_fds=(write,), stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as number:
            name = f":{number.readline().strip()}"
        yield {**os.environ, "DISPLAY": name, "VK_ICD_FILENAMES": str(LAVAPIPE)}
    finally:
        server.terminate()
        server.wait(10)


class Viewer:
    """A viewer in a process of its own, seen and used through the X server."""

    def __init__(self, env, log, *command):
        self.env = env
        with open(log, "w") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command], env=env, stdout=output, stderr=subprocess.STDOUT
            )
        self._log = log
        self.window = self._find()
        where = self.xdotool("getwindowgeometry", "--shell", self.window)
        values = dict(line.split("=") for line in where.split())
        self._at = int(values["X"]), int(values["Y"])

    def xdotool(self, *words):
        done = subprocess.run(
            ["xdotool", *map(str, words)],
            env=self.env, capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        return done.stdout.strip()

    def _find(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            # the legacy window adds its frame rate to the name, after its first second
            found = self.xdotool("search", "--onlyvisible", "--name", "^softras").split()
            if found:
                return found[-1]
            assert self.process.poll() is None, Path(self._log).read_text()
            time.sleep(0.2)
        raise AssertionError("no window: " + Path(self._log).read_text())

    def grab(self):
        """The window's pixels. [H, W, 3]"""
        words = ["import", "-silent", "-window", self.window, "-depth", "8", "rgb:-"]
        done = subprocess.run(words, env=self.env, capture_output=True, timeout=30, check=True)
        width, height = panel.FRAME
        image = Image.frombytes("RGB", (width, height), done.stdout)
        return np.asarray(image).astype(float)

    def settled(self, changed_from=None):
        """The window's pixels once they stay the same, and differ from an earlier picture."""
        end, last, still = time.monotonic() + PATIENCE, None, 0
        while time.monotonic() < end:
            now = self.grab()
            # not the panel, where the frame time is written
            picture = now[:, panel.PICTURE.x :]
            still = still + 1 if last is not None and (picture == last).all() else 0
            last = picture
            differs = changed_from is None or np.abs(picture - changed_from).mean() > 0.2
            if still >= 5 and differs and picture.std() > 5.0:
                return picture
            time.sleep(0.25)
        raise AssertionError("the picture did not settle")

    def drag(self, start, end, button=1, steps=6):
        self.move(*start)
        time.sleep(0.3)
        self.xdotool("mousedown", button)
        time.sleep(0.3)
        for i in range(1, steps + 1):
            t = i / steps
            self.move(*(a + t * (b - a) for a, b in zip(start, end, strict=True)))
            time.sleep(0.1)
        time.sleep(0.3)
        self.xdotool("mouseup", button)

    def move(self, x, y):
        self.xdotool("mousemove", round(self._at[0] + x), round(self._at[1] + y))

    def key(self, name):
        self.xdotool("key", name)

    def ended(self):
        """The exit code, once the process has ended by itself."""
        return self.process.wait(PATIENCE)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def sharpness(pixels):
    """Sum of how much neighbouring pixels differ, squared: sharp edges count most."""
    return float((np.diff(pixels, axis=0) ** 2).sum() + (np.diff(pixels, axis=1) ** 2).sum())
