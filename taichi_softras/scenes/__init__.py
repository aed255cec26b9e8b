"""Scenes to fit: meshes to look at, cameras round them, and pictures without jagged edges."""

from taichi_softras.scenes.cameras import framing_distance as framing_distance
from taichi_softras.scenes.cameras import sphere_cameras as sphere_cameras
from taichi_softras.scenes.cameras import turntable_cameras as turntable_cameras
from taichi_softras.scenes.meshes import SHAPES as SHAPES
from taichi_softras.scenes.meshes import Sphere as Sphere
from taichi_softras.scenes.meshes import bounding_sphere as bounding_sphere
from taichi_softras.scenes.meshes import faceted as faceted
from taichi_softras.scenes.meshes import open_mesh as open_mesh
from taichi_softras.scenes.pictures import render_posed as render_posed
from taichi_softras.scenes.pictures import render_rgba as render_rgba
