"""Make the README's picture with the library itself.

    python docs/make_images.py

Takes some minutes on two cores, most of them for the fit in the third row.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import taichi_softras as tsr
from taichi_softras import scenes
from taichi_softras.fitting import FitSettings, Fitter

HERE = Path(__file__).parent
SIDE = 224
SIGMA, GAMMA = "\N{GREEK SMALL LETTER SIGMA}", "\N{GREEK SMALL LETTER GAMMA}"
SIGMAS = (1e-6, 1e-4, 1e-3, 3e-3, 1e-2)
GAMMAS = (1e-3, 3e-2, 1e-1, 3e-1, 3.0)
SHOWN_STEPS = (0, 20, 100, 600)

# The scene's depths, as tight as can be, so that gamma means something.
NEAR, FAR = 2.2, 4.4


def main() -> None:
    """Write docs/images/teaser.png."""
    camera = tsr.Camera.orbit(3.3, 20.0, 35.0, 36.0, image_size=SIDE)
    blurred = [soft_picture(tsr.shapes.duck(), camera, sigma=s, gamma=3e-2) for s in SIGMAS]
    glassy = [soft_picture(duck_in_a_ring(), camera, sigma=1e-6, gamma=g) for g in GAMMAS]
    write(
        HERE / "images" / "teaser.png",
        [
            ("edges", [f"{SIGMA} = {power(s)}" for s in SIGMAS], blurred),
            ("depths", [f"{GAMMA} = {g:g}" for g in GAMMAS], glassy),
            ("a fit", [*(f"step {n}" for n in SHOWN_STEPS), "target"], fit_pictures()),
        ],
    )


def soft_picture(mesh: tsr.Mesh, camera: tsr.Camera, *, sigma: float, gamma: float) -> Tensor:
    """Render over white, the colours under the soft silhouette. [H, W, 3]."""
    settings = tsr.RasterSettings(sigma=sigma, gamma=gamma, near=NEAR, far=FAR)
    samples = 2
    fine = tsr.render(
        mesh, camera, samples * SIDE, settings=settings, background=1.0, light=tsr.Light()
    )
    picture = fine.image * fine.alpha[..., None] + 1.0 - fine.alpha[..., None]
    small = torch.nn.functional.avg_pool2d(picture.movedim(-1, 1), samples)
    return small[0].movedim(0, -1).clamp(0.0, 1.0)


def duck_in_a_ring() -> tsr.Mesh:
    """A duck with a swimming ring, which hides a part of it."""
    duck = tsr.shapes.duck()
    ring = tsr.shapes.torus(radius=0.75, tube=0.17, n_around=96, n_tube=32)
    # A little past the vertices, so that rounding does not fray the stripes.
    turn = torch.atan2(ring.vertices[:, 0], ring.vertices[:, 2]) * (8.0 / torch.pi) + 0.05
    stripes = turn.floor() % 2.0
    red, white = torch.tensor([0.85, 0.16, 0.2]), torch.tensor([0.96, 0.95, 0.92])
    down = torch.tensor([0.0, -0.28, 0.0])
    return tsr.Mesh(
        vertices=torch.cat([duck.vertices, ring.vertices + down]),
        faces=torch.cat([duck.faces, ring.faces + duck.n_vertices]),
        vertex_colors=torch.cat(
            [duck.vertex_colors, torch.where(stripes[:, None] > 0.0, red, white)]
        ),
    )


def fit_pictures() -> list[Tensor]:
    """Fit a sphere to 24 pictures of the duck; show it on the way. Each [H, W, 3]."""
    posed = scenes.render_posed(tsr.shapes.duck(), scenes.sphere_cameras(24, image_size=128))
    fitter = Fitter(posed, FitSettings(steps=max(SHOWN_STEPS)))
    camera = tsr.Camera.orbit(3.3, 20.0, 35.0, 36.0, image_size=SIDE)
    pictures = []
    for step in SHOWN_STEPS:
        while fitter.step_count < step and not fitter.done:
            fitter.step()
        pictures.append(over_white(scenes.render_rgba(fitter.mesh, camera, light=None)))
    return [*pictures, over_white(scenes.render_rgba(tsr.shapes.duck(), camera))]


def power(value: float) -> str:
    """Write 3e-3 as 3·10⁻³."""
    digit, exponent = f"{value:.0e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if digit == "1" else f"{digit}·10{raised}"


def over_white(rgba: Tensor) -> Tensor:
    """Lay one picture over white. [1, H, W, 4] -> [H, W, 3]."""
    return (rgba[..., :3] * rgba[..., 3:] + 1.0 - rgba[..., 3:])[0]


def write(
    path: Path, rows: Sequence[tuple[str, Sequence[str], Sequence[Tensor]]], colors: int = 256
) -> None:
    """Lay pictures out in rows, each picture under its caption and each row with a name."""
    import matplotlib as mpl
    from PIL import Image, ImageDraw, ImageFont

    fonts = Path(mpl.get_data_path()) / "fonts" / "ttf"
    caption_font = ImageFont.truetype(fonts / "DejaVuSans.ttf", 17)
    name_font = ImageFont.truetype(fonts / "DejaVuSans-Bold.ttf", 18)
    left, top = 92, 30
    columns = max(len(pictures) for _, _, pictures in rows)
    sheet = Image.new("RGB", (left + columns * SIDE, len(rows) * (SIDE + top)), "white")
    draw = ImageDraw.Draw(sheet)
    for r, (name, captions, pictures) in enumerate(rows):
        y = r * (SIDE + top)
        draw.text((14, y + top + SIDE // 2), name, "#333333", name_font, "lm")
        for c, (caption, picture) in enumerate(zip(captions, pictures, strict=True)):
            x = left + c * SIDE
            sheet.paste(Image.fromarray((picture * 255.0).round().byte().numpy()), (x, y + top))
            draw.text((x + SIDE // 2, y + top // 2 + 4), caption, "#333333", caption_font, "mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.quantize(colors, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    print(f"{path}: {sheet.width} x {sheet.height}, {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
