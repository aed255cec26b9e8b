"""From meshes and cameras to the triangles of the screen: project, clip, gather corners."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.constants import zeros
from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.mesh import Mesh
from taichi_softras.texture_maps import FaceTexture, joined
from taichi_softras.torch_bridge.projection import can_project, project_points
from taichi_softras.transforms import take_corners


class Triangles(NamedTuple):
    """Projected triangles, as `rasterize` takes them."""

    points_ndc: Tensor  # vertices [B, V, 3] with faces, else corners as in `corners_ndc`
    attributes: Tensor  # [B or 1, F, 3, C], or [N, 3, C] with face_counts
    face_counts: list[int] | None
    behind: int  # faces dropped because they are wholly nearer than the near plane
    texture: FaceTexture | None = None  # the last attributes are its coordinates
    owner: Tensor | None = None  # [N] row of each triangle's face in its mesh; None if unclipped
    corner_weights: Tensor | None = None  # [N, 3, 3] barycentric, of each corner on that face
    faces: Tensor | None = None  # [F, 3] vertices of each view's faces

    @property
    def corners_ndc(self) -> Tensor:
        """The triangles' corners. [B, F, 3, 3], or [N, 3, 3] with face_counts."""
        return self.points_ndc if self.faces is None else take_corners(self.points_ndc, self.faces)

    @property
    def channels(self) -> int:
        """Number of channels, without the coordinates of a texture."""
        return self.attributes.shape[-1] - (self.texture.coordinates if self.texture else 0)

    def packed(self) -> "Triangles":
        """Return the same triangles with face_counts."""
        if self.face_counts is not None:
            return self
        corners = self.corners_ndc
        views, faces = corners.shape[:2]
        return Triangles(
            corners.flatten(0, 1),
            self.attributes.expand(views, *self.attributes.shape[1:]).flatten(0, 1),
            [faces] * views,
            self.behind,
            None if self.texture is None else _for_each_face(self.texture, views),
            torch.arange(faces, device=corners.device).repeat(views),
        )


def project(
    mesh: Mesh,
    camera: Camera,
    size: tuple[int, int],
    near: float,
    *,
    more: Tensor | None = None,
    trace: bool = False,
    colored: bool = True,
) -> Triangles:
    """Project one mesh into all views.

    Args:
        mesh: One or B sets of vertices.
        camera: B cameras, or one.
        size: Image height and width in pixels.
        near: Depth at which faces are cut.
        more: Channels beside the mesh's colours. [1 or B, F, 3, K]
        trace: Whether to note where the corners of cut faces lie on them.
        colored: Whether attributes are wanted at all.
    """
    camera = _matching(camera, mesh)
    attributes, texture = zeros(1, mesh.n_faces, 3, 0, like=mesh.vertices), None
    if colored:
        attributes, texture = _corner_attributes(mesh, more)
    if can_project(mesh.vertices, camera):
        projected = project_points(mesh.vertices, camera, size, near)
        if projected is not None:
            return Triangles(projected, attributes, None, 0, texture, faces=mesh.faces)
    finite = mesh.vertices.detach().isfinite()
    all_finite = bool(finite.all())
    # A NaN would spread through the projection's backward pass to the camera.
    finite = finite.all(-1)
    vertices = mesh.vertices if all_finite else mesh.vertices.where(finite[..., None], 0.0)
    points_view = camera.view_from_points(vertices)
    if points_view.shape[0] != len(camera):
        camera = camera[[0] * points_view.shape[0]]
    if bool((points_view.detach()[..., 2] < near).any()):
        broken = None if all_finite else ~finite[..., mesh.faces].all(-1).expand(len(camera), -1)
        if trace:
            identity = torch.eye(3).to(attributes).expand(1, mesh.n_faces, 3, 3)
            attributes = _side_by_side(attributes, identity)
        corners_view = mesh.at_corners(points_view)
        cut = _clip(corners_view, attributes, texture, broken, camera, size, near)
        if not trace:
            return cut
        return cut._replace(
            attributes=cut.attributes[..., :-3], corner_weights=cut.attributes[..., -3:]
        )
    points_ndc = camera.ndc_from_view(points_view, size)
    if not all_finite:
        points_ndc = points_ndc.masked_fill(~finite[..., None], torch.nan)
    return Triangles(points_ndc, attributes, None, 0, texture, faces=mesh.faces)


