"""The Taichi kernels: arrays in, arrays out; they know no framework and allocate nothing."""
