"""``gw-middleware`` as strangers get it: built, installed, and each middleware alone in their framework."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import orjson
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SITE_PACKAGES = Path(orjson.__file__).parents[1]


def _build(project: Path, into: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(into)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = into.glob("*.whl")
    return wheel


@dataclass
class Installed:
    """A wheel, unpacked where an installer would put it."""

    path: Path

    @property
    def metadata(self) -> Message:
        (dist_info,) = self.path.glob("gw_middleware-*.dist-info")
        return HeaderParser().parsestr((dist_info / "METADATA").read_text())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    wheel = _build(ROOT / "middleware", tmp_path_factory.mktemp("dist"))
    target = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return Installed(target)


def _python(
    *arguments: str, path: list[Path], cwd: Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Python without site-packages of its own (``-S``: nor the ``.pth`` file that names this checkout)."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GATEWAY"))}
    env["PYTHONPATH"] = os.pathsep.join(str(p) for p in path)
    command = [sys.executable, "-S", "-W", "error::ResourceWarning", *arguments]
    return subprocess.run(command, env=env, cwd=cwd, input=stdin, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar", "blacksheep"])
def test_each_middleware_works_alone_in_a_foreign_app(
    framework: str, installed: Installed, tmp_path: Path
) -> None:
    shutil.copy(HERE / "foreign_app.py", tmp_path / "main.py")
    shutil.copy(ROOT / "tests" / "middleware" / "asgi.py", tmp_path / "kit.py")
    (tmp_path / "middleware").mkdir()
    (tmp_path / "middleware" / "__init__.py").write_text('"""The stranger\'s own."""\n')
    done = _python(
        "main.py", framework, str(installed.path), path=[installed.path, SITE_PACKAGES], cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    files = {p.stem for p in (ROOT / "middleware").glob("[!_]*.py")}
    assert {line.removeprefix("works: ") for line in done.stdout.splitlines()} == files


_README_CHECK = """
import asyncio, sys
from kit import call
space = {"__name__": "__main__"}
exec(sys.stdin.read(), space)
async def check(app):
    if hasattr(app, "start"):
        await app.start()
    refused = await call(space["app"], method="GET", path="/hello")
    assert refused.status == 401, refused
    key = {"x-api-key": "a-long-random-key"}
    admitted = await call(space["app"], method="GET", path="/hello", headers=key)
    assert admitted.status == 200, admitted
    assert b"hello" in admitted.body
asyncio.run(check(space.get("site")))
"""


def test_the_examples_of_the_readme_run_as_they_stand(installed: Installed, tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "middleware" / "README.md").read_text(), re.DOTALL)
    assert len(examples) == 4
    shutil.copy(ROOT / "tests" / "middleware" / "asgi.py", tmp_path / "kit.py")
    for example in examples:
        path = [installed.path, SITE_PACKAGES, tmp_path]
        done = _python("-c", _README_CHECK, path=path, cwd=tmp_path, stdin=example)
        assert done.returncode == 0, example + done.stderr


def test_the_readme_names_every_middleware() -> None:
    readme = (ROOT / "middleware" / "README.md").read_text()
    rows = set(re.findall(r"^\| `(\w+)\.\w+Middleware` ", readme, re.MULTILINE))
    assert rows == {p.stem for p in (ROOT / "middleware").glob("[!_]*.py")}


def test_orjson_is_all_it_requires(installed: Installed, tmp_path: Path) -> None:
    """Everything imports with orjson alone; what needs more says which extra to install."""
    required = [r for r in installed.metadata.get_all("Requires-Dist", []) if "extra ==" not in r]
    assert [re.split(r"[<>=\s]", r)[0] for r in required] == ["orjson"]
    shutil.copytree(SITE_PACKAGES / "orjson", tmp_path / "only" / "orjson")
    script = """
import importlib, pkgutil, gw_middleware
for module in pkgutil.walk_packages(gw_middleware.__path__, "gw_middleware."):
    importlib.import_module(module.name)
from gw_middleware._metrics import Metrics
from gw_middleware.rate_limit import RateLimitMiddleware
from gw_middleware.stores.redis import RedisStore
for needy in (Metrics, lambda: RateLimitMiddleware(None), lambda: RedisStore(None)):
    try:
        needy()
    except ModuleNotFoundError as error:
        print(error)
"""
    done = _python("-c", script, path=[installed.path, tmp_path / "only"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    named = re.findall(r"gw-middleware\[(\w+)\]", done.stdout)
    assert sorted(named) == sorted(installed.metadata.get_all("Provides-Extra", []))


def test_the_wheel_holds_the_package_and_nothing_else(installed: Installed) -> None:
    top = {p.name for p in installed.path.iterdir() if not p.name.endswith(".dist-info")}
    assert top == {"gw_middleware"}
    shipped = {p.relative_to(installed.path / "gw_middleware") for p in installed.path.rglob("*.py")}
    ours = {p.relative_to(ROOT / "middleware") for p in (ROOT / "middleware").rglob("*.py")}
    assert shipped == ours
    assert (installed.path / "gw_middleware" / "py.typed").exists()


def test_the_gateways_own_wheel_is_none_the_worse_for_it(tmp_path: Path) -> None:
    with zipfile.ZipFile(_build(ROOT, tmp_path)) as archive:
        names = set(archive.namelist())
    ours = {str(p.relative_to(ROOT)) for p in (ROOT / "middleware").rglob("*.py")}
    assert ours <= names
    assert "gw/app.py" in names
    assert not [name for name in names if name.startswith("gw_middleware")]
