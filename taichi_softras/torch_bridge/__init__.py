"""The rasterizer for torch: autograd, compiled graphs, and memory shared with Taichi."""

from taichi_softras.torch_bridge.rasterizer import rasterize as rasterize
