import math

import pytest
import torch

from taichi_softras import shapes
from taichi_softras.errors import ArgumentError, ShapeError
from taichi_softras.mesh import Mesh
from taichi_softras.shading import Light, lambert, shade

UP = Light(ambient_intensity=0.25, directional_intensity=0.5, direction=(0.0, 3.0, 0.0))
RED = torch.tensor([[1.0, 0.5, 0.0]])


@pytest.mark.parametrize("degrees", [0.0, 60.0, 90.0, 120.0])
def test_light_falls_with_the_cosine_and_never_below_ambient(degrees):
    angle = math.radians(degrees)
    normal = torch.tensor([[math.sin(angle), math.cos(angle), 0.0]])
    expected = RED * (0.25 + 0.5 * max(math.cos(angle), 0.0))
    torch.testing.assert_close(lambert(RED, normal, UP), expected)


def test_coloured_lights_add_up():
    light = Light(
        ambient_intensity=0.0,
        directional_intensity=(1.0, 2.0),
        directional_color=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
        direction=((0.0, 1.0, 0.0), (1.0, 1.0, 0.0)),
    )
    lit = lambert(torch.ones(1, 3), torch.tensor([[0.0, 1.0, 0.0]]), light)
    torch.testing.assert_close(lit, torch.tensor([[1.0, 2.0 * math.sqrt(0.5), 0.0]]))


def test_bright_light_is_not_clamped():
    light = Light(ambient_intensity=3.0)
    assert lambert(RED, torch.zeros(1, 3), light).max() == 3.0


def test_alpha_is_not_lit():
    rgba = torch.tensor([[1.0, 0.5, 0.0, 0.3]])
    lit = lambert(rgba, torch.tensor([[[0.0, 1.0, 0.0]]] * 2), UP)
    torch.testing.assert_close(lit[..., 3], torch.full((2, 1), 0.3))
    torch.testing.assert_close(lit[0, :, :3], 0.75 * RED)


def test_vertex_colours_are_lit_smoothly_and_face_colours_flat():
    cube = shapes.cube()
    smooth = shade(cube.replace(vertex_colors=torch.ones(8, 3)), UP).vertex_colors
    top = cube.vertices[:, 1] > 0
    expected = 0.25 + 0.5 * cube.vertex_normals[top][:, 1:2].expand(-1, 3)
    torch.testing.assert_close(smooth[top], expected)
    flat = shade(cube.replace(face_colors=torch.ones(12, 3)), UP).face_colors
    above = cube.face_normals[:, 1] > 0.5
    assert (flat[above] == 0.75).all()
    assert (flat[~above] == 0.25).all()


def test_a_mesh_without_colours_becomes_grey():
    lit = shade(shapes.icosphere(1), Light(ambient_intensity=1.0, directional_intensity=0.0))
    assert (lit.vertex_colors == lit.vertex_colors[0, 0]).all()


def test_a_batch_of_three_deformed_meshes_is_lit_one_by_one():
    mesh = shapes.duck(1)
    vertices = mesh.vertices * torch.tensor([[1.0, 1, 1], [2, 1, 1], [1, 3, 1]])[:, None]
    lit = shade(mesh.replace(vertices=vertices))
    assert lit.vertex_colors.shape == vertices.shape
    alone = shade(mesh.replace(vertices=vertices[2]))
    torch.testing.assert_close(lit.vertex_colors[2], alone.vertex_colors)


def test_gradients_reach_mesh_and_light():
    def tensor(*values):
        return torch.tensor(values, dtype=torch.float64, requires_grad=True)

    mesh = shapes.icosphere(0).to(torch.float64)
    colors = torch.rand(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def lit(vertices, colors, ambient, color, direction):
        light = Light(
            ambient_intensity=ambient,
            ambient_color=color,
            directional_intensity=ambient * 2,
            directional_color=color,
            direction=direction,
        )
        return shade(mesh.replace(vertices=vertices, vertex_colors=colors), light).vertex_colors

    inputs = (mesh.vertices.clone().requires_grad_(), colors.requires_grad_())
    ambient = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lit, (*inputs, ambient, tensor(0.2, 0.5, 0.9), tensor(0.3, 0.9, 0.5))
    )


def test_degenerate_faces_see_ambient_light_without_nan_gradients():
    vertices = torch.zeros(3, 3, requires_grad=True)
    mesh = Mesh(vertices=vertices, faces=[[0, 1, 2]], face_colors=[[1.0, 1.0, 1.0]])
    lit = shade(mesh, UP).face_colors
    lit.sum().backward()
    assert lit.tolist() == [[0.25] * 3]
    assert torch.isfinite(vertices.grad).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"direction": (0.0, 0.0, 0.0)}, "`direction`.*zero"),
        ({"direction": (0.0, 1.0)}, "`direction`"),
        ({"direction": (math.nan, 1.0, 0.0)}, "`direction` must be finite"),
        ({"ambient_color": (1.0, 1.0)}, "`ambient_color`"),
        ({"ambient_intensity": (1.0, 1.0)}, "`ambient_intensity`"),
        ({"directional_color": ((1.0,),)}, "`directional_color`"),
        ({"directional_intensity": (1.0, 2.0), "direction": ((0.0, 1.0, 0.0),) * 3}, "lights"),
    ],
)
def test_wrong_lights_are_named(changes, message):
    with pytest.raises((ArgumentError, ShapeError), match=message):
        lambert(RED, torch.zeros(1, 3), Light(**changes))


def test_only_colours_are_lit():
    with pytest.raises(ShapeError, match="`colors` must have 3 or 4 channels"):
        lambert(torch.zeros(5, 7), torch.zeros(5, 3))
    with pytest.raises(ShapeError, match="`normals`"):
        lambert(torch.zeros(5, 3), torch.zeros(5, 2))
