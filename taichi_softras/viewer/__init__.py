"""A window in which softness can be seen and felt; all of it also runs without one."""

from taichi_softras.viewer.headless import write_frames as write_frames
from taichi_softras.viewer.loop import open_window as open_window
from taichi_softras.viewer.loop import run as run
from taichi_softras.viewer.scene import open_scene as open_scene
from taichi_softras.viewer.session import Session as Session
from taichi_softras.viewer.state import ViewState as ViewState
