# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The mirror and the compiler cache as the roles configure them, with real servers on the loopback."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_log import diagnose
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._buildroot_tree import BuildrootError, Tree

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SOURCE = Path(os.environ.get("BR2_BUILDROOT_DIR") or ROOT / "buildroot")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"NO {name} on this machine: make provision")
    return found


def configure(**variables: Any) -> None:
    command = [
        str(Path(sys.executable).with_name("ansible-playbook")),
        "--inventory=here,",
        "--connection=local",
        "--extra-vars="
        + json.dumps(
            {
                "ansible_python_interpreter": sys.executable,
                "mirror_service": False,
                "compiler_cache_service": False,
                **variables,
            }
        ),
        str(HERE / "services.yml"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)
        else:
            return


class Services:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.downloads = root / "dl"
        self.downloads.mkdir()
        self.mirror_port, self.redis_port = free_port(), free_port()
        configure(
            mirror_dir=str(self.downloads),
            mirror_listen=f"127.0.0.1:{self.mirror_port}",
            mirror_config=str(root / "mirror.conf"),
            compiler_cache_port=self.redis_port,
            compiler_cache_password="secret",
            compiler_cache_config=str(root / "redis.conf"),
        )

    @property
    def mirror(self) -> str:
        return f"http://127.0.0.1:{self.mirror_port}"


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    nginx, redis = program("nginx"), program("redis-server")
    made = Services(tmp_path_factory.mktemp("services"))
    user = "user root;\n" if os.geteuid() == 0 else ""
    (made.root / "nginx.conf").write_text(
        f"{user}pid nginx.pid;\nerror_log nginx.log;\nevents {{}}\n"
        "http {\n  access_log off;\n  client_body_temp_path body;\n  proxy_temp_path proxy;\n"
        "  fastcgi_temp_path fastcgi;\n  uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n"
        f"  include {made.root}/mirror.conf;\n}}\n"
    )
    servers = [
        subprocess.Popen(
            [nginx, "-p", str(made.root), "-e", "nginx.log", "-c", "nginx.conf", "-g", "daemon off;"]
        ),
        subprocess.Popen([redis, str(made.root / "redis.conf")], cwd=made.root, stdout=subprocess.DEVNULL),
    ]
    try:
        wait_for(made.mirror_port)
        wait_for(made.redis_port)
        yield made
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(timeout=20)


def fetch(url: str, method: str = "GET") -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


def test_the_mirror_serves_sources_and_nothing_half_written(services: Services) -> None:
    (services.downloads / "zlib").mkdir()
    (services.downloads / "zlib/zlib.tar.xz").write_bytes(b"zlib")
    (services.downloads / "zlib/.lock").write_bytes(b"")
    (services.downloads / "zlib/zlib.tar.xz.new").write_bytes(b"zl")
    assert fetch(f"{services.mirror}/zlib/zlib.tar.xz") == (200, b"zlib")
    assert fetch(f"{services.mirror}/zlib/.lock")[0] == 404
    assert fetch(f"{services.mirror}/zlib/zlib.tar.xz.new")[0] == 404
    assert fetch(f"{services.mirror}/zlib/zlib.tar.xz", "DELETE")[0] in (403, 405)
    assert (services.downloads / "zlib/zlib.tar.xz").exists()


class Package:
    """A package of an external tree whose own site does not exist."""

    def __init__(self, root: Path, mirror: str) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            tar.addfile(tarfile.TarInfo("hello-1.0/Makefile"))
        self.content = buffer.getvalue()
        package = root / "external/package/hello"
        package.mkdir(parents=True)
        (root / "external/external.desc").write_text("name: HELLO\n")
        (root / "external/external.mk").write_text(
            "include $(BR2_EXTERNAL_HELLO_PATH)/package/hello/hello.mk\n"
        )
        (root / "external/Config.in").write_text(
            'source "$BR2_EXTERNAL_HELLO_PATH/package/hello/Config.in"\n'
        )
        (package / "Config.in").write_text('config BR2_PACKAGE_HELLO\n\tbool "hello"\n')
        (package / "hello.mk").write_text(
            "HELLO_VERSION = 1.0\nHELLO_SITE = http://site.invalid\nHELLO_SOURCE = hello-1.0.tar.gz\n"
            "$(eval $(generic-package))\n"
        )
        (package / "hello.hash").write_text(
            f"sha256  {hashlib.sha256(self.content).hexdigest()}  hello-1.0.tar.gz\n"
        )
        self.tree = Tree(SOURCE, root / "output", (root / "external",))
        (root / "defconfig").write_text(
            f'BR2_PACKAGE_HELLO=y\nBR2_PRIMARY_SITE="{mirror}"\nBR2_PRIMARY_SITE_ONLY=y\n'
            "BR2_TARGET_ROOTFS_TAR=n\n"
        )
        self.tree.run(["defconfig"], {"BR2_DEFCONFIG": str(root / "defconfig")})
        self.downloads = root / "dl"

    def source(self) -> None:
        self.tree.run(["hello-source"], {"BR2_DL_DIR": str(self.downloads)})


@pytest.mark.skipif(
    not (SOURCE / "Config.in").is_file(),
    reason=f"NO BUILDROOT at {SOURCE}: git submodule update --init, or set BR2_BUILDROOT_DIR.",
)
def test_buildroot_takes_sources_from_the_mirror_alone(services: Services, tmp_path: Path) -> None:
    package = Package(tmp_path, services.mirror)
    with pytest.raises(BuildrootError) as caught:
        package.source()
    failure = diagnose(caught.value.details["output"].splitlines())
    assert failure.package == "hello-1.0"
    assert failure.urls
    assert all(url.startswith(services.mirror) for url in failure.urls), "another site was asked"

    place = services.downloads / "hello/hello-1.0.tar.gz"
    place.parent.mkdir()
    place.write_bytes(package.content + b"damaged")
    with pytest.raises(BuildrootError) as caught:
        package.source()
    failure = diagnose(caught.value.details["output"].splitlines())
    assert "not the one that Buildroot expects" in failure.cause

    place.write_bytes(package.content)
    package.source()
    assert (package.downloads / "hello/hello-1.0.tar.gz").read_bytes() == package.content


def test_two_hosts_share_compiled_objects(services: Services, tmp_path: Path) -> None:
    ccache = program("ccache")
    if (
        "redis"
        not in subprocess.run([ccache, "--version"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("NO ccache with Redis on this machine")
    (tmp_path / "main.c").write_text(f"int main(void) {{ return {os.getpid()} % 7; }}\n")

    def compile_on(host: str, password: str = "secret") -> dict[str, int]:
        environment = {
            "PATH": os.environ["PATH"],
            "CCACHE_DIR": str(tmp_path / host),
            "CCACHE_REMOTE_STORAGE": f"redis://{password}@127.0.0.1:{services.redis_port}",
        }
        command = [ccache, "gcc", "-c", "main.c", "-o", f"{host}.o"]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True)
        text = subprocess.run(
            [ccache, "--print-stats"], env=environment, capture_output=True, check=True
        ).stdout
        return {name: int(value) for name, value in (line.split("\t") for line in text.decode().splitlines())}

    assert compile_on("one")["cache_miss"] == 1
    second = compile_on("two")
    assert second["cache_miss"] == 0
    assert second["remote_storage_hit"] > 0
    assert (tmp_path / "one.o").read_bytes() == (tmp_path / "two.o").read_bytes()
    # Without the password the cache is of no use, and the build does not fail for it.
    assert compile_on("three", password="wrong")["cache_miss"] == 1
