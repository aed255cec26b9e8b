"""`softras fit`: a mesh from posed images."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro import conf

from taichi_softras import scenes
from taichi_softras.cli import fit_folder, terminal
from taichi_softras.cli.fit_folder import Checkpoint
from taichi_softras.cli.fit_progress import fit_progress
from taichi_softras.errors import ArgumentError
from taichi_softras.fitting import FitSettings, Fitter, metrics, pictures
from taichi_softras.io import PosedImages, has_split, load_mesh, load_posed_images
from taichi_softras.mesh import Mesh

_HOLD_OUT = 8
_SAVE_EVERY = 50
_FRAMES = 48

_DIR_HELP = (
    "Folder with pictures and transforms.json, as `softras render` and the NeRF world write it. "
    "Every eighth view is held out, or transforms_test.json where there is one. "
    "Without DIR a scene is made from --shape."
)
_OUT_HELP = (
    "Folder for mesh.glb, mesh.obj, report.json, losses.png, side_by_side.png, fit.gif and "
    "checkpoint.pt."
)


@dataclass(frozen=True)
class FitArgs:
    """Fit a coloured mesh to pictures with known cameras, from silhouettes and colours."""

    dir: Annotated[Path | None, conf.Positional, conf.arg(metavar="[DIR]", help=_DIR_HELP)] = None
    out: Annotated[Path, conf.arg(aliases=["-o"], metavar="OUT", help=_OUT_HELP)] = Path("out/fit")
    shape: str = "duck"
    """Built-in shape, or mesh file, to make a scene from where no DIR is given."""
    template: Path | None = None
    """Mesh file to start from instead of an icosphere; it keeps its topology."""
    max_size: int = 256
    """Images are shrunk for fitting until no side is longer than this, in pixels."""
    resume: bool = False
    """Go on from OUT's checkpoint."""
    overwrite: bool = False
    """Replace an earlier fit in OUT."""
    settings: FitSettings = field(default_factory=FitSettings)

    def run(self) -> int:
        """Fit, write, and say how good it is."""
        if self.max_size < 8:
            raise ArgumentError(f"`--max-size` must be at least 8 pixels, got {self.max_size}.")
        fit_folder.check(self.out, resume=self.resume, overwrite=self.overwrite)
        train, held_out, truth = self._scene()
        template = None if self.template is None else load_mesh(self.template, textures="vertices")
        factor = max(1.0, max(train.size) / self.max_size)
        fitter = Fitter(train.shrunk(factor), self.settings, template)
        checkpoint = fit_folder.load_checkpoint(self.out) if self.resume else Checkpoint()
        if checkpoint.state is not None:
            fitter.load_state_dict(checkpoint.state)
        try:
            self._optimize(fitter, checkpoint, held_out or train)
        except KeyboardInterrupt:
            fit_folder.save_checkpoint(self.out, fitter, checkpoint)
            terminal.complain(
                f"Stopped at step {fitter.step_count} of {self.settings.steps}; "
                f"`--resume` goes on from {self.out / fit_folder.CHECKPOINT}.",
                "yellow",
            )
            return 130
        fit_folder.save_checkpoint(self.out, fitter, checkpoint)
        self._finish(fitter, checkpoint, train, held_out, truth)
        return 0

    def _scene(self) -> tuple[PosedImages, PosedImages | None, Mesh | None]:
        """Return views to fit to, views held out, and the true mesh where it is known."""
        truth: Mesh | None
        if self.dir is None:
            truth = scenes.open_mesh(self.shape).normalized()
            with terminal.progress("Making a scene") as progress:
                posed = scenes.render_posed(
                    truth, scenes.sphere_cameras(24, image_size=256), progress=progress
                )
        else:
            truth = fit_folder.true_mesh(self.dir)
            if has_split(self.dir, "train") and has_split(self.dir, "test"):
                train = load_posed_images(self.dir, split="train")
                return train, load_posed_images(self.dir, split="test"), truth
            posed = load_posed_images(self.dir)
        held = list(range(0, len(posed), _HOLD_OUT))
        if len(posed) < 4:
            return posed, None, truth
        kept = [i for i in range(len(posed)) if i not in held]
        return posed.subset(kept), posed.subset(held), truth

    def _optimize(self, fitter: Fitter, checkpoint: Checkpoint, views: PosedImages) -> None:
        """Make all steps, with a bar, checkpoints, and frames for the GIF."""
        shown = views.subset([0])
        shown = shown.shrunk(max(1.0, max(shown.size) / 256))
        every = max(1, self.settings.steps // _FRAMES)
        self.out.mkdir(parents=True, exist_ok=True)
        with fit_progress(self.settings.steps, fitter.step_count) as tell:
            while not fitter.done:
                if fitter.step_count % every == 0:
                    checkpoint.frames.append(pictures.frame_of(fitter.mesh, shown))
                start = time.perf_counter()
                report = fitter.step()
                checkpoint.seconds += time.perf_counter() - start
                tell(report)
                if fitter.step_count % _SAVE_EVERY == 0:
                    fit_folder.save_checkpoint(self.out, fitter, checkpoint)
        checkpoint.frames.append(pictures.frame_of(fitter.mesh, shown))

    def _finish(
        self,
        fitter: Fitter,
        checkpoint: Checkpoint,
        train: PosedImages,
        held_out: PosedImages | None,
        truth: Mesh | None,
    ) -> None:
        """Score the mesh, write everything, and print the scores."""
        mesh, views = fitter.mesh, held_out or train
        scores = metrics.score_views(mesh, views)
        iou = sum(scores.hard_iou) / len(views)
        psnr = sum(scores.psnr) / len(views)
        report: dict[str, Any] = {
            "hard_iou": iou,
            "psnr_db": psnr,
            "scored_on": "training views" if held_out is None else "held-out views",
            "views": [
                {"name": name, "hard_iou": i, "psnr_db": p}
                for name, i, p in zip(views.names, scores.hard_iou, scores.psnr, strict=True)
            ],
            "training_views": len(train),
            "chamfer": None,
            "steps": fitter.step_count,
            "seconds_fitting": checkpoint.seconds,
            "seconds_per_step": checkpoint.seconds / max(fitter.step_count, 1),
            "vertices": mesh.n_vertices,
            "faces": mesh.n_faces,
        }
        if truth is not None:
            distance = metrics.chamfer_distance(mesh, truth)
            radius = scenes.bounding_sphere(truth).radius
            report["chamfer"] = {"distance": distance, "relative_to_radius": distance / radius}
        fit_folder.write(self.out, mesh, report, vars(self), checkpoint, fitter.history)
        pictures.save_side_by_side(mesh, views, self.out / "side_by_side.png")
        terminal.say(f"Scores on {len(views)} {report['scored_on']}:", "bold")
        terminal.say(f"  hard IoU  {iou:.4f}")
        terminal.say(f"  PSNR      {psnr:.2f} dB")
        if report["chamfer"]:
            terminal.say(f"  Chamfer   {report['chamfer']['relative_to_radius']:.4f} of the radius")
        terminal.say(
            f"Wrote mesh.glb, report.json and pictures to {self.out} after {fitter.step_count} "
            f"steps, {1e3 * report['seconds_per_step']:.0f} ms each."
        )
