"""The Soft Rasterizer's own names, over this library: change the import, keep the program.

    import taichi_softras.compat.soft_renderer as sr  # was: import soft_renderer as sr

Pictures follow the formulas of Liu et al.'s code: its camera (which mirrors left and right), half
fields of view, background weight, affine colours, texels. Gradients are exact, tensors may lie
wherever Taichi runs, and nothing is moved to a GPU. docs/migrating.md says what differs.
"""

from taichi_softras.compat.soft_renderer import functional as functional
from taichi_softras.compat.soft_renderer.lighting import AmbientLighting as AmbientLighting
from taichi_softras.compat.soft_renderer.lighting import DirectionalLighting as DirectionalLighting
from taichi_softras.compat.soft_renderer.lighting import Lighting as Lighting
from taichi_softras.compat.soft_renderer.losses import FlattenLoss as FlattenLoss
from taichi_softras.compat.soft_renderer.losses import LaplacianLoss as LaplacianLoss
from taichi_softras.compat.soft_renderer.mesh import Mesh as Mesh
from taichi_softras.compat.soft_renderer.rasterizer import SoftRasterizer as SoftRasterizer
from taichi_softras.compat.soft_renderer.renderer import SoftRenderer as SoftRenderer
from taichi_softras.compat.soft_renderer.transform import Look as Look
from taichi_softras.compat.soft_renderer.transform import LookAt as LookAt
from taichi_softras.compat.soft_renderer.transform import Projection as Projection
from taichi_softras.compat.soft_renderer.transform import Transform as Transform
