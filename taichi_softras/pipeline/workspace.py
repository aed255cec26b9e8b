"""Rendering on the CPU: a launch forward and a launch back, and what stays from call to call.

In a loop most arguments of a launch are those of the last time. A workspace holds them, together
with the launches in which they are set; `leases` says who has which.
"""

from collections.abc import Iterator
from typing import Any

import taichi as ti

from taichi_softras import runtime
from taichi_softras.fast_launch import Launch
from taichi_softras.kernels import raster_cpu
from taichi_softras.kernels.phases import counters
from taichi_softras.kernels.scan import LARGEST
from taichi_softras.kernels.tiles_cpu import COUNT, ENTRY, FILL, SET_UP, binning_kernel
from taichi_softras.kernels.types import RECORD
from taichi_softras.pipeline import binning
from taichi_softras.pipeline.binning import Faces
from taichi_softras.pipeline.plan import Array, Memory, Plan, Rows, Scene

MOST_SPARE = 2
"""Lists with more room than this many times what they need are made shorter the next time."""

MOST_KINDS = 64
"""Kinds of renderings whose lengths of lists are remembered."""


class Workspace:
    """Working arrays of one rendering at a time, and the launches that use them."""

    def __init__(self, plan: Plan, memory: Memory, kind: tuple[Any, ...]) -> None:
        self.kind = kind
        self.program = ti.lang.impl.get_runtime().prog
        self._memory, self._of_lists = memory, memory
        n, n_tiles = plan.n_faces, plan.n_tiles
        self.faces = Faces(memory.reals(n, RECORD), memory.integers(n, 4), memory.integers(3))
        self.face_start = memory.integers(n + 1)
        self.tile_start = memory.integers(n_tiles + 1)
        self.state = memory.reals(plan.state_numbers)
        winners = plan.pixels if plan.variant.color == "hard" else 1
        self.winner = memory.integers(winners)
        self._total = memory.integers(1)
        self._n_workers = runtime.thread_count()
        phases = max(raster_cpu.FORWARD_PHASES, raster_cpu.ADJOINT_PHASES)
        self._progress = memory.integers(counters(phases, self._n_workers))
        real = 8 if plan.variant.dtype == ti.f64 else 4
        self._least = n * (RECORD * real + 20) + plan.state_numbers * real + winners * 4
        self.nbytes = self._least
        """Of the working arrays, but the small ones."""
        self.entries = memory.integers(0, ENTRY)
        """There is room for `room` of them."""
        self.n_entries, self.room = 0, -1
        self._wanted = _rooms.get(self.kind, 0)
        self.bands: tuple[Rows, ...] = ()
        """How the rows are parted where lists of all would be too long: they are made for one part
        after the other, and again for the adjoint."""
        self._all_rows = (0, plan.tiles[0])
        self._make_launches(plan)
        self._set_numbers(plan)

    def _make_launches(self, plan: Plan) -> None:
        """Set what stays, and something of its rank for what may have no use."""
        memory, (records, boxes, skipped) = self._memory, self.faces
        self._of_all = {
            "n_vertices": plan.n_vertices, "n_views": plan.n_views, "n_faces": plan.n_faces,
            "records": records, "face_start": self.face_start, "tile_start": self.tile_start,
            "n_workers": self._n_workers, "progress": self._progress,
            "views": memory.nothing(2, integers=True), "attributes": memory.nothing(3),
        }  # fmt: skip
        self._of_pictures = {
            "state": self.state, "winner": self.winner, "image": memory.nothing(2),
            "texels": memory.nothing(2), "maps": memory.nothing(1, integers=True),
        }  # fmt: skip
        # Enough tasks to share, few enough that their counters stay small.
        n_chunks = max(1, min(8, 8 // plan.n_views))
        height, width = plan.extent
        listing = self._of_all | {
            "faces": memory.nothing(2, integers=True), "channels_in": plan.variant.attributes,
            "real_height": height, "real_width": width, "tile_rows": plan.tiles[0],
            "tile_columns": plan.tiles[1], "n_chunks": n_chunks, "boxes": boxes,
            "skipped": skipped, "chunk_next": memory.integers(n_chunks * plan.n_tiles),
            "total_entries": self._total,
        }  # fmt: skip
        self._list = Launch(binning_kernel(*plan.setup_choices), **listing)
        self._draw = Launch(
            raster_cpu.forward_kernel(plan.variant, plan.cull),
            **listing, **self._of_pictures, background_rows=plan.background_rows,
            background=memory.nothing(2), depth_out=memory.nothing(1),
        )  # fmt: skip
        self._pulls: dict[tuple[bool, ...], Launch] = {}

    def list_faces(self, plan: Plan, scene: Scene) -> None:
        """Set up faces and list them by tile; lists that are too long are left to `lists`."""
        self._begin(plan, scene)
        self._collect(self._list, self._all_rows, SET_UP, _triangles(plan, scene))

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
        self._collect(self._draw, self._all_rows, SET_UP, given)
        if self.bands:
            for rows in self.bands:
                self._collect(self._draw, rows, COUNT, given)
            self._drop_lists()

    def lists(self, scene: Scene) -> Iterator[Rows]:
        """Yield the rows of tiles that have lists: all, or those of one band after the other."""
        if not self.bands:
            yield self._all_rows
            return
        self._make_room(self._wanted)
        for rows in self.bands:
            self._collect(self._list, rows, COUNT, _triangles(self._plan, scene))
            yield rows
        self._drop_lists()

    def pull(self, wanted: tuple[bool, ...], rows: Rows, given: dict[str, Any]) -> None:
        """Launch the adjoint driver on some rows.

        Args:
            wanted: As of `raster_cpu.adjoint_kernel`.
            rows: See `lists`.
            given: What the kernel reads and writes besides; what is not there is not touched.
        """
        pull = self._pulls.get(wanted)
        if pull is None:
            pull = self._pulls[wanted] = self._make_pull(wanted)
        self._memory.clear(self._progress)
        pull(first_tile_row=rows[0], end_tile_row=rows[1], **given)

    def _make_pull(self, wanted: tuple[bool, ...]) -> Launch:
        plan, nothing = self._plan, self._memory.nothing
        indices = nothing(1, integers=True)
        return Launch(
            raster_cpu.adjoint_kernel(plan.variant, *wanted),
            **self._of_all, **self._of_pictures, **plan.numbers_by_name, entries=self.entries,
            n_attributes=plan.n_attributes, depth_in=nothing(1), d_image=nothing(2),
            d_depth_in=nothing(1), d_corners=nothing(2), d_attributes=nothing(3),
            d_points=nothing(2), corner_start=indices, corner_of=indices, d_softness=nothing(2),
            d_texels=indices,
        )  # fmt: skip

    def _begin(self, plan: Plan, scene: Scene) -> None:
        if plan is not self._plan:
            self._set_numbers(plan)
        if scene.views is not self._of_all["views"]:
            self._of_all["views"] = scene.views
            for launch in (self._list, self._draw, *self._pulls.values()):
                launch.keep(views=scene.views)
        self.bands = ()
        self._make_room(self._wanted)
        self._memory.clear(self.faces.skipped)

    def _set_numbers(self, plan: Plan) -> None:
        """Take what may differ between plans of a kind."""
        self._plan, numbers = plan, plan.numbers_by_name
        self._list.keep(reach=plan.reach)
        self._draw.keep(reach=plan.reach, background_depth=plan.background_depth, **numbers)
        for pull in self._pulls.values():
            pull.keep(**numbers)

    def _make_room(self, room: int) -> None:
        if room == self.room:
            return
        self.room = self._wanted = room
        self.nbytes = self._least + 4 * ENTRY * room
        # In memory of their own, so that the last ones can be lent again.
        self._of_lists = self._memory.lasting()
        self.entries = self._of_lists.integers(room, ENTRY)
        for launch in (self._list, self._draw):
            launch.keep(entries=self.entries, capacity=room)
        for launch in self._pulls.values():
            launch.keep(entries=self.entries)

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
            self._memory.clear(self._progress)
            launch(first_tile_row=first, end_tile_row=end, begin=begin, **given)
            self.n_entries = self._memory.read_integer(self._total, 0)
            if self.n_entries <= self.room:
                break
            if self.n_entries > binning.MOST_ENTRIES and end - first > 1:
                self.bands = self._part()
                return
            binning.check_length(self.n_entries)
            self._make_room(self.n_entries)
            begin = FILL
        if not self.bands and (begin == FILL or self.room > MOST_SPARE * self.n_entries):
            self._wanted = min(self.n_entries * 5 // 4, binning.MOST_ENTRIES)
            _remember(self.kind, self._wanted)

    def _part(self) -> tuple[Rows, ...]:
        """Cut the rows of tiles into bands of at most MOST_ENTRIES entries, or of one row."""
        plan, read = self._plan, self._memory.read_integer
        n_rows, n_columns = plan.tiles
        if self.n_entries >= LARGEST:  # too many to count by row
            return tuple((row, row + 1) for row in range(n_rows))
        bands, begin, filled = [], 0, 0
        for row in range(n_rows):
            before = [(b * n_rows + row) * n_columns for b in range(plan.n_views)]
            in_row = sum(
                read(self.tile_start, t + n_columns) - read(self.tile_start, t) for t in before
            )
            if row > begin and filled + in_row > binning.MOST_ENTRIES:
                bands.append((begin, row))
                begin, filled = row, 0
            filled += in_row
        return (*bands, (begin, n_rows))


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
    if len(_rooms) >= MOST_KINDS:
        _rooms.clear()
    _rooms[kind] = room
