"""The renderer of Taichi programs: fields in, fields out, on a tape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import taichi as ti

from taichi_softras import pipeline, runtime
from taichi_softras.device_memory import DeviceMemory
from taichi_softras.errors import BackendError
from taichi_softras.kernels.rows import pixel_kernels, softness_sum_kernel
from taichi_softras.pipeline import Needs, Plan, Rendered, Scene
from taichi_softras.settings import RasterSettings
from taichi_softras.skipped import SkippedFaces, warn_about_skipped
from taichi_softras.tape.fields import CameraFields, Field, Fields, LightFields, has_gradient
from taichi_softras.tape.layout import layout_of
from taichi_softras.tape.vertices import Connectivity, Snapshot, Triangles, Vertices


@dataclass(frozen=True)
class _Kept:
    """What the adjoint of one render needs."""

    plan: Plan
    memory: DeviceMemory
    scene: Scene
    rendered: Rendered
    snapshot: Snapshot


class _Call:
    """One call of `render`. A tape holds it as an argument; without a tape it dies with the call.

    So calls need no stack: each adjoint is given its own call, in whatever order.
    """

    kept: _Kept | None = None


class Renderer:
    """Draws one mesh from B cameras, inside or outside of a `ti.ad.Tape`.

    `render` reads the fields `vertices`, `colors`, `camera`, `light`, `sigma` and `gamma`, and
    fills `image`, `alpha` and `depth`. On a tape, gradients of these three are pulled back to
    `.grad` of everything that was read. It may be called several times on a tape: each call
    keeps the values that it read.
    """

    vertices: Field
    """World coordinates: vectors of 3, [V] or [B, V]."""
    colors: Field | None
    """Vertex colours: vectors of C, [V] or [B, V]; None with color="none"."""
    camera: CameraFields
    light: LightFields | None
    """None without `lit`: colours are drawn as they are."""
    sigma: Field
    """Edge softness in squared NDC units, 0-d."""
    gamma: Field
    """Depth softness, unit-less, 0-d."""
    image: Field | None
    """Blended colours: vectors of C, [B, H, W]; None with color="none"."""
    alpha: Field
    """Soft silhouette. [B, H, W]"""
    depth: Field | None
    """View depth under the image's weights. [B, H, W]; None with color="none"."""
    skipped: SkippedFaces
    """Faces that the last render left out."""

    def __init__(
        self,
        *,
        faces: Any,
        n_vertices: int | None = None,
        vertices: Field | None = None,
        colors: Field | None = None,
        size: int | tuple[int, int] = 256,
        views: int = 1,
        channels: int = 3,
        settings: RasterSettings | None = None,
        background: float | Sequence[float] = 0.0,
        lit: bool = False,
        dtype: str = "float32",
    ) -> None:
        """Allocate fields, and compile nothing yet; starts Taichi if nobody has.

        New vertices are zeros, new colours white; cameras look from (0, 0, 3) to the origin; the
        light is `Light`'s default.

        Args:
            faces: Vertex indices, on the host. [F, 3]
            n_vertices: Number V of vertices; may be left out where `vertices` is given.
            vertices: Your own field; without one the renderer makes it.
            colors: Your own field; without one the renderer makes it.
            size: Image height and width in pixels, or one side of a square.
            views: Number B of cameras.
            channels: Number C of colour channels, 1 to 8, for colours that the renderer makes.
            settings: How triangles become pixels; `sigma` and `gamma` there are where the fields
                of these names begin.
            background: A number, or one for each channel; it has no gradient.
            lit: Light the colours (3 or 4 channels) by smooth normals.
            dtype: "float32" or "float64", for fields that the renderer makes; your own decide.

        Raises:
            ArgumentError: A value or the type of a field cannot be used.
            ShapeError: Shapes do not fit each other.
        """
        runtime.init()
        self._program = ti.lang.impl.get_runtime().prog
        settings = settings or RasterSettings()
        layout = layout_of(
            faces=faces,
            n_vertices=n_vertices,
            vertices=vertices,
            colors=colors,
            size=size,
            views=views,
            channels=channels,
            settings=settings,
            background=background,
            lit=lit,
            dtype=dtype,
        )
        if layout.dtype == ti.f64:
            runtime.check_float64("dtype", "use float32")
        if settings.distance == "barycentric" and runtime.backend() == "metal":
            runtime.check_float64("settings.distance", "it is float64 there; use 'euclidean'")
        self._layout, self._settings = layout, settings
        self._connectivity = Connectivity(layout)
        with Fields(layout.dtype) as fields:
            self._make_fields(fields, vertices, colors)
            self._vertices = Vertices(
                fields,
                layout,
                self._connectivity,
                vertices=self.vertices,
                colors=self.colors,
                camera=self.camera,
                light=self.light,
            )
        self._fill_fields(new_colors=colors is None)
        self._memory = DeviceMemory(layout.dtype)
        self._views = self._memory.upload(layout.view_table)
        self._background = self._memory.upload(layout.background)
        self._no_texture = (self._memory.reals(1, 1), self._memory.integers(1))
        self._write, self._take = pixel_kernels(layout.dtype, layout.channels)
        self.skipped = SkippedFaces()

    def render(self) -> None:
        """Draw what the fields hold now.

        Raises:
            BackendError: Taichi was started anew since this renderer was made.
            ArgumentError: sigma or gamma is not positive and finite.
        """
        self._check_alive()
        _render(self, _Call())

    def _make_fields(self, fields: Fields, vertices: Field | None, colors: Field | None) -> None:
        n = self._layout
        colored, pixels = n.channels > 0, (n.views, *n.size)
        self.vertices = vertices or fields.vector(3, (n.vertices,))
        self.colors = colors or (fields.vector(n.channels, (n.vertices,)) if colored else None)
        eye, at, up = (fields.vector(3, (n.views,)) for _ in range(3))
        self.camera = CameraFields(eye, at, up, fields.scalar((n.views,)))
        self.light = LightFields.make(fields) if n.lit else None
        self.sigma, self.gamma = fields.scalar(()), fields.scalar(())
        self.alpha = fields.scalar(pixels)
        self.image = fields.vector(n.channels, pixels) if colored else None
        self.depth = fields.scalar(pixels) if colored else None

    def _fill_fields(self, *, new_colors: bool) -> None:
        self.sigma[None], self.gamma[None] = (
            float(self._settings.sigma),
            float(self._settings.gamma),
        )
        if new_colors and self.colors is not None:
            self.colors.fill(1.0)
        for view in range(self._layout.views):
            self.camera.look_at(view, eye=(0.0, 0.0, 3.0))
        if self.light is not None:
            self.light.set()

    def _check_alive(self) -> None:
        if ti.lang.impl.get_runtime().prog is not self._program:
            raise BackendError(
                "Taichi was started anew (`ti.init` or `ti.reset`) since this renderer was made, "
                "which destroyed its fields; make a new renderer, and new fields, afterwards."
            )

    def _plan(self) -> Plan:
        n = self._layout
        settings = replace(
            self._settings, sigma=float(self.sigma[None]), gamma=float(self.gamma[None])
        )
        return Plan.of(
            settings,
            dtype=n.dtype_name,
            channels=n.channels,
            size=n.size,
            n_views=n.views,
            n_faces=n.views * n.faces,
            n_attributes=n.shown_sets * n.faces,
            background_rows=1,
            n_vertices=n.vertices,
        )

    def _forward(self) -> _Kept:
        plan, memory = self._plan(), DeviceMemory(self._layout.dtype)
        triangles, snapshot = self._vertices.forward(memory)
        attributes = triangles.attributes
        if attributes is None:
            attributes = memory.reals(1, 1, 1)  # without colour nothing reads it
        scene = Scene(
            triangles.points, self._connectivity.faces, attributes, self._views, self._background,
            *self._no_texture,
        )  # fmt: skip
        drawn, rendered = pipeline.forward(plan, memory, scene)
        alpha = self.alpha
        self._write(
            drawn, rendered.left.image, rendered.left.depth,
            alpha, self.image or alpha, self.depth or alpha,
        )  # fmt: skip
        self.skipped = rendered.skipped
        return _Kept(plan, memory, scene, rendered, snapshot)

    def _adjoint(self, kept: _Kept) -> None:
        plan, n, memory = kept.plan, self._layout, DeviceMemory(self._layout.dtype)
        colored = n.channels > 0
        d_alpha = memory.reals(plan.pixels)
        d_image = memory.reals(plan.pixels * n.channels)
        d_depth = memory.reals(plan.pixels if colored else 1)
        alpha = self.alpha
        self._take(alpha, self.image or alpha, self.depth or alpha, d_alpha, d_image, d_depth)
        found = pipeline.adjoint(
            plan, memory, kept.scene, kept.rendered, d_alpha, d_image, d_depth,
            Needs(
                points=True,
                attributes=colored and (n.lit or has_gradient(self.colors)),
                background=False,
                softness=True,
            ),
            self._connectivity.corner_lists,
        )  # fmt: skip
        triangles = Triangles(found.points, found.attributes)
        self._vertices.adjoint(memory, kept.snapshot, triangles)
        softness_sum_kernel(n.dtype)(found.softness, *plan.softness_scales, self.sigma, self.gamma)


@ti.ad.grad_replaced
def _render(renderer: Renderer, call: _Call) -> None:
    with runtime.launching():
        call.kept = renderer._forward()
    warn_about_skipped(renderer.skipped, stacklevel=5)


@ti.ad.grad_for(_render)
def _render_adjoint(renderer: Renderer, call: _Call) -> None:
    renderer._check_alive()
    kept, call.kept = call.kept, None
    if kept is None:  # the render failed, and the tape runs backwards all the same
        return
    with runtime.launching():
        renderer._adjoint(kept)