def _matching(camera: Camera, mesh: Mesh) -> Camera:
    """Bring the camera to the mesh's dtype, and check that the two fit."""
    if camera.device != mesh.vertices.device:
        raise ArgumentError(
            f"`camera` must be on the mesh's device {mesh.vertices.device}, got {camera.device}."
        )
    if mesh.vertices.ndim == 3 and len({1, len(camera), mesh.vertices.shape[0]}) > 2:
        raise ShapeError(
            f"`mesh` has {mesh.vertices.shape[0]} sets of vertices, but `camera` holds "
            f"{len(camera)} views; they must be equal, or one of them 1."
        )
    # As it is if possible: changing it checks its values again.
    return camera if camera.dtype == mesh.vertices.dtype else camera.to(mesh.vertices.dtype)


def _corner_attributes(mesh: Mesh, more: Tensor | None) -> tuple[Tensor, FaceTexture | None]:
    """Colours at each face's corners, white where the mesh has none, and what is beside them.

    With a texture its coordinates follow, without the level of detail. [B or 1, F, 3, C].
    """
    channels = 3 if mesh.texture is None else mesh.texture.channels
    if mesh.face_colors is not None:
        colors = mesh.face_colors[..., None, :].expand(*mesh.face_colors.shape[:-1], 3, -1)
    elif mesh.vertex_colors is not None:
        colors = mesh.at_corners(mesh.vertex_colors)
    else:
        colors = mesh.vertices.new_ones((mesh.n_faces, 3, channels))
    colors = colors if colors.ndim == 4 else colors[None]
    if more is not None:
        colors = _side_by_side(colors, more)
    if mesh.texture is None:
        return colors, None
    coordinates, texture = mesh.texture.at_faces(mesh.faces, mesh.vertices)
    return _side_by_side(colors, coordinates), texture


def _for_each_face(texture: FaceTexture, views: int) -> FaceTexture:
    """Repeat the map of each face for each view. `face_maps` [N]."""
    rows = texture.face_maps
    rows = rows.expand(views, -1) if rows.ndim == 1 else rows
    return replace(texture, face_maps=rows.flatten())


def _side_by_side(a: Tensor, b: Tensor) -> Tensor:
    """Join channels. [1 or B, F, 3, C], [1 or B, F, 3, K] -> [1 or B, F, 3, C + K]."""
    views = max(a.shape[0], b.shape[0])
    return torch.cat([value.expand(views, -1, -1, -1) for value in (a, b)], dim=-1)


def project_each(
    meshes: list[Mesh],
    camera: Camera,
    size: tuple[int, int],
    near: float,
    *,
    more: list[Tensor | None],
    trace: bool = False,
    colored: bool = True,
) -> Triangles:
    """Project different meshes, one a view; options as for `project`, `more` of each mesh."""
    for i, mesh in enumerate(meshes):
        if mesh.vertices.ndim == 3:
            raise ShapeError(
                f"`mesh[{i}]` must have vertices [V, 3] in a sequence of meshes, "
                f"got {list(mesh.vertices.shape)}."
            )
    parts = [
        project(
            mesh, camera[i % len(camera)], size, near, more=more[i], trace=trace, colored=colored
        ).packed()
        for i, mesh in enumerate(meshes)
    ]
    lookups = {part.texture.lookup if part.texture else "none" for part in parts}
    if len(lookups) > 1:
        raise ArgumentError(
            "`mesh` must hold meshes that all have textures, with one filter, or none; "
            f"got {', '.join(sorted(lookups))}."
        )
    channels = {part.attributes.shape[-1] for part in parts}
    if len(channels) > 1:
        raise ShapeError(f"`mesh` must hold meshes of equal channels, got {sorted(channels)}.")
    textures = [part.texture for part in parts if part.texture is not None]
    return Triangles(
        torch.cat([part.points_ndc for part in parts]),
        torch.cat([part.attributes for part in parts]),
        [count for part in parts for count in part.face_counts or []],
        sum(part.behind for part in parts),
        joined(textures) if textures else None,
        torch.cat([part.owner for part in parts if part.owner is not None]),
        _joined_weights(parts) if trace else None,
    )


def _joined_weights(parts: list[Triangles]) -> Tensor | None:
    """Join `corner_weights`, of which faces that were not cut need none."""
    if all(part.corner_weights is None for part in parts):
        return None
    identity = torch.eye(3)
    return torch.cat(
        [
            identity.to(part.points_ndc).expand(part.points_ndc.shape)
            if part.corner_weights is None
            else part.corner_weights
            for part in parts
        ]
    )


