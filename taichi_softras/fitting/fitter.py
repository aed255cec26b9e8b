"""Shape and colours from posed images: an icosphere pulled into place by soft silhouettes."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from taichi_softras import losses, shapes, topology
from taichi_softras.errors import ArgumentError
from taichi_softras.fitting.framing import frame_object
from taichi_softras.fitting.optimizer import UniformAdam
from taichi_softras.fitting.preconditioner import Preconditioner
from taichi_softras.fitting.settings import FitSettings
from taichi_softras.io import PosedImages
from taichi_softras.mesh import Mesh
from taichi_softras.renderer import render
from taichi_softras.settings import RasterSettings


@dataclass(frozen=True)
class StepReport:
    """What one optimiser step saw."""

    step: int
    loss: float
    photometric: float
    silhouette: float
    sigma: float
    gamma: float
    size: tuple[int, int]


class Fitter:
    """Fits a mesh with vertex colours to posed images, one `step` at a time.

    The loss is the L1 difference of images over a random background, plus 1 - IoU of the
    silhouettes. Images grow and softness shrinks while fitting; the icosphere is subdivided once
    on the way. Vertices are optimised through `Preconditioner`, so no remeshing is needed.

    Args:
        posed: What to fit to.
        settings: How.
        template: Start from this closed mesh, in world coordinates, and keep its topology;
            by default from an icosphere where the silhouettes say that the object is.
    """

    def __init__(
        self,
        posed: PosedImages,
        settings: FitSettings | None = None,
        template: Mesh | None = None,
    ) -> None:
        self.settings = settings or FitSettings()
        self.frame = frame_object(posed)
        self.step_count = 0
        self.history: list[StepReport] = []
        self._own_template = template is not None
        self._pyramid = [posed.shrunk(factor) for factor in self.settings.shrink]
        self._generator = torch.Generator().manual_seed(self.settings.seed)
        self._queue: list[int] = []
        level = min(self.settings.level, 3)
        start = template if template is not None else shapes.icosphere(level)
        vertices, colors = start.vertices.detach(), start.vertex_colors
        if template is not None:
            vertices = (vertices - self.frame.center) / self.frame.radius
        if colors is None or colors.shape[-1] != 3:
            colors = torch.full_like(vertices, 0.5)
        self._level = level
        self._set_mesh(vertices, start.faces, colors.detach().clamp(0.02, 0.98).logit())

    @property
    def done(self) -> bool:
        """Whether all steps were made, or the loss stopped falling."""
        return self.step_count >= self.settings.steps or self._stalled()

    @property
    def mesh(self) -> Mesh:
        """The current mesh in world coordinates, without gradients."""
        with torch.no_grad():
            return self._mesh()

    @property
    def raster_settings(self) -> RasterSettings:
        """Softness of the next step."""
        s, progress = self.settings, min(self.step_count / self.settings.steps, 1.0)
        pixels = s.sigma_start * (s.sigma_end / s.sigma_start) ** progress
        pixel = 2.0 / min(self._images().size)
        return RasterSettings(
            sigma=(pixels * pixel) ** 2,
            gamma=s.gamma_start * (s.gamma_end / s.gamma_start) ** progress,
            near=self.frame.near,
            far=self.frame.far,
        )

    def step(self) -> StepReport:
        """Look at the next few images and move the mesh."""
        self._refine()
        images, raster = self._images(), self.raster_settings
        chosen = self._next_views(len(images))
        background = torch.rand(3, generator=self._generator)
        target = images.subset(chosen)
        out = render(self._mesh(), target.cameras, settings=raster)
        assert out.image is not None
        alpha = out.alpha[..., None]
        seen = out.image * alpha + background * (1.0 - alpha)
        photometric = losses.photometric(seen, target.composite(background))
        silhouette = losses.silhouette_iou(out.alpha, target.alpha)
        loss = photometric + self.settings.silhouette_weight * silhouette
        self._set_rates()
        for optimizer in (self._shape_optimizer, self._color_optimizer):
            optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in (self._shape_optimizer, self._color_optimizer):
            optimizer.step()
        report = StepReport(
            step=self.step_count,
            loss=float(loss.detach()),
            photometric=float(photometric.detach()),
            silhouette=float(silhouette.detach()),
            sigma=float(raster.sigma),
            gamma=float(raster.gamma),
            size=images.size,
        )
        self.history.append(report)
        self.step_count += 1
        return report

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on as if nothing had happened."""
        return {
            "settings": asdict(self.settings),
            "step": self.step_count,
            "level": self._level,
            "u": self._u.detach(),
            "logits": self._logits.detach(),
            "faces": self._faces,
            "shape_optimizer": self._shape_optimizer.state_dict(),
            "color_optimizer": self._color_optimizer.state_dict(),
            "generator": self._generator.get_state(),
            "queue": list(self._queue),
            "history": [asdict(report) for report in self.history],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict` of a fit to the same images with the same settings.

        Raises:
            ArgumentError: The settings differ.
        """
        mine = asdict(self.settings)
        changed = [k for k, v in mine.items() if _plain(state["settings"].get(k)) != _plain(v)]
        if changed:
            raise ArgumentError(
                f"the checkpoint was made with other settings ({', '.join(changed)}); use the "
                "same ones, or start anew."
            )
        self._level = state["level"]
        self._set_mesh(state["u"], state["faces"], state["logits"], smooth=False)
        self._shape_optimizer.load_state_dict(state["shape_optimizer"])
        self._color_optimizer.load_state_dict(state["color_optimizer"])
        self._generator.set_state(state["generator"])
        self._queue = list(state["queue"])
        self.step_count = state["step"]
        self.history = [
            StepReport(**{**report, "size": tuple(report["size"])}) for report in state["history"]
        ]

    def _mesh(self) -> Mesh:
        vertices = self.frame.center + self.frame.radius * self._preconditioner.smooth(self._u)
        return Mesh(vertices=vertices, faces=self._faces, vertex_colors=self._logits.sigmoid())

    def _set_mesh(
        self, vertices: Tensor, faces: Tensor, logits: Tensor, *, smooth: bool = True
    ) -> None:
        """Optimise these vertices from now on; with smooth=False they are already u."""
        self._faces = faces
        self._preconditioner = Preconditioner(faces, len(vertices), self.settings.smoothness)
        u = self._preconditioner.roughen(vertices) if smooth else vertices.clone()
        self._u, self._logits = u.requires_grad_(), logits.clone().requires_grad_()
        self._shape_optimizer = UniformAdam([self._u], betas=(0.9, 0.99))
        self._color_optimizer = torch.optim.Adam([self._logits], betas=(0.9, 0.99))

    def _set_rates(self) -> None:
        """Cosine decay to a tenth over the last half of the steps."""
        late = max(0.0, 2.0 * self.step_count / self.settings.steps - 1.0)
        decay = 0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * min(late, 1.0)))
        self._shape_optimizer.param_groups[0]["lr"] = self.settings.learning_rate * decay
        self._color_optimizer.param_groups[0]["lr"] = self.settings.color_rate * decay

    def _refine(self) -> None:
        """Subdivide the icosphere to its last level when the second stage begins."""
        if self._own_template or self._level >= self.settings.level or self._stage() == 0:
            return
        with torch.no_grad():
            vertices, logits = self._preconditioner.smooth(self._u), self._logits
            faces = self._faces
            while self._level < self.settings.level:
                faces, edges = topology.subdivide(faces, len(vertices))
                vertices = torch.cat([vertices, vertices[edges].mean(1)])
                logits = torch.cat([logits, logits[edges].mean(1)])
                self._level += 1
        self._set_mesh(vertices, faces, logits)

    def _stage(self) -> int:
        stages = len(self.settings.shrink)
        return min(stages * self.step_count // self.settings.steps, stages - 1)

    def _images(self) -> PosedImages:
        return self._pyramid[self._stage()]

    def _next_views(self, n_views: int) -> list[int]:
        chosen: list[int] = []
        while len(chosen) < min(self.settings.views_per_step, n_views):
            if not self._queue:
                self._queue = torch.randperm(n_views, generator=self._generator).tolist()
            chosen.append(self._queue.pop())
        return chosen

    def _stalled(self) -> bool:
        """Whether the best loss of the last stage is older than `patience`, views averaged out."""
        stages, patience = len(self.settings.shrink), self.settings.patience
        first = (stages - 1) * self.settings.steps // stages
        recent = [report.loss for report in self.history[first:]]
        window = max(patience // 5, 1)
        if len(recent) < patience + window:
            return False
        sums = torch.tensor(recent).unfold(0, window, 1).mean(1)
        return bool(len(sums) - 1 - sums.argmin() >= patience)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
