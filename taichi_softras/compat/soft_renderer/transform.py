"""Cameras as modules: they take a mesh, or its vertices, from the world to the screen."""

import math
from typing import Any, TypeVar, overload

import torch
from torch import Tensor, nn

from taichi_softras.compat.soft_renderer import functional as srf
from taichi_softras.compat.soft_renderer.mesh import Mesh
from taichi_softras.errors import ArgumentError, check_choice

Scene = TypeVar("Scene", Mesh, Tensor)


class _Camera(nn.Module):
    """What all cameras share: they map vertices, alone or of a mesh."""

    mirrors = True

    def project(self, vertices: Tensor) -> Tensor:
        """Map world coordinates to NDC and depth. [B, V, 3]"""
        raise NotImplementedError

    @overload
    def forward(self, scene: Mesh) -> Mesh: ...
    @overload
    def forward(self, scene: Tensor) -> Tensor: ...
    def forward(self, scene: Mesh | Tensor) -> Mesh | Tensor:
        """Map a mesh, or vertices [B, V, 3], to NDC and depth."""
        if isinstance(scene, Tensor):
            return self._project_finite(scene)
        return scene.replaced(
            vertices=self._project_finite(scene.vertices), clockwise_front=self.mirrors
        )

    def _project_finite(self, vertices: Tensor) -> Tensor:
        """Project; what is not finite becomes NaN, and spreads to no gradient of the camera."""
        finite = vertices.detach().isfinite().all(-1, keepdim=True)
        if bool(finite.all()):
            return self.project(vertices)
        return self.project(vertices.where(finite, 0.0)).where(finite, torch.nan)


class _Eye(_Camera):
    """A camera with an eye that can be set."""

    def __init__(
        self, perspective: bool, viewing_angle: float, viewing_scale: float, eye: Any
    ) -> None:
        super().__init__()
        if not 0.0 < viewing_angle < 90.0:
            raise ArgumentError(
                "`viewing_angle` must lie in (0, 90), half a field of view in degrees, got "
                f"{viewing_angle}."
            )
        self.perspective = perspective
        self.viewing_angle = viewing_angle
        self.viewing_scale = viewing_scale
        distance = 1.0 / math.tan(math.radians(viewing_angle)) + 1.0
        self._eye = [0.0, 0.0, -distance] if eye is None else eye

    def _on_screen(self, vertices: Tensor) -> Tensor:
        if self.perspective:
            return srf.perspective(vertices, angle=self.viewing_angle)
        return srf.orthogonal(vertices, scale=self.viewing_scale)

    @property
    def eyes(self) -> Any:
        """World coordinates of the eye, as they were set. [3] or [B, 3]"""
        return self._eye

    def set_eyes(self, eyes: Any) -> None:
        """Move the eye; many eyes make many views. [3] or [B, 3]"""
        self._eye = eyes

    def set_eyes_from_angles(self, distances: Any, elevations: Any, azimuths: Any) -> None:
        """Move the eye as `functional.get_points_from_angles` says, in degrees."""
        self._eye = srf.get_points_from_angles(distances, elevations, azimuths)


class LookAt(_Eye):
    """An eye that looks at the origin.

    Args:
        perspective: Divide by depth; otherwise scale x and y by `viewing_scale`.
        viewing_angle: *Half* the field of view, in degrees.
        viewing_scale: NDC a world unit, without perspective.
        eye: World coordinates; by default on -z, where the unit ball fills the picture.
    """

    def __init__(
        self,
        perspective: bool = True,
        viewing_angle: float = 30,
        viewing_scale: float = 1.0,
        eye: Any = None,
    ) -> None:
        super().__init__(perspective, viewing_angle, viewing_scale, eye)

    def project(self, vertices: Tensor) -> Tensor:
        """Map world coordinates to NDC and depth. [B, V, 3]"""
        return self._on_screen(srf.look_at(vertices, self._eye))


class Look(_Eye):
    """An eye that looks in a direction; arguments as `LookAt`.

    Args:
        camera_direction: In world coordinates. [3] or [B, 3]
        perspective: As `LookAt`.
        viewing_angle: As `LookAt`.
        viewing_scale: As `LookAt`.
        eye: As `LookAt`.
    """

    def __init__(
        self,
        camera_direction: Any = (0.0, 0.0, 1.0),
        perspective: bool = True,
        viewing_angle: float = 30,
        viewing_scale: float = 1.0,
        eye: Any = None,
    ) -> None:
        super().__init__(perspective, viewing_angle, viewing_scale, eye)
        self.camera_direction = camera_direction

    def project(self, vertices: Tensor) -> Tensor:
        """Map world coordinates to NDC and depth. [B, V, 3]"""
        return self._on_screen(srf.look(vertices, self._eye, self.camera_direction))


class Projection(_Camera):
    """A calibrated camera; arguments as `functional.projection`."""

    mirrors = False

    def __init__(self, P: Any, dist_coeffs: Any = None, orig_size: float = 512) -> None:
        super().__init__()
        if P is None:
            raise ArgumentError(
                "`P` must be given with camera_mode='projection', [3, 4] or [B, 3, 4]; other "
                "modes are 'look_at' and 'look'."
            )
        self.P = P
        self.dist_coeffs = dist_coeffs
        self.orig_size = orig_size

    def project(self, vertices: Tensor) -> Tensor:
        """Map world coordinates to NDC and depth. [B, V, 3]"""
        return srf.projection(vertices, self.P, self.dist_coeffs, self.orig_size)


class Transform(nn.Module):
    """One of the three cameras by its name; `transformer` is the camera itself."""

    def __init__(
        self,
        camera_mode: str = "projection",
        P: Any = None,
        dist_coeffs: Any = None,
        orig_size: float = 512,
        perspective: bool = True,
        viewing_angle: float = 30,
        viewing_scale: float = 1.0,
        eye: Any = None,
        camera_direction: Any = (0.0, 0.0, 1.0),
    ) -> None:
        super().__init__()
        check_choice("camera_mode", camera_mode, ("projection", "look", "look_at"))
        self.camera_mode = camera_mode
        self.transformer: Projection | Look | LookAt
        if camera_mode == "projection":
            self.transformer = Projection(P, dist_coeffs, orig_size)
        elif camera_mode == "look":
            self.transformer = Look(
                camera_direction, perspective, viewing_angle, viewing_scale, eye
            )
        else:
            self.transformer = LookAt(perspective, viewing_angle, viewing_scale, eye)

    def forward(self, mesh: Scene) -> Scene:
        """Map a mesh, or vertices [B, V, 3], to NDC and depth."""
        result: Scene = self.transformer(mesh)
        return result

    @property
    def eyes(self) -> Any:
        """World coordinates of the eye, as they were set. [3] or [B, 3]"""
        return self._with_eye().eyes

    def set_eyes(self, eyes: Any) -> None:
        """Move the eye; many eyes make many views. [3] or [B, 3]"""
        self._with_eye().set_eyes(eyes)

    def set_eyes_from_angles(self, distances: Any, elevations: Any, azimuths: Any) -> None:
        """Move the eye as `functional.get_points_from_angles` says, in degrees."""
        self._with_eye().set_eyes_from_angles(distances, elevations, azimuths)

    def _with_eye(self) -> _Eye:
        if isinstance(self.transformer, Projection):
            raise ArgumentError("camera_mode='projection' has no eye to set; `P` says where it is.")
        return self.transformer
