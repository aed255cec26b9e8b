"""Small textured meshes, as files have them."""

import base64
import io
import json
import struct

import numpy as np
import torch
from PIL import Image

from taichi_softras.mesh import Mesh
from taichi_softras.textures import UVTexture

QUAD = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
TEXELS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)


def png(texels=TEXELS):
    file = io.BytesIO()
    Image.fromarray(texels).save(file, "PNG")
    return file.getvalue()


def textured_obj(folder, faces="usemtl m\nf 1/1 2/2 3/3 4/4\n", mtl="newmtl m\nmap_Kd a.png\n"):
    (folder / "a.png").write_bytes(png())
    (folder / "a.mtl").write_text(mtl)
    (folder / "a.obj").write_text("mtllib a.mtl\n" + QUAD + faces)
    return folder / "a.obj"


def textured_gltf(folder, change=None, colors=None, image="a.png", name="a.gltf"):
    """A textured square as glTF writes it: v down, vertices of its own."""
    corners = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "<f4")
    uvs = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], "<f4")
    chunk = corners.tobytes() + uvs.tobytes() + np.array([0, 1, 2, 0, 2, 3], "<u2").tobytes()
    if colors is not None:
        chunk += np.array(colors, "<f4").tobytes()
    primitive = {"attributes": {"POSITION": 0, "TEXCOORD_0": 1}, "indices": 2, "material": 0}
    tree = {
        "asset": {"version": "2.0"},
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0}}}],
        "textures": [{"source": 0}],
        "images": [{"uri": image}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5126, "count": 4, "type": "VEC2"},
            {"bufferView": 2, "componentType": 5123, "count": 6, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 48},
            {"buffer": 0, "byteOffset": 48, "byteLength": 32},
            {"buffer": 0, "byteOffset": 80, "byteLength": 12},
        ],
        "buffers": [{"byteLength": len(chunk), "uri": data_uri(chunk)}],
    }
    if colors is not None:
        primitive["attributes"]["COLOR_0"] = 3
        tree["accessors"].append(
            {"bufferView": 3, "componentType": 5126, "count": 4, "type": "VEC3"}
        )
        tree["bufferViews"].append({"buffer": 0, "byteOffset": 92, "byteLength": 48})
    if change is not None:
        change(tree)
    (folder / "a.png").write_bytes(png())
    (folder / name).write_text(json.dumps(tree))
    return folder / name


def data_uri(data, kind="application/octet-stream"):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def corner_uvs(mesh):
    uv_faces = mesh.faces if mesh.texture.uv_faces is None else mesh.texture.uv_faces
    return mesh.texture.uvs[uv_faces]


def as_bytes(image):
    return (image * 255).round().to(torch.uint8).numpy()


def textured_mesh(wrap="wrap", names=("wood", "red paint", "sky"), **more):
    """Four faces of three materials in mixed order, seams, and a vertex without a face."""
    rng = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (*size, 3), generator=rng) / 255 for size in
              ((3, 5), (1, 1), (4, 2))]  # fmt: skip
    texture = UVTexture(
        images=images,
        uvs=torch.rand(9, 2, generator=rng) * 3 - 1,
        uv_faces=[[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 5, 8]],
        face_materials=[2, 0, 1, 0],
        material_names=names,
        wrap=wrap,
    )
    vertices = torch.randn(6, 3, generator=rng)
    faces = [[0, 1, 2], [2, 1, 3], [3, 1, 4], [0, 2, 4]]
    return Mesh(vertices=vertices, faces=faces, texture=texture, **more)


def textured_ply(folder, style, wedges, several=False):
    """A square and a triangle; coordinates at the vertices, or for each corner of a face."""
    corners = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    uvs = [[0, 0], [1, 0], [1, 1], [0, 1]]
    faces, order = [[0, 1, 2, 3], [3, 2, 0]], ">" if style == "binary_big_endian" else "<"
    head = f"ply\nformat {style} 1.0\ncomment TextureFile my image.png\n"
    head += "comment TextureFile b.png\n" if several else ""
    head += "element vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    head += "" if wedges else "property float s\nproperty float t\n"
    head += "element face 2\nproperty list uchar int vertex_indices\n"
    head += "property list uchar float texcoord\nproperty int texnumber\n" if wedges else ""
    rows = [(f"{3 if wedges else 5}f", [*c, *([] if wedges else uv)])
            for c, uv in zip(corners, uvs, strict=True)]  # fmt: skip
    for number, face in enumerate(faces):
        kind, values = f"B{len(face)}i", [len(face), *face]
        if wedges:
            kind += f"B{2 * len(face)}fi"
            values += [2 * len(face), *(x for i in face for x in uvs[i]), number]
        rows.append((kind, values))
    if style == "ascii":
        body = "".join(" ".join(map(str, values)) + "\n" for _, values in rows).encode()
    else:
        body = b"".join(struct.pack(order + kind, *values) for kind, values in rows)
    (folder / "my image.png").write_bytes(png())
    (folder / "b.png").write_bytes(png(TEXELS[:1]))
    (folder / "a.ply").write_bytes(head.encode() + b"end_header\n" + body)
    return folder / "a.ply"
