"""The simulation of demo 12: a ball of springs above a floor, differentiable step by step."""

import numpy as np
import taichi as ti
from taped import edges_of, sphere

DT, STEPS_A_FRAME, GRAVITY, FLOOR, DAMPING = 0.01, 12, 9.8, -1.0, 1.0


@ti.data_oriented
class Ball:
    def __init__(self, frames: int) -> None:
        directions, self.faces = sphere(8, 12)
        n, self.n_steps = len(directions), (frames - 1) * STEPS_A_FRAME
        struts = np.stack([np.arange(n), np.argmin(directions @ directions.T, 1)], 1)
        springs = np.concatenate([edges_of(self.faces), struts[struts[:, 0] < struts[:, 1]]])
        self.ends = ti.Vector.field(2, ti.i32, len(springs))
        self.ends.from_numpy(springs.astype(np.int32))
        self.rest = ti.Vector.field(3, ti.f32, n)
        self.rest.from_numpy((0.45 * directions + [-0.8, 0.7, 0.0]).astype(np.float32))
        every_step = (self.n_steps + 1, n)
        self.x, self.v, self.force = (
            ti.Vector.field(3, ti.f32, every_step, needs_grad=True) for _ in range(3)
        )
        self.film = ti.Vector.field(3, ti.f32, (frames, n), needs_grad=True)
        self.throw = ti.Vector.field(2, ti.f32, (), needs_grad=True)
        self.log_stiffness = ti.field(ti.f32, (), needs_grad=True)

    def simulate(self) -> None:
        self.force.fill(0.0)
        self.begin()
        for t in range(self.n_steps):
            self.pull(t)
            self.advance(t)
        self.develop()

    @ti.kernel
    def begin(self):
        for i in self.rest:
            self.x[0, i] = self.rest[i]
            self.v[0, i] = ti.Vector([self.throw[None][0], self.throw[None][1], 0.0])

    @ti.kernel
    def pull(self, t: ti.i32):
        for s in self.ends:
            a, b = self.ends[s][0], self.ends[s][1]
            length = (self.rest[b] - self.rest[a]).norm()
            apart = self.x[t, b] - self.x[t, a]
            strain = 1.0 - length / apart.norm(1e-6)
            tension = 250.0 * ti.exp(self.log_stiffness[None]) * strain
            self.force[t, a] += tension * apart
            self.force[t, b] -= tension * apart

    @ti.kernel
    def advance(self, t: ti.i32):
        for i in self.rest:
            depth = ti.max(FLOOR - self.x[t, i][1], 0.0)
            push = self.force[t, i] + ti.Vector([0.0, 2000.0 * depth - GRAVITY, 0.0])
            self.v[t + 1, i] = (1.0 - DAMPING * DT) * self.v[t, i] + DT * push
            self.x[t + 1, i] = self.x[t, i] + DT * self.v[t + 1, i]

    @ti.kernel
    def develop(self):
        for f, i in self.film:
            self.film[f, i] = self.x[f * STEPS_A_FRAME, i]
