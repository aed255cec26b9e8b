"""The renderer for Taichi programs: a call inside `ti.ad.Tape`, without torch."""

from taichi_softras.tape.fields import CameraFields as CameraFields
from taichi_softras.tape.fields import LightFields as LightFields
from taichi_softras.tape.optimizers import SGD as SGD
from taichi_softras.tape.optimizers import Adam as Adam
from taichi_softras.tape.renderer import Renderer as Renderer
