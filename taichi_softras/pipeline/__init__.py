"""From projected triangles to images and back, on every backend and for every front end.

Knows neither torch nor Taichi's fields. Arrays come from a `Memory`: torch tensors where Taichi
runs on the tensors' device, arrays of Taichi elsewhere.
"""

from taichi_softras.pipeline.binning import Tiles as Tiles
from taichi_softras.pipeline.binning import bin_faces as bin_faces
from taichi_softras.pipeline.passes import Gradients as Gradients
from taichi_softras.pipeline.passes import Needs as Needs
from taichi_softras.pipeline.passes import Rendered as Rendered
from taichi_softras.pipeline.passes import adjoint as adjoint
from taichi_softras.pipeline.passes import forward as forward
from taichi_softras.pipeline.plan import Array as Array
from taichi_softras.pipeline.plan import CornerLists as CornerLists
from taichi_softras.pipeline.plan import Memory as Memory
from taichi_softras.pipeline.plan import Plan as Plan
from taichi_softras.pipeline.plan import Scene as Scene
