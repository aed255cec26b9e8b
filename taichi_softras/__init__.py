"""Soft rasterization in Taichi, differentiable everywhere.

Names are imported when they are first used, so that programs without torch never load it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from taichi_softras import camera_conventions as camera_conventions
    from taichi_softras import compat as compat
    from taichi_softras import losses as losses
    from taichi_softras import reference as reference
    from taichi_softras import shapes as shapes
    from taichi_softras import tape as tape
    from taichi_softras.camera import Camera as Camera
    from taichi_softras.errors import ArgumentError as ArgumentError
    from taichi_softras.errors import BackendError as BackendError
    from taichi_softras.errors import DerivativeError as DerivativeError
    from taichi_softras.errors import FileError as FileError
    from taichi_softras.errors import ShapeError as ShapeError
    from taichi_softras.errors import SoftRasError as SoftRasError
    from taichi_softras.inputs import Rendering as Rendering
    from taichi_softras.io import PosedImages as PosedImages
    from taichi_softras.io import load_image as load_image
    from taichi_softras.io import load_mesh as load_mesh
    from taichi_softras.io import load_posed_images as load_posed_images
    from taichi_softras.io import save_image as save_image
    from taichi_softras.io import save_mesh as save_mesh
    from taichi_softras.io import save_posed_images as save_posed_images
    from taichi_softras.io import save_video as save_video
    from taichi_softras.lights import AmbientLight as AmbientLight
    from taichi_softras.lights import DirectionalLight as DirectionalLight
    from taichi_softras.lights import Material as Material
    from taichi_softras.lights import PointLight as PointLight
    from taichi_softras.lights import SphericalHarmonics as SphericalHarmonics
    from taichi_softras.mesh import Mesh as Mesh
    from taichi_softras.renderer import render as render
    from taichi_softras.runtime import init as init
    from taichi_softras.settings import RasterSettings as RasterSettings
    from taichi_softras.shading import Light as Light
    from taichi_softras.shading import shade as shade
    from taichi_softras.skipped import SkippedFaces as SkippedFaces
    from taichi_softras.texture_maps import FaceTexture as FaceTexture
    from taichi_softras.textures import SurfaceTexture as SurfaceTexture
    from taichi_softras.textures import UVTexture as UVTexture
    from taichi_softras.torch_bridge import rasterize as rasterize
    from taichi_softras.voxels import voxel_iou as voxel_iou
    from taichi_softras.voxels import voxelize as voxelize

_SUBMODULES = ("camera_conventions", "compat", "losses", "reference", "shapes", "tape")

_HOMES = {
    "AmbientLight": "lights",
    "ArgumentError": "errors",
    "BackendError": "errors",
    "Camera": "camera",
    "DerivativeError": "errors",
    "DirectionalLight": "lights",
    "FaceTexture": "texture_maps",
    "FileError": "errors",
    "Light": "shading",
    "Material": "lights",
    "Mesh": "mesh",
    "PointLight": "lights",
    "PosedImages": "io",
    "RasterSettings": "settings",
    "Rendering": "inputs",
    "ShapeError": "errors",
    "SkippedFaces": "skipped",
    "SoftRasError": "errors",
    "SphericalHarmonics": "lights",
    "SurfaceTexture": "textures",
    "UVTexture": "textures",
    "init": "runtime",
    "load_image": "io",
    "load_mesh": "io",
    "load_posed_images": "io",
    "rasterize": "torch_bridge",
    "render": "renderer",
    "save_image": "io",
    "save_mesh": "io",
    "save_posed_images": "io",
    "save_video": "io",
    "shade": "shading",
    "voxel_iou": "voxels",
    "voxelize": "voxels",
}
"""The module that each public name lives in."""


def __getattr__(name: str) -> Any:
    """Import a public name on first use, and remember it."""
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List what is public, loaded or not."""
    return sorted({*globals(), *_SUBMODULES, *_HOMES})
