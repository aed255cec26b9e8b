"""What lights give to vertices, faces or pixels: Lambert, Blinn-Phong, irradiance."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.lights import (
    AmbientLight,
    DirectionalLight,
    LightSource,
    Material,
    PointLight,
    SphericalHarmonics,
)
from taichi_softras.mesh import Mesh
from taichi_softras.transforms import normalize, promote_batch


class Surface:
    """N places in B views that are lit: vertices, faces, or pixels. What is unused is free."""

    def __init__(
        self,
        like: Tensor,
        *,
        normals: Callable[[], Tensor],
        points: Callable[[], Tensor],
        camera: Camera | None,
        views: int = 1,
    ) -> None:
        """Begin with as many views as the places and the camera have.

        Args:
            like: Of the dtype and device of everything.
            normals: Gives unit normals, zero where undefined. [1 or B, N, 3]
            points: Gives world coordinates, finite everywhere. [1 or B, N, 3]
            camera: Whose eye sees highlights.
            views: Number of views of the normals and points.
        """
        self.like, self._normals, self._points, self.camera = like, normals, points, camera
        self.views = views
        if camera is not None:
            self.agree("camera", len(camera))

    @staticmethod
    def of_mesh(mesh: Mesh, *, flat: bool, camera: Camera | None) -> "Surface":
        """Take a mesh's vertices, or its faces at their centroids."""

        def normals() -> Tensor:
            found = mesh.face_normals if flat else mesh.vertex_normals
            return found if found.ndim == 3 else found[None]

        def points() -> Tensor:
            found = mesh.corners.mean(dim=-2) if flat else mesh.vertices
            # What is not finite is not drawn, but its NaN would spread to the light's gradient.
            finite = found.detach().isfinite().all(dim=-1, keepdim=True)
            found = torch.where(finite, found, torch.zeros_like(found))
            return found if found.ndim == 3 else found[None]

        views = mesh.vertices.shape[0] if mesh.vertices.ndim == 3 else 1
        return Surface(mesh.vertices, normals=normals, points=points, camera=camera, views=views)

    def agree(self, name: str, views: int) -> None:
        """Raise `ShapeError` unless `views` is 1 or what everything else has."""
        if views != 1 and self.views not in (1, views):
            raise ShapeError(
                f"`{name}` must hold 1 or {self.views} views, as what it is lit or seen with, "
                f"got {views}."
            )
        self.views = self.views if views == 1 else views

    def values(self, owner: LightSource | Material, **axes: str) -> list[Tensor]:
        """Check an owner's fields; bring them to one batch and the surface's dtype. [B, ...]."""
        kind = type(owner).__name__
        fields: dict[str, tuple[Any, str]] = {
            f"{kind}.{name}": (getattr(owner, name), wanted) for name, wanted in axes.items()
        }
        tensors = [value.to(self.like) for value in promote_batch(**fields)]
        self.agree(kind, tensors[0].shape[0])
        return tensors

    @cached_property
    def normals(self) -> Tensor:
        """Unit normals, zero where undefined. [1 or B, N, 3]."""
        return self._normals()

    @cached_property
    def points(self) -> Tensor:
        """World coordinates. [1 or B, N, 3]."""
        return self._points()

    @cached_property
    def towards_eye(self) -> Tensor:
        """Unit directions; zero at the eye itself. [1 or B, N or 1, 3]."""
        if self.camera is None:
            raise ArgumentError("`camera` must be given: highlights depend on where the eye is.")
        if self.camera.orthographic:
            return -self.camera.view_from_world[:, None, 2, :3].to(self.like)
        return normalize(self.camera.eye[:, None].to(self.like) - self.points)


def illuminate(
    surface: Surface, lights: Sequence[LightSource], material: Material
) -> tuple[Tensor, Tensor | None]:
    """Add up what lights give to a surface.

    Args:
        surface: Where they shine.
        lights: Any number; none is darkness.
        material: What the highlights look like.

    Returns:
        The factor of the surface's colours, and the highlights to be added to them, or None where
        there are none. [1 or B, N or 1, 3] each

    Raises:
        ShapeError: A field has another shape, or another number of views.
        ArgumentError: A field has a value that cannot be used.
    """
    factor = surface.like.new_zeros((1, 1, 3))
    highlights = None
    if material.shiny:
        specular, shininess = _specular(material, surface)
    for light in lights:
        if isinstance(light, AmbientLight):
            intensity, color = surface.values(light, intensity="", color="3")
            factor = factor + (intensity[:, None] * color)[:, None]
        elif isinstance(light, SphericalHarmonics):
            factor = factor + _environment(light, surface)
        else:
            arriving, towards = _rays(light, surface)
            received = arriving * _dot(surface.normals, towards).relu()
            factor = factor + received
            if material.shiny:
                highlight = specular * received * _highlight(surface, towards, shininess)
                highlights = highlight if highlights is None else highlights + highlight
    return factor, highlights


