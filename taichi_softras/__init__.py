"""Soft rasterization in Taichi, differentiable everywhere."""
