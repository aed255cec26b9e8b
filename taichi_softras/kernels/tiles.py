"""Which tiles a face may touch."""

import taichi as ti


@ti.func
def reaches_tile(records: ti.template(), n, tile_x, tile_y, height, width, tile: ti.template()):
    """Whether tile (tile_x, tile_y), `tile` pixels each side, can hold a pixel that feels face n.

    Conservative: refused only if the whole tile lies beyond `reach` outside an edge's line.
    """
    shorter = ti.min(height, width)
    half = (tile - 1.0) / shorter
    x = (2.0 * tile_x * tile + tile - width) / shorter
    y = (height - tile - 2.0 * tile_y * tile) / shorter
    side = ti.select(records[n, 9] > 0.0, 1.0, -1.0)
    near = 1
    for k in ti.static(range(3)):
        a_x, a_y = records[n, 2 * k], records[n, 2 * k + 1]
        e_x = records[n, (2 * k + 2) % 6] - a_x
        e_y = records[n, (2 * k + 3) % 6] - a_y
        # |e| times the largest signed distance of the tile's pixels from the edge's line.
        inward = side * (e_x * (y - a_y) - e_y * (x - a_x)) + half * (ti.abs(e_x) + ti.abs(e_y))
        if inward + records[n, 16 + k] < 0.0:
            near = 0
    return near
