"""Soft rasterization in Taichi, differentiable everywhere."""

from taichi_softras import reference as reference
from taichi_softras.errors import ArgumentError as ArgumentError
from taichi_softras.errors import BackendError as BackendError
from taichi_softras.errors import DerivativeError as DerivativeError
from taichi_softras.errors import FileError as FileError
from taichi_softras.errors import ShapeError as ShapeError
from taichi_softras.errors import SoftRasError as SoftRasError
from taichi_softras.inputs import Rendering as Rendering
from taichi_softras.inputs import SkippedFaces as SkippedFaces
from taichi_softras.runtime import init as init
from taichi_softras.settings import RasterSettings as RasterSettings
from taichi_softras.torch_bridge import rasterize as rasterize
