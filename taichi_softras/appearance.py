"""What is drawn of a mesh: its colours under light, and the channels that go beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, ShapeError, check_choice
from taichi_softras.lights import Material
from taichi_softras.mesh import Mesh
from taichi_softras.outputs import HARD_OUTPUTS, Output, check_outputs, corner_values
from taichi_softras.phong import blended_inputs
from taichi_softras.settings import RasterSettings
from taichi_softras.shading import Lights, LitMesh, light_mesh, vertex_colors

Shading = Literal["flat", "gouraud", "phong"]


class Drawn(NamedTuple):
    """One mesh as it goes to the rasterizer."""

    mesh: Mesh
    beside: dict[str, Tensor]
    """Further channels at the corners. [1 or B, F, 3, K] each"""


@dataclass(frozen=True, kw_only=True)
class Look:
    """How meshes are lit, and what is wanted of them beside colours; checked on building."""

    light: Lights | None
    material: Material | None
    shading: Shading
    outputs: Sequence[Output]
    settings: RasterSettings

    def __post_init__(self) -> None:
        """Refuse what cannot be drawn, naming the argument."""
        check_choice("shading", self.shading, get_args(Shading))
        check_outputs(self.outputs)
        if self.light is None and self.material is not None:
            raise ArgumentError("`material` shows under a light only; give a `light` too.")
        if self.light is None and self.shading == "phong":
            raise ArgumentError('`shading="phong"` shows under a light only; give a `light` too.')

    @property
    def deferred(self) -> bool:
        """Whether pixels are lit instead of the mesh."""
        return self.shading == "phong" and self.settings.color != "none"

    @property
    def soft(self) -> tuple[str, ...]:
        """Channels beside the colours that every mesh has, features apart."""
        asked = tuple(name for name in self.outputs if name not in HARD_OUTPUTS)
        needed = blended_inputs(self.light, self.material or Material()) if self.deferred else ()
        return tuple(dict.fromkeys(asked + needed))

    @property
    def hard(self) -> bool:
        """Whether anything of the nearest face alone is wanted."""
        return any(name in HARD_OUTPUTS for name in self.outputs)

    def draw(self, mesh: Mesh, camera: Camera, features: Any) -> Drawn:
        """Light one mesh as B cameras see it, and gather what is wanted at its corners."""
        flat = self.shading == "flat"
        lit = LitMesh(mesh, None)
        if self.deferred:
            if mesh.vertex_colors is None and mesh.face_colors is None and mesh.texture is None:
                lit = LitMesh(mesh.replace(vertex_colors=vertex_colors(mesh)), None)
        elif self.light is not None and self.settings.color != "none":
            lit = light_mesh(mesh, self.light, material=self.material, camera=camera, flat=flat)
            if mesh.texture is None:
                lit = LitMesh(lit.joined, None)
        vertices = lit.mesh.vertices
        views = max(len(camera), vertices.shape[0] if vertices.ndim == 3 else 1)
        beside = corner_values(lit.mesh, self.soft, features, views=views, flat=flat)
        if lit.highlights is not None:
            beside["highlights"] = _at_corners(lit.mesh, lit.highlights)
        return Drawn(lit.mesh, beside)

    def draw_each(self, meshes: Sequence[Mesh], camera: Camera, features: Any) -> list[Drawn]:
        """Light different meshes, each as its own view sees it; refuse other numbers of views."""
        if not meshes:
            raise ArgumentError("`mesh` must hold at least one mesh, got an empty sequence.")
        if len(camera) not in (1, len(meshes)):
            raise ShapeError(
                f"`mesh` holds {len(meshes)} meshes, but `camera` holds {len(camera)} views; give "
                "one camera for all meshes or one for each."
            )
        if features is not None and (isinstance(features, Tensor) or len(features) != len(meshes)):
            raise ShapeError(f"`features` must be a sequence of {len(meshes)}, one for each mesh.")
        drawn = [
            self.draw(mesh, camera[i % len(camera)], None if features is None else features[i])
            for i, mesh in enumerate(meshes)
        ]
        if any(d.mesh.vertices.ndim != m.vertices.ndim for d, m in zip(drawn, meshes, strict=True)):
            raise ShapeError(
                "`light` and `material` must be the same for all of a sequence of meshes, got one "
                "a view; shade each mesh by its own with `shade`."
            )
        return drawn


def _at_corners(lit: Mesh, highlights: Tensor) -> Tensor:
    """Highlights of vertices or faces [1 or B, N or 1, 3] at the corners. [1 or B, F, 3, 3]."""
    if lit.face_colors is None:
        return lit.at_corners(highlights.expand(-1, lit.n_vertices, -1))
    return highlights.expand(-1, lit.n_faces, -1)[:, :, None].expand(-1, -1, 3, -1)
