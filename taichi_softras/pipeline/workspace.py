"""Rendering on the CPU: a launch forward and a launch back, and what stays from call to call.

In a loop most arguments of a launch are those of the last time. A workspace holds them, together
with the launches in which they are set; `leases` says who has which.
"""

from collections.abc import Callable
from typing import Any

import taichi as ti

from taichi_softras import runtime
from taichi_softras.fast_launch import Launch
from taichi_softras.kernels import raster_cpu
from taichi_softras.kernels.phases import counters
from taichi_softras.kernels.records import RECORD
from taichi_softras.kernels.scan import LARGEST
from taichi_softras.kernels.tiles_cpu import COUNT, FILL, SET_UP, TOTAL, binning_kernel
from taichi_softras.kernels.types import ENTRY
from taichi_softras.pipeline import binning
from taichi_softras.pipeline.arguments import Arguments
from taichi_softras.pipeline.plan import Array, Memory, Plan, Rows, Scene
from taichi_softras.skipped import SkippedFaces

MOST_SPARE = 2
"""Lists with more room than this many times what they need are made shorter the next time."""

MOST_SLOT_NUMBERS = 2**19
"""Numbers of slots that stay."""

MOST_REMEMBERED = 64
"""Kinds of renderings whose lengths of lists are remembered."""


