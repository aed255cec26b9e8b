"""From a renderer's fields to triangles, and their gradients back to the fields.

What is nonlinear runs in stages whose adjoints Taichi derives; what is shared is copied and summed
by hand. A render's `Snapshot` holds all values that its adjoint needs, so fields may change, or
be rendered again, before the tape runs backwards.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from taichi_softras.device_memory import DeviceMemory
from taichi_softras.kernels.corners import corner_kernels, normal_kernels
from taichi_softras.kernels.rows import field_kernels
from taichi_softras.kernels.sharing import PARTS, sharing_kernels
from taichi_softras.kernels.vertex import CAMERA, CLIP, LIGHT, vertex_kernels
from taichi_softras.pipeline import CornerLists
from taichi_softras.tape.fields import CameraFields, Field, Fields, LightFields, has_gradient
from taichi_softras.tape.layout import Layout
from taichi_softras.tape.stage import Stage

Array = Any


class Connectivity:
    """Faces, and the corners of each vertex, on the device."""

    def __init__(self, layout: Layout) -> None:
        owners = layout.triangles.reshape(-1)
        start = np.concatenate([[0], np.bincount(owners, minlength=layout.vertices).cumsum()])
        self._memory = DeviceMemory(layout.dtype)
        self.faces = self._memory.upload(layout.triangles)
        self.corner_start = self._memory.upload(start.astype(np.int32))
        self.corner_of = self._memory.upload(np.argsort(owners, kind="stable").astype(np.int32))

    @property
    def corner_lists(self) -> CornerLists:
        """The corners of each vertex."""
        return CornerLists(self.corner_start, self.corner_of)


class Shading(NamedTuple):
    """What lighting reads."""

    light: Array  # [1, LIGHT]
    world_corners: Array  # [S * F, 9]
    rows: Array  # [A * V, 6 + LIGHT]


class Snapshot(NamedTuple):
    """Values of one render, as its adjoint needs them."""

    points: Array  # [S * V, 3]
    cameras: Array  # [B, CAMERA]
    rows: Array  # [B * V, 3 + CLIP]
    colors: Array | None  # [color sets * V, C]
    shading: Shading | None


class Triangles(NamedTuple):
    """Triangles as `pipeline.Scene` holds them, or their gradients."""

    points: Array  # [B * V, 3]
    attributes: Array | None  # [A * F, 3, C]


class Vertices:
    """The part of a renderer that comes before rasterization."""

    def __init__(
        self,
        fields: Fields,
        layout: Layout,
        connectivity: Connectivity,
        *,
        vertices: Field,
        colors: Field | None,
        camera: CameraFields,
        light: LightFields | None,
    ) -> None:
        self._layout, self._connectivity = layout, connectivity
        self._vertices, self._colors, self._camera, self._light = vertices, colors, camera, light
        self._fields = field_kernels(fields.dtype)
        self._share = sharing_kernels(fields.dtype)
        self._corners = corner_kernels(fields.dtype, False)
        self._triangles = corner_kernels(fields.dtype, True)
        self._normals = normal_kernels(fields.dtype)
        self._lens = (math.pi / 360.0, layout.size[0] / min(layout.size))
        kernels, n = vertex_kernels(fields.dtype), layout.views * layout.vertices
        self._look_at = Stage(kernels.look_at, fields, layout.views, CAMERA, CLIP)
        self._project = Stage(kernels.project, fields, n, 3 + CLIP, 3)
        if light is not None:
            n_faces, n_shown = (
                layout.vertex_sets * layout.faces,
                layout.shown_sets * layout.vertices,
            )
            self._area = Stage(kernels.area, fields, n_faces, 9, 3)
            self._shade = Stage(kernels.shade, fields, n_shown, 6 + LIGHT, 3)

    def forward(self, memory: DeviceMemory) -> tuple[Triangles, Snapshot]:
        """Project and light the vertices as the fields are now."""
        n, share = self._layout, self._share
        points = memory.reals(n.points, 3)
        self._fields.read(self._vertices, points)
        cameras = memory.reals(n.views, CAMERA)
        camera = self._camera
        self._fields.read_camera(camera.eye, camera.at, camera.up, camera.fov, cameras)
        clips = self._look_at.run(memory, cameras, *self._lens)
        n_rows = n.views * n.vertices
        rows = memory.reals(n_rows, 3 + CLIP)
        share.to_points(points, clips, n_rows, n.vertices, n.points, rows)
        ndc = self._project.run(memory, rows)
        share.mark_broken(points, n_rows, n.points, 3, math.nan, ndc)
        if self._colors is None:
            return Triangles(ndc, None), Snapshot(points, cameras, rows, None, None)
        colors = memory.reals(n.color_sets * n.vertices, n.channels)
        self._fields.read(self._colors, colors)
        shown, shading = colors, None
        if self._light is not None:
            shown, shading = self._lit(memory, points, colors, self._light)
        attributes = self._at_corners(memory, shown, n.shown_sets, n.channels)
        return Triangles(ndc, attributes), Snapshot(points, cameras, rows, colors, shading)

    def adjoint(self, memory: DeviceMemory, snapshot: Snapshot, d: Triangles) -> None:
        """Add the gradients of a render's triangles to the fields' gradients."""
        n, share = self._layout, self._share
        n_rows = n.views * n.vertices
        d_rows = self._project.pull(memory, snapshot.rows, d.points)
        d_clips = self._sum(memory, d_rows, n.views, n.vertices, 3, CLIP)
        d_cameras = self._look_at.pull(memory, snapshot.cameras, d_clips, *self._lens)
        camera = self._camera
        self._fields.add_camera(d_cameras, camera.eye, camera.at, camera.up, camera.fov)
        d_points = memory.reals(n.points, 3)
        share.sum_sets(d_rows, n_rows // n.points, n.points, 0, 3, 0, d_points)
        if d.attributes is not None:
            d_shown = self._at_vertices(memory, d.attributes, n.shown_sets, n.channels)
            if snapshot.shading is not None:
                d_shown = self._unlit(memory, snapshot.shading, d_shown, d_points)
            if has_gradient(self._colors):
                self._fields.add(d_shown, self._colors)
        if has_gradient(self._vertices):
            self._fields.add(d_points, self._vertices)

    def _lit(
        self, memory: DeviceMemory, points: Array, colors: Array, light: LightFields
    ) -> tuple[Array, Shading]:
        """Light the colours: [A * V, C]."""
        n, share, mesh = self._layout, self._share, self._connectivity
        values = memory.reals(1, LIGHT)
        self._fields.read_light(*light.all(), values)
        n_faces = n.vertex_sets * n.faces
        world_corners = memory.reals(n_faces, 9)
        self._triangles[0](points, mesh.faces, n_faces, n.vertices, n.faces, 3, world_corners)
        areas = self._area.run(memory, world_corners)
        normals = memory.reals(n.points, 3)
        self._normals[0](
            areas, mesh.corner_start, mesh.corner_of, n.points, n.vertices, n.faces, normals
        )
        n_rows, n_colors = n.shown_sets * n.vertices, n.color_sets * n.vertices
        rows = memory.reals(n_rows, 6 + LIGHT)
        share.to_lights(normals, colors, values, n_rows, n.points, n_colors, rows)
        lit = self._shade.run(memory, rows)
        shown = memory.reals(n_rows, n.channels)
        share.from_lights(lit, colors, n_rows, n_colors, n.channels, shown)
        share.mark_broken(colors, n_rows, n_colors, n.channels, math.nan, shown)
        return shown, Shading(values, world_corners, rows)

    def _unlit(
        self, memory: DeviceMemory, shading: Shading, d_shown: Array, d_points: Array
    ) -> Array:
        """Turn dL/d(lit colours) into dL/d(colours), adding to d_points and the light."""
        n, share, mesh = self._layout, self._share, self._connectivity
        d_rows = self._shade.pull(memory, shading.rows, d_shown)
        if self._light is not None:
            n_rows = n.shown_sets * n.vertices
            d_light = self._sum(memory, d_rows, 1, n_rows, 6, LIGHT)
            self._fields.add_light(d_light, *self._light.all())
        d_normals = memory.reals(n.points, 3)
        share.sum_sets(d_rows, n.shown_sets // n.vertex_sets, n.points, 0, 3, 0, d_normals)
        n_faces = n.vertex_sets * n.faces
        d_areas = memory.reals(n_faces, 3)
        self._normals[1](d_normals, mesh.faces, n_faces, n.vertices, n.faces, d_areas)
        d_corners = self._area.pull(memory, shading.world_corners, d_areas)
        by_normals = memory.reals(n.points, 3)
        self._triangles[1](
            d_corners, mesh.corner_start, mesh.corner_of, n.points, n.vertices, n.faces, 3,
            by_normals,
        )  # fmt: skip
        share.add(by_normals, n.points, 3, d_points)
        n_colors = n.color_sets * n.vertices
        d_colors, sharing = memory.reals(n_colors, n.channels), n.shown_sets // n.color_sets
        share.sum_sets(d_rows, sharing, n_colors, 3, 3, 0, d_colors)
        share.sum_sets(d_shown, sharing, n_colors, 3, n.channels - 3, 3, d_colors)
        return d_colors

    def _at_corners(self, memory: DeviceMemory, values: Array, sets: int, width: int) -> Array:
        n, faces = self._layout, self._connectivity.faces
        corners = memory.reals(sets * n.faces, 3, width)
        self._corners[0](values, faces, sets * n.faces, n.vertices, n.faces, width, corners)
        return corners

    def _at_vertices(self, memory: DeviceMemory, d_corners: Array, sets: int, width: int) -> Array:
        n, mesh = self._layout, self._connectivity
        d_values = memory.reals(sets * n.vertices, width)
        self._corners[1](
            d_corners, mesh.corner_start, mesh.corner_of, sets * n.vertices, n.vertices, n.faces,
            width, d_values,
        )  # fmt: skip
        return d_values

    def _sum(
        self, memory: DeviceMemory, rows: Array, groups: int, n_rows: int, first: int, width: int
    ) -> Array:
        total = memory.reals(groups, width)
        partial = memory.reals(groups * PARTS, width)
        self._share.sum_parts(rows, groups, n_rows, first, width, partial, total)
        return total
