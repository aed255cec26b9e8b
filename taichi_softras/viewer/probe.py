"""Which windows this machine can open, found out in processes that may crash."""

import os
import subprocess
import sys
from typing import Literal

Vulkan = Literal["gpu", "cpu", "none"]

_TIMEOUT = 30.0
_HEADER = """
import os
os.environ["ENABLE_TAICHI_HEADER_PRINT"] = "0"
os.environ["TI_SKIP_VERSION_CHECK"] = "ON"
import taichi as ti
ti.init(arch=ti.cpu, log_level=ti.ERROR)
"""
# GGUI ends the process on some drivers, so it has to show its worth: a drawn frame, read back.
_GGUI = (
    _HEADER
    + """
window = ti.ui.Window("probe", (64, 64), show_window=False)
window.get_canvas().set_background_color((1.0, 0.0, 0.0))
assert window.get_image_buffer_as_numpy()[..., 0].min() > 0.5
print("works")
"""
)
# Type 4 of VkPhysicalDeviceProperties is a processor that pretends to be a GPU.
_DEVICES = """
import ctypes, ctypes.util, sys
names = {"win32": "vulkan-1", "darwin": "libvulkan.dylib"}
vk = ctypes.CDLL(names.get(sys.platform, "libvulkan.so.1"))
class Info(ctypes.Structure):
    _fields_ = [("type", ctypes.c_uint32), ("next", ctypes.c_void_p), ("flags", ctypes.c_uint32),
                ("app", ctypes.c_void_p), ("n_layers", ctypes.c_uint32),
                ("layers", ctypes.c_void_p), ("n_extensions", ctypes.c_uint32),
                ("extensions", ctypes.c_void_p)]
instance, count = ctypes.c_void_p(), ctypes.c_uint32()
assert vk.vkCreateInstance(ctypes.byref(Info(1)), None, ctypes.byref(instance)) == 0
assert vk.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None) == 0
devices = (ctypes.c_void_p * count.value)()
assert vk.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices) >= 0
for device in devices:
    properties = (ctypes.c_uint32 * 1024)()
    vk.vkGetPhysicalDeviceProperties(ctypes.c_void_p(device), properties)
    print("type", properties[4])
"""
_DISPLAY = """
import ctypes
x11 = ctypes.CDLL("libX11.so.6")
x11.XOpenDisplay.restype = ctypes.c_void_p
assert x11.XOpenDisplay(None)
print("works")
"""


def has_display() -> bool:
    """Whether windows can be opened: always on macOS and Windows, with an X server elsewhere."""
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY")) and "works" in _said(_DISPLAY)


def vulkan_device() -> Vulkan:
    """Tell whether GGUI works, and whether a GPU or the processor would draw for it."""
    if "works" not in _said(_GGUI):
        return "none"
    types = [line for line in _said(_DEVICES).splitlines() if line.startswith("type ")]
    return "cpu" if types and all(line == "type 4" for line in types) else "gpu"


def _said(program: str) -> str:
    """Run Python in a process of its own and return what it printed, however it ended."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
            timeout=_TIMEOUT, check=False,
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError):
        return ""
    return done.stdout if done.returncode == 0 else ""