class Workspace:
    """Working arrays of one rendering at a time, and the launches that use them."""

    def __init__(self, plan: Plan, memory: Memory, code: tuple[Any, ...]) -> None:
        self.code = code
        """What decides which kernels run on which memory; it can do no others' work."""
        self.program = ti.lang.impl.get_runtime().prog
        self._memory, self._of_lists = memory, memory
        self.skipped = SkippedFaces()
        """Faces that were left out."""
        self.n_entries, self.room = 0, -1
        """How many entries there are, and can be."""
        self.bands: tuple[Rows, ...] = ()
        """How the rows are parted where lists of all would be too long: they are made for one part
        after the other, and again for the adjoint."""
        n_workers = runtime.thread_count()
        phases = max(raster_cpu.FORWARD_PHASES, raster_cpu.ADJOINT_PHASES)
        self.arguments = Arguments(
            **{name: memory.nothing(ndim, integers=True) for name, ndim in _INDICES.items()},
            d_points=memory.nothing(2), views=memory.nothing(2, integers=True),
            progress=memory.integers(counters(phases, n_workers)), n_workers=n_workers,
            channels_in=plan.variant.attributes,
        )  # fmt: skip
        self._own_slots = self._own_corners = False
        """Whether launches have the slots that stay, and corners' gradients."""
        self._progress = memory.window(self.arguments["progress"], TOTAL + 1)
        self._launches: dict[Any, Launch] = {}
        """Launches by what they are for."""
        self.fit(plan)

    def fit(self, plan: Plan) -> None:
        """Become one for renderings of this plan's kind."""
        self.kind, n, n_tiles = plan.kind, plan.n_faces, plan.n_tiles
        # Enough tasks to share, few enough that their counters stay small.
        n_chunks = max(1, min(8, 8 // plan.n_views))
        hard, grow, memory = plan.variant.color == "hard", self.arguments.grow, self._memory
        grow("records", n * RECORD, memory.reals)
        grow("face_start", n + 1, memory.integers)
        grow("tile_start", n_tiles + 1, memory.integers)
        grow("chunk_next", n_chunks * n_tiles, memory.integers)
        grow("state", plan.state_numbers, memory.reals)
        grow("winner", plan.pixels if hard else 1, memory.integers)
        height, width = plan.extent
        rows, columns = plan.tiles
        self.arguments.keep_numbers(
            n_vertices=plan.n_vertices, n_views=plan.n_views, n_faces=n, n_chunks=n_chunks,
            n_attributes=plan.n_attributes, background_rows=plan.background_rows,
            real_height=height, real_width=width, tile_rows=rows, tile_columns=columns,
        )  # fmt: skip
        self._set_numbers(plan)
        self._own_corners = False
        self._count_bytes()
        self._all_rows = (0, rows)
        room = _rooms.get(self.kind, self.room)
        self._wanted = self.room if room <= self.room <= MOST_SPARE * room else max(room, 0)

    def _count_bytes(self) -> None:
        rows, real = self.arguments.rows, 8 if self._plan.variant.dtype == ti.f64 else 4
        of_faces = (rows("records") + 3 * rows("d_corners")) * real + 4 * rows("face_start")
        of_pixels = rows("state") * real + 4 * rows("winner")
        of_slots = rows("slots") * self._plan.variant.slot_width * real
        self.nbytes = of_faces + of_pixels + of_slots + 4 * ENTRY * max(self.room, 0)
        """Of the working arrays, but the small ones."""

    def list_faces(self, plan: Plan, scene: Scene, begin: int = SET_UP) -> None:
        """Set up faces and list them by tile; lists that are too long are left to `lists`.

        With `begin` COUNT they have been set up.
        """
        self._begin(plan, scene)
        self._collect(self._listing(), self._all_rows, begin, _triangles(plan, scene))

    def draw(self, plan: Plan, scene: Scene, alpha: Array, image: Array, depth: Array) -> None:
        """Do so, and draw."""
        self._begin(plan, scene)
        given = _triangles(plan, scene) | {"alpha_out": alpha}
        if plan.variant.color != "none":
            given["depth_out"] = depth
        if plan.variant.channels:
            given |= {"image": image, "background": scene.background}
        if plan.variant.textured:
            given |= {"texels": scene.texels, "maps": scene.maps}
        drawing = self._launches.get("draw")
        if drawing is None:
            kernel = raster_cpu.forward_kernel(plan.variant, plan.cull)
            drawing = self._launches["draw"] = self.arguments.launch(kernel)
        self._collect(drawing, self._all_rows, SET_UP, given)
        if self.bands:
            for rows in self.bands:
                self._collect(drawing, rows, COUNT, given)
            self._drop_lists()

    def for_lists(self, scene: Scene, do: Callable[[Rows], None]) -> None:
        """Do something for the rows of tiles that have lists: all, or one band after the other."""
        if not self.bands:
            do(self._all_rows)
            return
        self._make_room(self._wanted)
        for rows in self.bands:
            self._collect(self._listing(), rows, COUNT, _triangles(self._plan, scene))
            do(rows)
        self._drop_lists()

    def _listing(self) -> Launch:
        return self.arguments.launch(binning_kernel(*self._plan.setup_choices))

    def pull(
        self, wanted: tuple[bool, ...], rows: Rows, given: dict[str, Any], scratch: Memory
    ) -> None:
        """Launch the adjoint driver on some rows.

        Args:
            wanted: As of `raster_cpu.adjoint_kernel`.
            rows: See `lists`.
            given: What the kernel reads and writes besides; what is not there is not touched.
            scratch: Where a lot of slots comes from; few stay for the next time.
        """
        width = self._plan.variant.slot_width
        if self.room * width > MOST_SLOT_NUMBERS:
            given["slots"], self._own_slots = scratch.reals(self.room, width), False
        elif not self._own_slots or self.room > self.arguments.rows("slots"):
            self.arguments.grow("slots", self.room, lambda rows: self._memory.reals(rows, width))
            self.arguments.keep(slots=self.arguments["slots"])
            self._own_slots = True
            self._count_bytes()
        if self._plan.n_vertices and not self._own_corners:
            n = 3 * self._plan.n_faces
            self.arguments.grow("d_corners", n, lambda rows: self._memory.reals(rows, 3))
            self.arguments.keep(d_corners=self.arguments["d_corners"])
            self._own_corners = True
            self._count_bytes()
        pull = self._launches.get(wanted)
        if pull is None:
            kernel = raster_cpu.adjoint_kernel(self._plan.variant, *wanted)
            pull = self._launches[wanted] = self.arguments.launch(kernel)
        self._progress.clear()
        pull(first_tile_row=rows[0], end_tile_row=rows[1], **given)

    def _begin(self, plan: Plan, scene: Scene) -> None:
        if plan is not self._plan:
            self._set_numbers(plan)
        if scene.views is not self.arguments["views"]:
            self.arguments.keep(views=scene.views)
        self.bands = ()
        self._make_room(self._wanted)

    def _set_numbers(self, plan: Plan) -> None:
        """Take what may differ between plans of a kind."""
        self._plan = plan
        self.arguments.keep_numbers(
            reach=plan.reach, background_depth=plan.background_depth, **plan.numbers_by_name
        )

    def _make_room(self, room: int) -> None:
        if room == self.room:
            return
        self.room = self._wanted = room
        # In memory of their own, so that the last ones can be lent again.
        self._of_lists = self._memory.lasting()
        self.arguments.keep(entries=self._of_lists.integers(room * ENTRY), capacity=room)
        self._count_bytes()

    def _drop_lists(self) -> None:
        """Free the lists of a band, which are long, until the next one is listed."""
        room = self.room
        self._make_room(0)
        self._wanted = room

    def _collect(self, launch: Launch, rows: Rows, begin: int, given: dict[str, Any]) -> None:
        """List the faces of some rows; set `bands` instead if the lists are too long.

        Lists have the room that such renderings needed before, and a bit more. If that does not do,
        the launch stops after it has counted, and a second one fills lists of the right length.
        """
        first, end = rows
        while True:
            self._progress.clear()
            launch(first_tile_row=first, end_tile_row=end, begin=begin, **given)
            if begin != FILL:
                *skipped, self.n_entries = self._progress.read()
                if begin == SET_UP:
                    self.skipped = SkippedFaces(*skipped)
            if self.n_entries <= self.room:
                break
            if self.n_entries > binning.MOST_ENTRIES and end - first > 1:
                self.bands = self._part()
                return
            binning.check_length(self._plan, self.n_entries)
            self._make_room(self.n_entries)
            begin = FILL
        if not self.bands and (begin == FILL or self.room > MOST_SPARE * self.n_entries):
            self._wanted = min(self.n_entries * 5 // 4, binning.MOST_ENTRIES)
            _remember(self.kind, self._wanted)

    def _part(self) -> tuple[Rows, ...]:
        """Cut the rows of tiles into bands of at most MOST_ENTRIES entries, or of one row."""
        plan, read, start = self._plan, self._memory.read_integer, self.arguments["tile_start"]
        n_rows, n_columns = plan.tiles
        if self.n_entries >= LARGEST:  # too many to count by row
            return tuple((row, row + 1) for row in range(n_rows))
        bands, begin, filled = [], 0, 0
        for row in range(n_rows):
            before = [(b * n_rows + row) * n_columns for b in range(plan.n_views)]
            in_row = sum(read(start, t + n_columns) - read(start, t) for t in before)
            if row > begin and filled + in_row > binning.MOST_ENTRIES:
                bands.append((begin, row))
                begin, filled = row, 0
            filled += in_row
        return (*bands, (begin, n_rows))


_INDICES = {"faces": 2, "corner_start": 1, "corner_of": 1}
"""Axes of the arrays of integers that only renderings of vertices need."""


def _triangles(plan: Plan, scene: Scene) -> dict[str, Array]:
    given = {"points": scene.points}
    if plan.n_vertices:
        given["faces"] = scene.faces
    if plan.variant.attributes:
        given["attributes"] = scene.attributes
    return given


_rooms: dict[Any, int] = {}
"""Entries to have room for, by kind."""


def _remember(kind: Any, room: int) -> None:
    if len(_rooms) >= MOST_REMEMBERED:
        _rooms.clear()
    _rooms[kind] = room
