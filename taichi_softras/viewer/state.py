"""Everything the viewer can be set to, as one frozen value, and what it means to the renderer."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError
from taichi_softras.settings import Alpha, Color, Distance, RasterSettings
from taichi_softras.shading import Light
from taichi_softras.viewer.scales import EYE_DISTANCE

View = Literal["render", "gradient", "fit"]
Show = Literal["color", "silhouette", "depth"]
DepthRange = Literal["tight", "paper"]
Background = Literal["white", "grey", "black", "sky"]
Target = Literal["pose", "shifted", "blurred", "file"]
Loss = Literal["silhouette", "color"]
Freedom = Literal["turn", "shift", "size"]
Fit = Literal["pictures", "shape", "pose"]
Softness = Literal["schedule", "sliders"]

COLORS: dict[str, tuple[float, float, float]] = {
    "white": (1.0, 1.0, 1.0),
    "grey": (0.5, 0.5, 0.5),
    "black": (0.0, 0.0, 0.0),
    "sky": (0.55, 0.72, 0.9),
}
"""Backgrounds by name. RGB in 0..1."""

PRESETS: dict[str, dict[str, Any]] = {
    "crisp": {"sigma": 1e-6, "gamma": 1e-3, "depth_range": "tight"},
    "paper": {
        **{"sigma": 1e-5, "gamma": 1e-4, "dist_eps": 1e-4, "depth_range": "paper"},
        **{"distance": "euclidean", "alpha": "prod", "color": "softmax"},
    },
    "soft": {"sigma": 3e-3, "gamma": 1e-2, "depth_range": "tight"},
    "glass": {"sigma": 1e-5, "gamma": 3e-1, "depth_range": "tight"},
}
"""Settings by name; "paper" has the defaults of the original's `SoftRasterizer`."""


@dataclass(frozen=True, kw_only=True)
class ViewState:
    """What is shown and how. Angles in degrees; the mesh lies in the unit sphere."""

    view: View = "render"
    show: Show = "color"
    help: bool = False

    sigma: float = 1e-4
    gamma: float = 1e-2
    dist_eps: float = 1e-4
    distance: Distance = "euclidean"
    alpha: Alpha = "prod"
    color: Color = "softmax"
    depth_range: DepthRange = "tight"
    """Near and far close round the mesh, or 1 and 100 as in the original."""

    azimuth: float = 35.0
    elevation: float = 20.0
    eye_distance: float = 3.0
    """World units from the mesh's centre."""
    fov: float = 45.0

    light_azimuth: float = 30.0
    light_elevation: float = 55.0
    ambient: float = 0.5
    """Share of the light that comes from everywhere."""
    background: Background = "white"

    target: Target = "pose"
    amount: float = 0.35
    """How far off the target is: half turns, world units, or decades of sigma, each times this."""
    loss: Loss = "silhouette"
    freedom: Freedom = "turn"

    fit: Fit = "pictures"
    softness: Softness = "schedule"
    """Whether sigma and gamma of a fit follow its own schedule or the sliders."""
    fit_sigma: float = 1e-3
    fit_gamma: float = 1e-2

    @property
    def depths(self) -> tuple[float, float]:
        """View depths near and far, in world units."""
        if self.depth_range == "paper":
            return min(1.0, 0.9 * self.eye_distance), 100.0
        return max(self.eye_distance - 1.05, 0.02), self.eye_distance + 1.05

    @property
    def raster_settings(self) -> RasterSettings:
        """How triangles become pixels."""
        near, far = self.depths
        return RasterSettings(
            sigma=self.sigma,
            gamma=self.gamma,
            dist_eps=self.dist_eps,
            near=near,
            far=far,
            distance=self.distance,
            alpha=self.alpha,
            color=self.color,
        )

    @property
    def camera(self) -> Camera:
        """One camera on its orbit."""
        return Camera.orbit(self.eye_distance, self.elevation, self.azimuth, self.fov)

    @property
    def light(self) -> Light:
        """A light that stands still in the world."""
        e, a = math.radians(self.light_elevation), math.radians(self.light_azimuth)
        direction = (math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a))
        return Light(
            ambient_intensity=self.ambient,
            directional_intensity=1.0 - self.ambient,
            direction=direction,
        )

    def orbited(self, right: float, up: float) -> "ViewState":
        """Turn the mesh with the pointer: half the picture's shorter side is 90 degrees.

        Args:
            right: Way of the pointer to the right, in shorter picture sides.
            up: Likewise upwards.
        """
        azimuth = (self.azimuth - 180.0 * right + 180.0) % 360.0 - 180.0
        elevation = min(max(self.elevation - 180.0 * up, -90.0), 90.0)
        return replace(self, azimuth=azimuth, elevation=elevation)

    def zoomed(self, notches: float) -> "ViewState":
        """Come a tenth nearer with each notch of the wheel, or go away with negative ones."""
        distance = self.eye_distance * 0.9**notches
        low, high = EYE_DISTANCE.low, EYE_DISTANCE.high
        return replace(self, eye_distance=min(max(distance, low), high))

    def preset(self, name: str) -> "ViewState":
        """Take the settings of `PRESETS` that are called so.

        Raises:
            ArgumentError: There is no such preset.
        """
        if name not in PRESETS:
            wanted = ", ".join(repr(key) for key in PRESETS)
            raise ArgumentError(f"`name` must be one of {wanted}, got {name!r}.")
        return replace(self, **PRESETS[name])

    def as_python(self, mesh: str) -> str:
        """Write the program that renders this picture with the library alone.

        Args:
            mesh: Expression of the mesh, of `tsr` or of `open_mesh`.
        """
        near, far = self.depths
        light = ", ".join(f"{x:.4g}" for x in self.light.direction)  # type: ignore[union-attr]
        more = "" if mesh.startswith("tsr.") else "from taichi_softras.scenes import open_mesh\n"
        behind = COLORS[self.background]
        return f"""import taichi_softras as tsr
{more}
mesh = {mesh}
camera = tsr.Camera.orbit({self.eye_distance:.4g}, {self.elevation:.4g}, {self.azimuth:.4g}, \
{self.fov:.4g})
settings = tsr.RasterSettings(
    sigma={self.sigma:.4g}, gamma={self.gamma:.4g}, dist_eps={self.dist_eps:.4g},
    near={near:.6g}, far={far:.6g},
    distance={self.distance!r}, alpha={self.alpha!r}, color={self.color!r},
)
light = tsr.Light(
    ambient_intensity={self.ambient:.4g}, directional_intensity={1.0 - self.ambient:.4g},
    direction=({light}),
)
out = tsr.render(mesh, camera, 512, settings=settings, light=light, background={behind})
"""
