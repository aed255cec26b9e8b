import json

import pytest
import torch

import taichi_softras as tsr
from taichi_softras.cli import fit as fit_module
from taichi_softras.cli import main

QUICK = ["--steps", "12", "--level", "2", "--shrink", "2", "1", "--patience", "60"]
FILES = {
    "mesh.glb",
    "mesh.obj",
    "report.json",
    "losses.png",
    "side_by_side.png",
    "fit.gif",
    "checkpoint.pt",
}


@pytest.fixture(scope="module")
def folder(arch, tmp_path_factory):
    out = tmp_path_factory.mktemp("scene") / "ball"
    arguments = ["render", "icosphere", "-o", str(out), "--views", "8", "--size", "32"]
    assert main([*arguments, "--supersample", "2"]) == 0
    return out


@pytest.fixture(scope="module")
def fitted(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("fit") / "ball"
    assert main(["fit", str(folder), "-o", str(out), *QUICK]) == 0
    return out


def test_fit_writes_meshes_report_and_pictures(fitted):
    assert {path.name for path in fitted.iterdir()} == FILES
    glb, obj = tsr.load_mesh(fitted / "mesh.glb"), tsr.load_mesh(fitted / "mesh.obj")
    assert glb.n_faces == obj.n_faces == 320
    assert glb.vertex_colors is not None
    torch.testing.assert_close(glb.vertices, obj.vertices, atol=1e-5, rtol=0.0)
    # One held-out view of 32 pixels above its fit, 8 pixels between.
    assert tsr.load_image(fitted / "side_by_side.png").shape[:2] == (32 * 2 + 8, 32)


def test_report_tells_scores_versions_and_arguments(fitted, folder):
    report = json.loads((fitted / "report.json").read_text())
    assert 0.5 < report["hard_iou"] <= 1.0
    assert report["psnr_db"] > 10.0
    assert report["scored_on"] == "held-out views"
    assert [view["name"] for view in report["views"]] == ["images/view_000.png"]
    assert report["steps"] == 12
    assert report["seconds_per_step"] > 0.0
    assert 0.0 < report["chamfer"]["relative_to_radius"] < 0.5
    assert report["versions"]["taichi"]
    assert report["arguments"]["dir"] == str(folder)
    assert report["arguments"]["settings"]["steps"] == 12


def test_a_folder_with_results_is_not_overwritten_unasked(fitted, folder, capsys):
    assert main(["fit", str(folder), "-o", str(fitted), *QUICK]) == 2
    assert "--resume" in capsys.readouterr().err


def test_an_interrupted_fit_resumes_from_its_checkpoint(folder, tmp_path, monkeypatch, capsys):
    out = tmp_path / "fit"
    step = fit_module.Fitter.step

    def interrupted(self):
        if self.step_count == 7:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module.Fitter, "step", interrupted)
        assert main(["fit", str(folder), "-o", str(out), *QUICK]) == 130
    assert "step 7 of 12" in capsys.readouterr().err
    assert (out / "checkpoint.pt").is_file()
    assert main(["fit", str(folder), "-o", str(out), *QUICK, "--resume"]) == 0
    assert json.loads((out / "report.json").read_text())["steps"] == 12


def test_an_interrupted_and_resumed_fit_equals_an_uninterrupted_one(
    fitted, folder, tmp_path, monkeypatch
):
    out = tmp_path / "fit"
    step = fit_module.Fitter.step

    def interrupted(self):
        if self.step_count == 5:
            raise KeyboardInterrupt
        return step(self)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module.Fitter, "step", interrupted)
        main(["fit", str(folder), "-o", str(out), *QUICK])
    main(["fit", str(folder), "-o", str(out), *QUICK, "--resume"])
    assert (out / "mesh.obj").read_bytes() == (fitted / "mesh.obj").read_bytes()


def test_resume_without_or_with_a_damaged_checkpoint_is_refused(folder, tmp_path, capsys):
    out = tmp_path / "fit"
    assert main(["fit", str(folder), "-o", str(out), "--resume"]) == 2
    assert "nothing to resume" in capsys.readouterr().err
    out.mkdir()
    (out / "checkpoint.pt").write_bytes(b"not a checkpoint")
    assert main(["fit", str(folder), "-o", str(out), "--resume"]) == 2
    assert "damaged" in capsys.readouterr().err


def test_missing_poses_are_told(folder, tmp_path, capsys):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "images").symlink_to(folder / "images")
    tree = json.loads((folder / "transforms.json").read_text())
    del tree["frames"][2]["transform_matrix"]
    (broken / "transforms.json").write_text(json.dumps(tree))
    assert main(["fit", str(broken), "-o", str(tmp_path / "out"), *QUICK]) == 2
    assert "transform_matrix" in capsys.readouterr().err
    assert main(["fit", str(tmp_path / "none"), "-o", str(tmp_path / "out"), *QUICK]) == 2
    assert not (tmp_path / "out").exists()


def test_fit_without_a_folder_makes_its_own_scene(arch, tmp_path):
    arguments = ["fit", "-o", str(tmp_path / "duck"), "--steps", "2", "--level", "2"]
    assert main([*arguments, "--shape", "icosphere", "--max-size", "32"]) == 0
    assert json.loads((tmp_path / "duck" / "report.json").read_text())["chamfer"]


def test_test_views_of_a_blender_folder_are_the_held_out_ones(folder, tmp_path):
    scene = tmp_path / "blender"
    scene.mkdir()
    (scene / "images").symlink_to(folder / "images")
    tree = json.loads((folder / "transforms.json").read_text())
    for split, chosen in (("train", slice(0, 6)), ("test", slice(6, 8))):
        part = {**tree, "frames": tree["frames"][chosen]}
        (scene / f"transforms_{split}.json").write_text(json.dumps(part))
    assert main(["fit", str(scene), "-o", str(tmp_path / "out"), *QUICK]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["training_views"] == 6
    assert [v["name"] for v in report["views"]] == ["images/view_006.png", "images/view_007.png"]
