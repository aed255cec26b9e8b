"""Pictures with known cameras, and the folders that the NeRF world keeps them in."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from taichi_softras.camera import Camera
from taichi_softras.errors import ArgumentError, FileError, ShapeError, check_shape
from taichi_softras.io.files import AnyPath
from taichi_softras.io.posed_pixels import fitting_size, read_rgba, shrink
from taichi_softras.io.transforms_json import (
    Frame,
    find_image,
    intrinsics,
    read_frames,
    read_tree,
    transforms_path,
)

_NOT_PICTURES = ("mask", "depth", "normal")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedImages:
    """N pictures of one size, each with its camera and its silhouette."""

    images: Tensor
    """Straight (not premultiplied) RGBA in 0..1. [N, H, W, 4]"""
    cameras: Camera
    """N perspective views; `image_size` is (H, W), and is filled in where it is missing."""
    names: tuple[str, ...]
    """What each picture is called: its `file_path` where it comes from a folder."""

    def __post_init__(self) -> None:
        """Refuse what does not belong together, naming the field."""
        n, height, width = check_shape("images", self.images.shape, "N H W 4").values()
        if 0 in self.images.shape or not self.images.is_floating_point():
            raise ShapeError(
                f"`images` must hold at least one float pixel, got {list(self.images.shape)} "
                f"{self.images.dtype}."
            )
        if len(self.cameras) != n or len(self.names) != n:
            raise ShapeError(
                f"`images` holds {n} views, `cameras` {len(self.cameras)} and `names` "
                f"{len(self.names)}; they must agree."
            )
        if self.cameras.image_size is None:
            sized = replace(self.cameras, image_size=(height, width))
            object.__setattr__(self, "cameras", sized)
        elif self.cameras.image_size != (height, width):
            raise ShapeError(
                f"`cameras` are for images of {self.cameras.image_size} (height, width), "
                f"`images` are {(height, width)}."
            )

    def __len__(self) -> int:
        return len(self.names)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.images.shape[1], self.images.shape[2]

    @property
    def rgb(self) -> Tensor:
        """Colours; those of fully transparent pixels mean nothing. [N, H, W, 3]."""
        return self.images[..., :3]

    @property
    def alpha(self) -> Tensor:
        """Silhouettes. [N, H, W]."""
        return self.images[..., 3]

    def composite(self, background: float | Sequence[float] | Tensor = 0.0) -> Tensor:
        """Lay the pictures over a background: a number, [3] or [N, H, W, 3]. -> [N, H, W, 3]."""
        behind = torch.as_tensor(background, dtype=self.images.dtype, device=self.images.device)
        alpha = self.images[..., 3:]
        return self.rgb * alpha + behind * (1.0 - alpha)

    def subset(self, indices: Sequence[int] | Tensor) -> "PosedImages":
        """Select views, in the given order."""
        chosen = [int(i) for i in indices]
        if bad := [i for i in chosen if not -len(self) <= i < len(self)]:
            raise ArgumentError(f"`indices` must be below {len(self)}, got {bad[0]}.")
        chosen = [i % len(self) for i in chosen]
        return PosedImages(
            images=self.images[chosen],
            cameras=self.cameras[chosen],
            names=tuple(self.names[i] for i in chosen),
        )

    def shrunk(self, factor: float) -> "PosedImages":
        """Average the images to about 1 / `factor` of their size, at least 1; the lens follows."""
        if not factor >= 1.0:
            raise ArgumentError(f"`factor` must be at least 1, got {factor}.")
        old = self.size
        size = (max(1, round(old[0] / factor)), max(1, round(old[1] / factor)))
        ratios = torch.tensor([[size[1] / old[1]], [size[0] / old[0]], [1.0]])
        k, r, t = self.cameras.to_matrices()
        return PosedImages(
            images=torch.stack([shrink(image, size) for image in self.images]),
            cameras=Camera.from_matrices(K=k * ratios.to(k), R=r, t=t, image_size=size),
            names=self.names,
        )

    def to(self, *args: Any, **kwargs: Any) -> "PosedImages":
        """Move to a device or floating-point dtype: the arguments of `torch.Tensor.to`."""
        return PosedImages(
            images=self.images.to(*args, **kwargs),
            cameras=self.cameras.to(*args, **kwargs),
            names=self.names,
        )


def has_split(folder: AnyPath, split: str) -> bool:
    """Say whether a folder has views set apart, as `transforms_{split}.json`."""
    return transforms_path(Path(folder), split).is_file()


def load_posed_images(
    folder: AnyPath, *, split: str | None = None, max_size: int | None = None
) -> PosedImages:
    """Read a folder of pictures with poses, as NeRF, instant-ngp and Nerfstudio write them.

    `transforms.json` gives `transform_matrix` for each frame (camera-to-world; the camera looks
    along -z, y is up) and the lens, for all or for each frame: `fl_x, fl_y, cx, cy, w, h` in
    pixels from the image's top left corner, or `camera_angle_x` in radians, horizontally.
    Silhouettes are the images' alpha channel, a grey `mask_path` (1 is the object), or the
    product of both. Other keys are ignored.

    Args:
        folder: Where `transforms.json` lies.
        split: "train", "val" or "test" reads `transforms_{split}.json`. None reads
            `transforms.json`, or `transforms_train.json` if there is no other.
        max_size: Shrink images by averaging until no side is longer; the lens follows.

    Returns:
        float32 images, and cameras for their final size.

    Raises:
        FileError: A file is missing or damaged; a frame has no pose, or one that is not rigid and
            finite; images differ in size, lack a silhouette, or have lens distortion.
    """
    path = _find_transforms(Path(folder), split)
    if max_size is not None and max_size < 1:
        raise ArgumentError(f"`max_size` must be at least 1 pixel, got {max_size}.")
    frames = read_frames(path)
    _warn_about_unused(path, frames)
    images: list[Tensor] = []
    lenses: list[Tensor] = []
    first: tuple[int, int] | None = None
    for frame in frames:
        image = read_rgba(frame.image, frame.mask, frame.where)
        size = image.shape[0], image.shape[1]
        first = first or size
        if size != first:
            raise FileError(
                f"`{path}`: all images must have one size, but `{frames[0].image}` is "
                f"{first[1]} x {first[0]} and `{frame.image}` is {size[1]} x {size[0]} (w x h)."
            )
        height, width = fitting_size(size, max_size)
        ratios = torch.tensor([[width / size[1]], [height / size[0]], [1.0]], dtype=torch.float64)
        lenses.append(intrinsics(frame, size) * ratios)
        images.append(shrink(image, (height, width)))
    stack = torch.stack(images)
    if bool((stack[..., 3] == 1.0).all()):
        warnings.warn(f"`{path}`: all images are opaque throughout, so there is no silhouette; "
                      "was the background left in?", stacklevel=2)  # fmt: skip
    cameras = Camera.from_opengl(
        torch.stack([frame.world_from_camera for frame in frames]),
        K=torch.stack(lenses),
        image_size=(stack.shape[1], stack.shape[2]),
    )
    names = tuple(frame.name for frame in frames)
    return PosedImages(images=stack, cameras=cameras.to(torch.float32), names=names)


def _find_transforms(folder: Path, split: str | None) -> Path:
    """Return the JSON file to read, or say which there are."""
    if not folder.is_dir():
        raise FileError(f"`{folder}` is no folder; one with `transforms.json` was expected.")
    path = transforms_path(folder, split)
    if split is None and not path.is_file():
        path = transforms_path(folder, "train")
    if path.is_file():
        return path
    others = ", ".join(sorted(p.name for p in folder.glob("transforms*.json"))) or "none"
    wanted = transforms_path(folder, split).name
    raise FileError(f"`{folder}` has no `{wanted}`; files of that kind in it: {others}.")


def _warn_about_unused(path: Path, frames: Sequence[Frame]) -> None:
    """Count the pictures that lie beside the frames' own and that no split mentions."""
    mentioned = {file.resolve() for f in frames for file in (f.image, f.mask) if file is not None}
    for other in path.parent.glob("transforms*.json"):
        try:
            names = [frame.get("file_path") for frame in read_tree(other)["frames"]]
        except FileError:
            continue  # it is not the file that was asked for
        found = (find_image(path.parent, name) for name in names if isinstance(name, str) and name)
        mentioned |= {file.resolve() for file in found if file is not None}
    unused = [
        file
        for folder in {frame.image.parent for frame in frames}
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in _PICTURES
        and file.resolve() not in mentioned
        and not any(word in file.name.lower() for word in _NOT_PICTURES)
    ]
    if unused:
        warnings.warn(f"`{path}` leaves out {len(unused)} images that lie beside the ones it "
                      f"names, such as `{unused[0].name}`.", stacklevel=3)  # fmt: skip
