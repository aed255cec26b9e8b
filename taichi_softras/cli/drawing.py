"""From options to pictures: the mesh in place, its light, its look and its background."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from taichi_softras import scenes
from taichi_softras.camera import Camera
from taichi_softras.cli.render_options import CameraArgs, LightArgs, LookArgs
from taichi_softras.errors import ArgumentError
from taichi_softras.intrinsics import check_size
from taichi_softras.lights import Material
from taichi_softras.mesh import Mesh
from taichi_softras.settings import RasterSettings
from taichi_softras.shading import Light

_SUPERSAMPLE = 4


@dataclass(frozen=True, eq=False)
class Drawing:
    """A mesh, and everything that its pictures have in common."""

    mesh: Mesh
    """Where it is drawn: in the unit sphere, or where the file has it."""
    placement: dict[str, Any]
    """JSON: the bounding sphere of the mesh in its file, and whether it was moved."""
    framing: dict[str, Any]
    """Arguments of `scenes.sphere_cameras` and `scenes.turntable_cameras`."""
    look: dict[str, Any]
    """Arguments of `scenes.render_rgba` and `scenes.render_posed`."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        size: tuple[int, int] = self.framing["image_size"]
        return size

    def rgba(self, camera: Camera) -> Tensor:
        """Draw B views. [B, H, W, 4]."""
        return scenes.render_rgba(self.mesh, camera, **self.look)


def prepare(name: str, camera: CameraArgs, look: LookArgs, light: LightArgs) -> Drawing:
    """Open a mesh by path or name, and check all options.

    Raises:
        SoftRasError: The mesh cannot be read, or an option makes no sense.
    """
    mesh = scenes.open_mesh(name, textures="images")
    sphere = scenes.bounding_sphere(mesh)
    placement = {
        "normalized": camera.normalize,
        "center": list(sphere.center),
        "radius": sphere.radius,
    }
    if camera.normalize:
        mesh, sphere = mesh.normalized(), scenes.Sphere((0.0, 0.0, 0.0), 1.0)
    if light.flat:
        mesh = scenes.faceted(mesh)
    if camera.distance is not None and not camera.distance > 0.0:
        raise ArgumentError(f"`--distance` must be positive, got {camera.distance}.")
    framing = {
        "fov": camera.fov,
        "radius": sphere.radius,
        "at": sphere.center,
        "distance": camera.distance,
        "image_size": check_size("--size", camera.size),
    }
    return Drawing(mesh, placement, framing, _look(look, light, sphere.radius, camera.distance))


def _look(
    look: LookArgs, light: LightArgs, radius: float, distance: float | None
) -> dict[str, Any]:
    lamp = Light(
        ambient_intensity=light.ambient,
        directional_intensity=light.directional,
        direction=light.light_direction,
    )
    softness = {k: v for k in ("sigma", "gamma") if (v := getattr(look, k)) is not None}
    settings = None
    if softness:
        far = max(100.0 * radius, 2.0 * (distance or 0.0))
        settings = RasterSettings(**softness, near=0.01 * radius, far=far)
    default = 1 if softness else _SUPERSAMPLE
    if not light.shininess > 0.0:
        raise ArgumentError(f"`--shininess` must be positive, got {light.shininess}.")
    shiny = light.specular != 0.0 and not light.unlit
    material = Material(specular_intensity=light.specular, shininess=light.shininess)
    return {
        "light": None if light.unlit else lamp,
        "material": material if shiny else None,
        "shading": "phong" if light.phong and not light.unlit else "gouraud",
        "supersample": default if look.supersample is None else look.supersample,
        "settings": settings,
    }


def parse_color(name: str) -> Tensor | None:
    """Return RGB in 0..1 of a colour name or '#rrggbb' [3], or None for "transparent"."""
    from PIL import ImageColor

    if name == "transparent":
        return None
    try:
        rgb = ImageColor.getrgb(name)[:3]
    except ValueError:
        raise ArgumentError(
            f"`--background` must be a colour such as white, '#8090a0' or transparent, "
            f"got {name!r}."
        ) from None
    return torch.tensor(rgb) / 255.0


def laid_over(rgba: Tensor, background: Tensor | None) -> Tensor:
    """Lay straight RGBA over a colour [3], or leave it transparent. [..., 4] -> [..., 3 or 4]."""
    if background is None:
        return rgba
    alpha = rgba[..., 3:]
    return rgba[..., :3] * alpha + background * (1.0 - alpha)
