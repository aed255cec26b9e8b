"""Meshes from posed images."""

from taichi_softras.fitting.fitter import Fitter as Fitter
from taichi_softras.fitting.fitter import StepReport as StepReport
from taichi_softras.fitting.settings import FitSettings as FitSettings