def _clip(
    corners_view: Tensor,  # [B, F, 3, 3]
    attributes: Tensor,  # [B or 1, F, 3, C]
    texture: FaceTexture | None,
    broken: Tensor | None,  # [B, F] faces with a corner that is not finite
    camera: Camera,
    size: tuple[int, int],
    near: float,
) -> Triangles:
    """Cut faces at the near plane: one corner in front leaves a triangle, two leave two."""
    views, faces = corners_view.shape[:2]
    if broken is not None:
        corners_view = corners_view.masked_fill(broken[..., None, None], torch.nan)
    both = torch.cat([corners_view, attributes.expand(views, -1, -1, -1)], -1).flatten(0, 1)
    front = both.detach()[..., 2] >= near  # [B F, 3]
    n_front = front.sum(1)
    unclipped = n_front == 3
    if broken is not None:  # kept, so that the rasterizer counts them
        unclipped |= broken.flatten()
    pieces, owners = [both[unclipped]], [unclipped.nonzero()[:, 0]]
    for corners_in_front in (1, 2):
        owner = ((n_front == corners_in_front) & ~unclipped).nonzero()[:, 0]
        # Turn each face so that the corner that differs from the other two comes first.
        odd = (front[owner] == (corners_in_front == 1)).to(torch.uint8).argmax(1)
        turn = (odd[:, None] + torch.arange(3, device=odd.device)) % 3
        a, b, c = both[owner].gather(1, turn[..., None].expand(-1, -1, both.shape[-1])).unbind(1)
        ab, ca = _cut(a, b, near), _cut(a, c, near)
        if corners_in_front == 1:
            pieces.append(torch.stack([a, ab, ca], 1))
        else:
            pieces += [torch.stack([ab, b, c], 1), torch.stack([ab, c, ca], 1)]
        owners += [owner] * corners_in_front
    owner = torch.cat(owners)
    order = owner.argsort(stable=True)
    view = owner[order] // faces
    clipped = torch.cat(pieces)[order]
    behind = int(((n_front == 0) & ~unclipped).sum())
    if texture is not None:
        texture = _for_each_face(texture, views)
        texture = replace(texture, face_maps=texture.face_maps[owner[order]])
    return Triangles(
        camera[view].ndc_from_view(clipped[..., :3], size),
        clipped[..., 3:],
        torch.bincount(view, minlength=views).tolist(),
        behind,
        texture,
        owner[order] % faces,
    )


def _cut(a: Tensor, b: Tensor, near: float) -> Tensor:
    """Point of the segment a b on the near plane, with its attributes; exactly at depth near."""
    t = (near - a[:, 2:3]) / (b[:, 2:3] - a[:, 2:3])
    point = a + t * (b - a)
    return torch.cat([point[:, :2], torch.full_like(t, near), point[:, 3:]], 1)


def with_level_of_detail(parts: Triangles, size: tuple[int, int], *, linear: bool) -> Triangles:
    """Append the level of detail at each corner where the texture has reduced images.

    As in OpenGL, log2 of how many texels a step of one pixel crosses, the larger of a step to the
    right and one up. It depends on the geometry, and so is part of the gradient. With `linear`
    attributes vary linearly over the screen.
    """
    texture = parts.texture
    if texture is None or texture.lookup != "mipmap":
        return parts
    corners, coordinates = parts.corners_ndc, parts.attributes[..., -2:]
    x, y, depth = corners.unbind(-1)  # [..., 3] each
    texels = texture.maps[texture.face_maps][..., None, [2, 1]].to(coordinates)  # width, height
    at = coordinates * texels
    if at.shape[0] != corners.shape[0]:
        at = at.expand(corners.shape[0], -1, -1, -1)
    first, second = (x.roll(-1, -1) - x, y.roll(-1, -1) - y), (x.roll(1, -1) - x, y.roll(1, -1) - y)
    area2 = first[0] * second[1] - first[1] * second[0]
    usable = (area2.detach().abs() > 0.0) & (depth.detach() > 0.0).all(-1, keepdim=True)
    usable &= at.detach().isfinite().all(-1) & area2.detach().isfinite()
    along, across = at.roll(-1, -2) - at, at.roll(1, -2) - at
    if not linear:
        # At a corner d(coordinate) / d(weight of another one) = their difference * depth ratio.
        safe = torch.where(usable, depth, 1.0)
        along = along * (safe / safe.roll(-1, -1))[..., None]
        across = across * (safe / safe.roll(1, -1))[..., None]
    inverse = (2.0 / min(size)) / torch.where(usable, area2, 1.0)[..., None]
    right = (along * second[1][..., None] - across * first[1][..., None]) * inverse
    up = (across * first[0][..., None] - along * second[0][..., None]) * inverse
    steps = torch.maximum(right.square().sum(-1), up.square().sum(-1))
    steps = torch.where(usable, steps, 1.0).clamp(min=1e-12)
    level = 0.5 * torch.log2(steps)[..., None]
    attributes = parts.attributes
    if attributes.shape[:-1] != level.shape[:-1]:
        attributes = attributes.expand(*level.shape[:-1], -1)
    return parts._replace(attributes=torch.cat([attributes, level], -1))
