"""The sdist and the wheel, and the command line from each kind of installation, away from the repository."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What the extras install: hidden, so that the base is shown to do without.
EXTRAS = (
    "lightning",
    "tensorboard",
    "matplotlib",
    "slicer",
    "vtk",
    "vtkmodules",
    "PySide6",
    "PyQt5",
    "monai",
    "psutil",
)
WHERE = "import FetusMapV2Lib, pathlib; print(pathlib.Path(FetusMapV2Lib.__file__).resolve().parent)"

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Installation:
    """A Python that has the library in one place alone.

    Attributes:
        python: the interpreter.
        library: the folder FetusMapV2Lib.
        path: PYTHONPATH.
    """

    python: Path
    library: Path
    path: str = ""

    def run(self, *arguments: object, cwd: Path, code: int = 0) -> str:
        """What ``python ARGUMENTS`` prints: on standard output or, where it is to fail, on standard error."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment |= {"PYTHONPATH": self.path, "PYTHONUTF8": "1"}
        command = [str(self.python), *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", env=environment, cwd=cwd, stdin=subprocess.DEVNULL
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout


def empty_environment(folder: Path) -> tuple[Path, Path]:
    """A Python that has nothing installed, and its site-packages."""
    venv.create(folder, with_pip=False, symlinks=os.name == "posix")
    names = {"base": str(folder), "platbase": str(folder)}
    scripts, packages = (sysconfig.get_path(kind, "venv", vars=names) for kind in ("scripts", "purelib"))
    return Path(scripts) / Path(sys.executable).name, Path(packages)


def lend_packages(packages: Path) -> None:
    """Lend an environment the packages of this one, less the extras: downloading PyTorch once more would take minutes.

    Only the folder is lent; what else its own .pth files make importable, this project above all, is not.
    """
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    hidden = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS}))"
    (packages / "lent.pth").write_text("\n".join([*lent, hidden]), encoding="utf-8")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built of it."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder], cwd=ROOT, check=True)
    (sdist,) = folder.glob("*.tar.gz")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", folder]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, sdist], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module", params=["wheel", "extension"])
def installation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("an installation")
    python, packages = empty_environment(folder / "environment")
    if request.param == "extension":
        if shutil.which("cmake") is None:
            pytest.skip("cmake is not installed")
        lend_packages(packages)
        tree = request.getfixturevalue("installed")
        return Installation(python, tree / "FetusMapV2Lib", str(tree))
    (wheel,) = request.getfixturevalue("built").glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        "--no-compile",
        "--quiet",
        wheel,
    ]
    subprocess.run(pip, check=True)
    lend_packages(packages)
    return Installation(python, packages / "FetusMapV2Lib")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first installation puts a volume."""
    return tmp_path_factory.mktemp("volumes")


def test_the_command_line_works_away_from_the_repository(
    installation: Installation, cases: Path, tmp_path: Path
) -> None:
    assert Path(installation.run("-c", WHERE, cwd=tmp_path).strip()) == installation.library.resolve()
    fetusmap = ("-m", "FetusMapV2Lib.cli")
    assert ": good" in installation.run(*fetusmap, "models", "verify", cwd=tmp_path)
    if not any(cases.iterdir()):
        size = ("--size", "70,48,48", "--spacing", "2.0", "--seed", "5")  # a picture in which one sees the fetus
        installation.run(*fetusmap, "simulate", cases, "--count", 1, "--overwrite", *size, cwd=tmp_path)
    (volume,) = cases.glob("*.nrrd")
    installation.run(*fetusmap, "estimate", volume, "--output", "out", "--device", "cpu", cwd=tmp_path)
    (results,) = (tmp_path / "out").glob("*.measurements.json")
    document = json.loads(results.read_text(encoding="utf-8"))
    assert document["found"] and len(document["landmarks"]) == 22


@pytest.mark.parametrize("installation", ["wheel"], indirect=True)
@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("train", ("train", "--preset", "unet", "--data", "cases", "--output", "run")),
        ("evaluate", ("evaluate", "cases", "--output", "tables")),
        ("slicer", ("estimate", "v.nrrd", "--output", "out", "--scene")),
    ],
)
def test_a_missing_extra_is_one_line_with_the_command(installation, tmp_path, extra, command) -> None:
    said = installation.run("-m", "FetusMapV2Lib.cli", *command, cwd=tmp_path, code=2)
    assert said.count("\n") == 1 and f'pip install ".[{extra}]"' in said


def test_the_wheel_holds_resources_licence_types_and_the_command(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (commands,) = (archive.read(name).decode() for name in names if name.endswith("/entry_points.txt"))
    assert "fetusmap = FetusMapV2Lib.cli:main" in commands
    assert "FetusMapV2Lib/py.typed" in names
    assert any(name.endswith("licenses/LICENSE.txt") for name in names)
    for tree in ("Resources", "FetusMapV2Lib"):
        tracked = {path for path in (ROOT / tree).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        inside = "FetusMapV2Lib/Resources" if tree == "Resources" else tree
        assert {f"{inside}/{path.relative_to(ROOT / tree).as_posix()}" for path in tracked} <= names


def test_the_sdist_holds_what_the_wheel_is_built_of(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE.txt", "Resources/Models/models.json"} <= names
    assert not any(name.startswith(("Testing/", "docs/", ".venv/")) for name in names)
