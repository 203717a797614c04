"""How a drawn page becomes a picture: by a scanner, or by a phone with all that it does to a page."""

# H height, W width; points are (x, y) in pixels, from the upper left corner

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFilter

from common.data.ink_paper import Grey, smooth_noise
from common.data.xml_pages import Points

PHONE = 0.5
"""Share of the pictures that a phone takes; a scanner takes the others."""
SHADOW, BLUR, NOISE = 0.7, 0.6, 0.7
"""Shares of a phone's pictures that have each. All of them show the desk, and have perspective and JPEG."""
MOST_DEGREES = 5.0
"""Largest angle by which a phone turns a page. A scanner turns it by at most 1.5."""
_CELL = 48  # pixels: side of the cells in which the distortion is almost linear
_EDGE = 4  # pixels
_COARSE = 6  # pixels: light changes little over this length


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """Paper to picture: the paper curls, and the camera projects it."""

    matrix: Float[np.ndarray, "3 3"]
    """Projective, after the curl."""
    height: float
    """Of the curl: largest shift of the columns of the paper, pixels."""
    length: float
    """Of a wave of the curl, pixels."""
    phase: float

    def forward(self, points: Points) -> Points:
        """Points of the paper, on the picture."""
        curled = points + np.stack([np.zeros(len(points)), self._shift(points[:, 0])], axis=1)
        return _projected(curled, self.matrix)

    def backward(self, points: Points) -> Points:
        """Points of the picture, on the paper."""
        flat = _projected(points, np.linalg.inv(self.matrix))
        return flat - np.stack([np.zeros(len(flat)), self._shift(flat[:, 0])], axis=1)

    def _shift(self, x: np.ndarray) -> np.ndarray:
        return self.height * np.sin(2 * np.pi * x / self.length + self.phase)


@dataclass(frozen=True, kw_only=True)
class PhotoPlan:
    """What the camera does. All lengths are in pixels."""

    phone: bool
    distortion: Distortion
    degrees: float
    """Angle by which the page is turned, clockwise."""
    shadow: float
    """Share of the light that is lost in the shadow; 0 if there is none."""
    blur: float
    """Standard deviation."""
    noise: float
    """Standard deviation, grey levels."""
    quality: int | None
    """Of the JPEG."""
    desk: float
    """Grey level of what lies around the paper."""


def _projected(points: Points, matrix: Float[np.ndarray, "3 3"]) -> Points:
    placed = points @ matrix[:, :2].T + matrix[:, 2]
    return placed[:, :2] / placed[:, 2:]


def draw_photo(size: tuple[int, int], keep: Points, rng: np.random.Generator) -> PhotoPlan:
    """Draw what the camera does.

    Args:
        size: height and width of the paper and of the picture, pixels.
        keep: points of the paper that have to be inside the picture.
        rng: source of the random numbers.
    """
    phone = rng.random() < PHONE
    degrees = float(rng.uniform(-MOST_DEGREES, MOST_DEGREES) if phone else np.clip(rng.normal(0, 0.4), -1.5, 1.5))
    scale = rng.uniform(0.88, 1.04) if phone else rng.uniform(0.98, 1.06)
    height, width = size
    lean = rng.uniform(-0.06, 0.06, (4, 2)) * float(phone)
    wave = (rng.uniform(0, 0.006) if phone else 0.0, rng.uniform(1, 2.5), rng.uniform(0, 2 * np.pi))
    shift = rng.uniform(-0.01, 0.01, 2) * [width, height]
    while True:
        distortion = Distortion(
            matrix=_matrix(size, degrees, scale, lean, shift),
            height=wave[0] * height,
            length=wave[1] * width,
            phase=wave[2],
        )
        placed = distortion.forward(keep)
        if (placed > 1).all() and (placed < [width - 1, height - 1]).all():
            break
        scale *= 0.98
    return PhotoPlan(
        phone=phone,
        distortion=distortion,
        degrees=degrees,
        shadow=rng.uniform(0.15, 0.6) if phone and rng.random() < SHADOW else 0.0,
        blur=rng.uniform(0.5, 1.3) if phone and rng.random() < BLUR else 0.0,
        noise=rng.uniform(2, 8) if phone and rng.random() < NOISE else rng.uniform(0, 1.5),
        quality=int(rng.integers(35, 90)) if phone else None,
        desk=rng.uniform(30, 190) if phone else rng.choice([250.0, rng.uniform(20, 90)], p=[0.7, 0.3]),
    )


