"""From projected triangles to images and back, on every backend and for every front end.

Knows neither torch nor Taichi's fields. Arrays come from a `Memory`: torch tensors where Taichi
runs on the tensors' device, arrays of Taichi elsewhere.
"""

from taichi_softras.pipeline.passes import adjoint as adjoint
from taichi_softras.pipeline.passes import forward as forward
from taichi_softras.pipeline.passes import restore as restore
from taichi_softras.pipeline.plan import Array as Array
from taichi_softras.pipeline.plan import CornerLists as CornerLists
from taichi_softras.pipeline.plan import Memory as Memory
from taichi_softras.pipeline.plan import Plan as Plan
from taichi_softras.pipeline.plan import Scene as Scene
from taichi_softras.pipeline.results import Gradients as Gradients
from taichi_softras.pipeline.results import Leftovers as Leftovers
from taichi_softras.pipeline.results import Needs as Needs
from taichi_softras.pipeline.results import Rendered as Rendered
from taichi_softras.pipeline.workspace import Workspace as Workspace
