"""Files in and out: meshes, images, video and posed-image folders."""

from taichi_softras.io.images import contact_sheet as contact_sheet
from taichi_softras.io.images import load_image as load_image
from taichi_softras.io.images import save_image as save_image
from taichi_softras.io.mesh_save import save_mesh as save_mesh
from taichi_softras.io.meshes import load_mesh as load_mesh
from taichi_softras.io.posed import PosedImages as PosedImages
from taichi_softras.io.posed import has_split as has_split
from taichi_softras.io.posed import load_posed_images as load_posed_images
from taichi_softras.io.posed_save import save_posed_images as save_posed_images
from taichi_softras.io.video import save_video as save_video
