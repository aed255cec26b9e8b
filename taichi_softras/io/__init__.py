"""Files in and out: meshes, images, video and posed-image folders."""

from taichi_softras.io.images import contact_sheet as contact_sheet
from taichi_softras.io.images import load_image as load_image
from taichi_softras.io.images import save_image as save_image
from taichi_softras.io.meshes import load_mesh as load_mesh
from taichi_softras.io.meshes import save_mesh as save_mesh
from taichi_softras.io.video import save_video as save_video
