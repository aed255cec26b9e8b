"""The names of other renderers, so that their users' code runs here unchanged."""

from taichi_softras.compat import soft_renderer as soft_renderer
