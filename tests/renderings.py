"""Renderings below autograd, for tests that look at their memory."""

import torch
from soups import Options, soup

from taichi_softras.inputs import pack_inputs
from taichi_softras.torch_bridge import launch
from taichi_softras.torch_bridge.frames import Frame


def one_rendering(seed=1):
    """Return what the kernels were given, the images, and all that the rendering holds."""
    settings = Options().settings(sigma=1e-2, gamma=0.1)
    corners, attributes = soup(seed, 6, dtype=torch.float32)
    inputs = pack_inputs(
        corners,
        attributes,
        size=9,
        settings=settings,
        background=torch.rand(1, 9, 9, 3),
        face_counts=None,
    )
    plan = Frame.of(inputs, settings, orthographic=False).plan
    tensors = launch.Tensors.of(inputs)
    return tensors, *launch.forward(plan, tensors)
