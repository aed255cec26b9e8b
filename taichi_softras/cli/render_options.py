"""The options of `softras render`, in the groups that its help shows."""

from dataclasses import dataclass
from typing import Annotated

from tyro import conf

from taichi_softras import scenes

MESH_HELP = (
    "A file (.obj, .ply, .glb, .gltf, .stl, .off), or a built-in shape: "
    f"{', '.join(scenes.SHAPES)}."
)
"""Of commands that take a mesh."""

_SUN = (0.3, 1.0, 0.6)


@dataclass(frozen=True)
class CameraArgs:
    """Where the mesh is seen from, and how large."""

    size: Annotated[int | tuple[int, int], conf.arg(metavar="INT [INT]")] = 256
    """Pixels: the side of a square, or height and width."""
    fov: float = 45.0
    """Full vertical field of view, in degrees."""
    distance: Annotated[
        float | None, conf.arg(metavar="FLOAT", help_behavior_hint="(default: it just fits)")
    ] = None
    """World units from the mesh's centre to the eye."""
    normalize: Annotated[bool, conf.arg(help_behavior_hint="(default: move it)")] = True
    """Leave the mesh where it is, instead of moving it into the unit sphere."""


@dataclass(frozen=True)
class FolderArgs:
    """For a folder only."""

    views: int = 24
    """Pictures, spread evenly over the whole sphere, below included."""
    overwrite: bool = False
    """Replace the pictures of an earlier `softras render`; other files stay."""


@dataclass(frozen=True)
class PictureArgs:
    """For one picture or a turntable."""

    elevation: float = 20.0
    """Degrees above the horizon."""
    azimuth: float = 30.0
    """Degrees about the y axis: 0 looks from +z, 90 from +x. A turntable begins there."""
    background: Annotated[str, conf.arg(metavar="COLOR")] = "white"
    """A name, '#rrggbb', or transparent (not in .jpg, .bmp, .gif and .mp4)."""


@dataclass(frozen=True)
class TurntableArgs:
    """For a turntable only."""

    frames: int = 48
    """Pictures in one turn."""
    fps: float = 24.0
    """Frames a second."""


@dataclass(frozen=True)
class LookArgs:
    """Sharp, with edges smoothed by supersampling; --sigma or --gamma make it soft."""

    supersample: Annotated[
        int | None, conf.arg(metavar="INT", help_behavior_hint="(default: 4, or 1 if soft)")
    ] = None
    """Samples along each pixel's side."""
    sigma: Annotated[
        float | None, conf.arg(metavar="FLOAT", help_behavior_hint="(default: sharp)")
    ] = None
    """Edge softness in squared NDC units (half the shorter side is 1), as 1e-4."""
    gamma: Annotated[
        float | None, conf.arg(metavar="FLOAT", help_behavior_hint="(default: sharp)")
    ] = None
    """Depth softness as a share of 100 radii of the mesh, as 1e-4."""


@dataclass(frozen=True)
class LightArgs:
    """The light stands still in the world."""

    ambient: float = 0.5
    """Intensity from everywhere."""
    directional: float = 0.5
    """Intensity from one direction."""
    light_direction: Annotated[tuple[float, float, float], conf.arg(metavar="X Y Z")] = _SUN
    """World direction towards the light; y is up."""
    specular: float = 0.0
    """Strength of white highlights under the directional light."""
    shininess: float = 40.0
    """How small highlights are."""
    phong: bool = False
    """Light each pixel instead of each vertex, as suits highlights on coarse meshes."""
    flat: bool = False
    """Light each face evenly, as suits meshes with edges."""
    unlit: bool = False
    """Show the mesh's colours as they are."""