def _rays(light: DirectionalLight | PointLight, surface: Surface) -> tuple[Tensor, Tensor]:
    """Return the light that arrives, and unit directions towards it. [B, N or 1, 3] each."""
    if isinstance(light, DirectionalLight):
        intensity, color, direction = surface.values(light, intensity="", color="3", direction="3")
        if bool((direction == 0.0).all(dim=-1).any()):
            raise ArgumentError(
                "`DirectionalLight.direction` must point towards the light, got a zero vector."
            )
        return (intensity[:, None] * color)[:, None], normalize(direction)[:, None]
    intensity, color, position, attenuation = surface.values(
        light, intensity="", color="3", position="3", attenuation="3"
    )
    if bool((attenuation < 0.0).any()) or bool((attenuation == 0.0).all(dim=-1).any()):
        raise ArgumentError(
            "`PointLight.attenuation` must not be negative, nor zero altogether, got "
            f"{attenuation.detach().tolist()}."
        )
    offset = position[:, None] - surface.points
    towards = normalize(offset)
    # The length, with a gradient that is zero instead of NaN at the light itself.
    distance = _dot(offset, towards)
    constant, linear, quadratic = attenuation[:, None, :, None].unbind(dim=2)
    weaker = constant + linear * distance + quadratic * distance.square()
    # Closer, neither the reciprocal nor its derivative would be a useful number.
    usable = weaker.detach() > torch.finfo(weaker.dtype).eps ** 2
    weaker = torch.where(usable, weaker, torch.ones_like(weaker))
    arriving = (intensity[:, None] * color)[:, None] / weaker
    return torch.where(usable, arriving, torch.zeros_like(arriving)), towards


def _specular(material: Material, surface: Surface) -> tuple[Tensor, Tensor]:
    """Return the strength [B, 1, 3] and the exponent [B, 1, 1] of highlights."""
    intensity, color, shininess = surface.values(
        material, specular_intensity="", specular_color="3", shininess=""
    )
    if bool((shininess <= 0.0).any()):
        raise ArgumentError(
            f"`Material.shininess` must be positive, got {float(shininess.detach().min())}."
        )
    return (intensity[:, None] * color)[:, None], shininess[:, None, None]


def _highlight(surface: Surface, towards: Tensor, shininess: Tensor) -> Tensor:
    """Blinn and Phong's (n . h) ** shininess, h halfway from light to eye. [B, N, 1]."""
    aligned = _dot(surface.normals, normalize(towards + surface.towards_eye))
    # Powers of 0 have infinite derivatives where the exponent is below 1.
    usable = aligned.detach() > 0.0
    power = torch.where(usable, aligned, torch.ones_like(aligned)) ** shininess
    return torch.where(usable, power, torch.zeros_like(power))


def _environment(light: SphericalHarmonics, surface: Surface) -> Tensor:
    """Irradiance over pi: 1 under a constant radiance of 1. [B, N, 3]."""
    (coefficients,) = surface.values(light, coefficients="9 3")
    x, y, z = surface.normals.unbind(dim=-1)
    # Each function's constant times what the cosine leaves of its band: 1, 2/3 and 1/4.
    basis = torch.stack(
        [
            torch.full_like(x, 0.28209479177387814),
            0.48860251190291992 * (2 / 3) * y,
            0.48860251190291992 * (2 / 3) * z,
            0.48860251190291992 * (2 / 3) * x,
            1.09254843059207907 / 4 * x * y,
            1.09254843059207907 / 4 * y * z,
            # 3z² - 1 of unit normals, and nothing of zero ones.
            0.31539156525252001 / 4 * (2.0 * z * z - x * x - y * y),
            1.09254843059207907 / 4 * x * z,
            0.54627421529603953 / 4 * (x * x - y * y),
        ],
        dim=-1,
    )
    return basis @ coefficients


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(dim=-1, keepdim=True)
