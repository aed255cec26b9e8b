"""The steps of a rendering as functions of tensors, under their original names."""

from taichi_softras.compat.soft_renderer.functional.cameras import (
    get_points_from_angles as get_points_from_angles,
)
from taichi_softras.compat.soft_renderer.functional.cameras import look as look
from taichi_softras.compat.soft_renderer.functional.cameras import look_at as look_at
from taichi_softras.compat.soft_renderer.functional.cameras import orthogonal as orthogonal
from taichi_softras.compat.soft_renderer.functional.cameras import perspective as perspective
from taichi_softras.compat.soft_renderer.functional.cameras import projection as projection
from taichi_softras.compat.soft_renderer.functional.lights import (
    ambient_lighting as ambient_lighting,
)
from taichi_softras.compat.soft_renderer.functional.lights import (
    directional_lighting as directional_lighting,
)
from taichi_softras.compat.soft_renderer.functional.obj import load_obj as load_obj
from taichi_softras.compat.soft_renderer.functional.obj import load_textures as load_textures
from taichi_softras.compat.soft_renderer.functional.obj import save_obj as save_obj
from taichi_softras.compat.soft_renderer.functional.obj import save_voxel as save_voxel
from taichi_softras.compat.soft_renderer.functional.rasterization import (
    soft_rasterize as soft_rasterize,
)
from taichi_softras.compat.soft_renderer.functional.surface import face_vertices as face_vertices
from taichi_softras.compat.soft_renderer.functional.surface import (
    surface_normals as surface_normals,
)
from taichi_softras.compat.soft_renderer.functional.surface import vertex_normals as vertex_normals
from taichi_softras.compat.soft_renderer.functional.voxels import voxelization as voxelization
