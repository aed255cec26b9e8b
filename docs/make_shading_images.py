"""Make the picture of docs/shading.md with the library itself.

    python docs/make_shading_images.py

Takes some seconds.
"""

from pathlib import Path

import torch
from make_images import SIDE, write
from torch import Tensor

import taichi_softras as tsr

SHADINGS = ("flat", "gouraud", "phong")
LIGHTS = (
    tsr.AmbientLight(intensity=0.25),
    tsr.DirectionalLight(intensity=0.45, direction=(-0.6, 0.7, 0.8)),
    tsr.PointLight(position=(1.4, 1.0, 2.0), intensity=0.5, color=(1.0, 0.9, 0.7)),
)
MATERIAL = tsr.Material(specular_intensity=0.7, shininess=60.0)


def main() -> None:
    """Write docs/images/shading.png."""
    sphere = tsr.shapes.icosphere(2)
    red = torch.tensor([0.75, 0.3, 0.25]).expand(sphere.n_vertices, 3)
    rows = [
        ("plain", pictures(sphere.replace(vertex_colors=red))),
        ("texture", pictures(textured(sphere))),
    ]
    captions = [f'"{shading}"' for shading in SHADINGS]
    path = Path(__file__).parent / "images" / "shading.png"
    write(path, [(name, captions, found) for name, found in rows], colors=128)


def pictures(mesh: tsr.Mesh) -> list[Tensor]:
    """Render under each shading. [H, W, 3] each."""
    camera = tsr.Camera.orbit(3.0, 15.0, 10.0, 44.0, image_size=SIDE)
    settings = tsr.RasterSettings(sigma=1e-6, gamma=1e-4, near=1.5, far=4.5)
    return [
        tsr.render(
            mesh, camera, settings=settings, background=1.0, light=LIGHTS, material=MATERIAL,
            shading=shading, antialias=3,
        ).image[0].clamp(0.0, 1.0)
        for shading in SHADINGS
    ]  # fmt: skip


def textured(mesh: tsr.Mesh) -> tsr.Mesh:
    """The mesh with a chequered image, laid on by longitude and latitude at each corner."""
    x, y, z = mesh.corners.unbind(-1)
    u = torch.atan2(x, z) / (2.0 * torch.pi) + 0.5  # [F, 3]
    # A face across the seam goes on beyond 1; at a pole u is that of the other corners.
    u = torch.where(u.amax(1, keepdim=True) - u > 0.5, u + 1.0, u)
    pole = y.abs() > 1.0 - 1e-6
    others = (u * ~pole).sum(1, keepdim=True) / (~pole).sum(1, keepdim=True)
    u, v = torch.where(pole, others, u), y.clamp(-1.0, 1.0).asin() / torch.pi + 0.5
    row, column = torch.meshgrid(torch.arange(8), torch.arange(16), indexing="ij")
    dark = ((row + column) % 2 == 0)[..., None]
    image = torch.where(dark, torch.tensor([0.15, 0.3, 0.5]), torch.tensor([0.85, 0.8, 0.65]))
    texture = tsr.UVTexture(
        images=image.repeat_interleave(16, 0).repeat_interleave(16, 1),
        uvs=torch.stack([u, v], -1).reshape(-1, 2),
        uv_faces=torch.arange(3 * mesh.n_faces).reshape(-1, 3),
    )
    return mesh.replace(texture=texture)


if __name__ == "__main__":
    main()
