"""Lights of several kinds, and materials: what users build, and `shade` and `render` take.

They are numbers until they meet a surface: each is checked and turned into tensors when it
shines, so that what requires grad receives one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

Numbers = float | Sequence[float] | Sequence[Sequence[float]] | Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class AmbientLight:
    """Light from everywhere, the same on every surface. Each field may be one a view: [B, ...]."""

    intensity: Numbers = 0.5
    """Factor of the colour. []"""
    color: Numbers = (1.0, 1.0, 1.0)
    """Red, green, blue. [3]"""


@dataclass(frozen=True, kw_only=True, eq=False)
class DirectionalLight:
    """Light from far away. Each field may be one a view: [B, ...]."""

    intensity: Numbers = 0.5
    """Factor of the colour. []"""
    color: Numbers = (1.0, 1.0, 1.0)
    """Red, green, blue. [3]"""
    direction: Numbers = (0.3, 1.0, 0.6)
    """World direction *towards* the light, of any length above zero. [3]"""


@dataclass(frozen=True, kw_only=True, eq=False)
class PointLight:
    """Light from a point, for surfaces at distance d weaker by constant + linear d + quadratic d².

    Where that sum is nothing, as at the light itself under (0, 0, 1), the light gives nothing.
    Each field may be one a view: [B, ...].
    """

    position: Numbers
    """World coordinates. [3]"""
    intensity: Numbers = 0.5
    """Factor of the colour. []"""
    color: Numbers = (1.0, 1.0, 1.0)
    """Red, green, blue. [3]"""
    attenuation: Numbers = (1.0, 0.0, 0.0)
    """Constant, linear and quadratic, none negative; by default distance does not matter. [3]"""


@dataclass(frozen=True, kw_only=True, eq=False)
class SphericalHarmonics:
    """Light of an environment: its radiance in real spherical harmonics up to order 2.

    docs/conventions.md has the functions, their order and the source. `coefficients` may be one
    set a view: [B, 9, 3].
    """

    coefficients: Numbers | Sequence[Sequence[Sequence[float]]]
    """Of 1, y, z, x, xy, yz, 3z² - 1, xz, x² - y², in world axes; red, green, blue. [9, 3]"""


LightSource = AmbientLight | DirectionalLight | PointLight | SphericalHarmonics


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """How a surface answers light, beside its colours. Tensor fields may be one a view: [B, ...].

    The default is matte and adds nothing to the colours.
    """

    specular_intensity: Numbers = 0.0
    """Strength of highlights under directional and point lights; the number 0 costs nothing. []"""
    specular_color: Numbers = (1.0, 1.0, 1.0)
    """Red, green, blue: white as plastic, or the colour of the metal. [3]"""
    shininess: Numbers = 32.0
    """Exponent of Blinn and Phong, above zero: the larger, the smaller the highlight. []"""

    @property
    def shiny(self) -> bool:
        """Whether there is any highlight to compute."""
        given = self.specular_intensity
        return not (isinstance(given, int | float) and given == 0)