def _matrix(
    size: tuple[int, int], degrees: float, scale: float, lean: Float[np.ndarray, "4 2"], shift: np.ndarray
) -> Float[np.ndarray, "3 3"]:
    """The projection that places the corners of the paper on the picture."""
    height, width = size
    middle = np.array([width, height]) / 2
    corners = np.array([(0.0, 0.0), (width, 0), (width, height), (0, height)])
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    placed = (corners - middle) @ turn * scale * (1 + lean) + middle + shift
    # two equations for each corner; the ninth element of the matrix is 1
    rows, right = [], []
    for (x, y), (u, v) in zip(corners, placed, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        right += [u, v]
    return np.append(np.linalg.solve(np.array(rows), np.array(right)), 1.0).reshape(3, 3)


def take(plan: PhotoPlan, paper_HW: Grey, rng: np.random.Generator) -> UInt8[np.ndarray, "H W"]:
    """Take a picture of the paper."""
    size = paper_HW.shape
    picture = _placed(plan, paper_HW, rng)
    if plan.blur:
        picture = picture.filter(ImageFilter.GaussianBlur(plan.blur))
    picture_HW = np.asarray(picture, np.float32)
    if plan.shadow:
        picture_HW = picture_HW * _light(size, plan.shadow, rng)
    # a tile of noise, from which rows are taken at random: drawing normal numbers for each pixel is slow
    tile = rng.normal(0, plan.noise, 1 << 16).astype(np.float32)
    starts_H = rng.integers(0, len(tile) - size[1], size[0])
    noisy_HW = picture_HW + np.lib.stride_tricks.sliding_window_view(tile, size[1])[starts_H]
    grey_HW = np.clip(noisy_HW, 0, 255).astype(np.uint8)
    if plan.quality is None:
        return grey_HW
    file = io.BytesIO()
    Image.fromarray(grey_HW).save(file, "JPEG", quality=plan.quality)
    return np.asarray(Image.open(file))


def _placed(plan: PhotoPlan, paper_HW: Grey, rng: np.random.Generator) -> Image.Image:
    """The paper, distorted, with what lies around it."""
    height, width = paper_HW.shape
    # repeat the edge: the resampling looks a few pixels beyond it, and would see black
    paper = Image.fromarray(np.pad(np.clip(paper_HW, 0, 255).astype(np.uint8), _EDGE, mode="edge"))
    placed = _resampled(plan.distortion, paper, (width, height))
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height), (0, 0)], float)
    border = np.concatenate([np.linspace(*side, 40, endpoint=False) for side in pairwise(corners)])
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon([tuple(p) for p in plan.distortion.forward(border).tolist()], fill=255)
    desk_HW = plan.desk + 12 * smooth_noise((height, width), max(height, width) / rng.uniform(3, 60), rng)
    desk = Image.fromarray(np.clip(desk_HW, 0, 255).astype(np.uint8))
    return Image.composite(placed, desk, mask.filter(ImageFilter.BoxBlur(1)))


def _resampled(distortion: Distortion, padded: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The picture of the given width and height of a flat paper, which has `_EDGE` more pixels at each side."""
    if not distortion.height:  # without a curl, one projection
        shift = np.array([(1, 0, _EDGE), (0, 1, _EDGE), (0, 0, 1)], float)
        matrix = shift @ np.linalg.inv(distortion.matrix)
        numbers = tuple((matrix / matrix[2, 2]).ravel()[:8].tolist())
        return padded.transform(size, Image.Transform.PERSPECTIVE, numbers, resample=Image.Resampling.BICUBIC)
    columns, rows = (np.append(np.arange(0, side, _CELL), side) for side in size)
    grid = np.stack(np.meshgrid(columns, rows), axis=2).astype(float)
    source = distortion.backward(grid.reshape(-1, 2)).reshape(grid.shape) + _EDGE
    cells = [
        (
            (int(columns[j]), int(rows[i]), int(columns[j + 1]), int(rows[i + 1])),
            tuple(source[[i, i + 1, i + 1, i], [j, j, j + 1, j + 1]].ravel().tolist()),
        )
        for i in range(len(rows) - 1)
        for j in range(len(columns) - 1)
    ]
    return padded.transform(size, Image.Transform.MESH, cells, resample=Image.Resampling.BICUBIC)


def _light(size: tuple[int, int], loss: float, rng: np.random.Generator) -> Grey:
    """The share of the light that reaches each pixel: it fades across the page, and a hand or phone shades a part."""
    rows, columns = (-(-side // _COARSE) + 1 for side in size)
    y, x = np.arange(rows)[:, None] / max(rows, columns), np.arange(columns) / max(rows, columns)
    angle = rng.uniform(0, 2 * np.pi)
    across = np.cos(angle) * x + np.sin(angle) * y
    low, high = float(across.min()), float(across.max())
    even = (across - low) / (high - low)
    edge = rng.uniform(0.3, 0.8)
    soft = np.clip((even - edge + 0.08 * np.sin(rng.uniform(3, 9) * (y - x))) / rng.uniform(0.05, 0.4), 0, 1)
    share = Image.fromarray((1 - loss * (0.4 * even + 0.6 * soft * soft * (3 - 2 * soft))).astype(np.float32))
    return np.asarray(share.resize((size[1], size[0]), Image.Resampling.BILINEAR))
