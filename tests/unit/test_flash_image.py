# SPDX-FileCopyrightText: the br2.readonly_rootfs contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images are proven whole before any card is touched."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import io
import lzma
import os
import random
import shutil
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.br2.readonly_rootfs.plugins.module_utils import _flash_image, _flash_unpack
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._bmap import write_bmap
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_errors import FlashError
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_fetch import fetch
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_image import (
    check_signature,
    neighbour,
    open_image,
)
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._flash_unpack import open_unpacked
from ansible_collections.br2.readonly_rootfs.plugins.module_utils._image_facts import image_facts
from ansible_collections.br2.readonly_rootfs.tests.support import images

CONTENT = random.Random(5).randbytes(300_000) + bytes(5 << 20) + b"end" + bytes(10_000)
GZIPPED = gzip.compress(CONTENT)


def packed(kind: str, content: bytes = CONTENT) -> bytes:
    if kind == "gz":
        return gzip.compress(content)
    if kind == "xz":
        return lzma.compress(content)
    if shutil.which("zstd") is None:
        pytest.skip("zstd is not installed")
    return subprocess.run(["zstd", "-c"], input=content, check=True, capture_output=True).stdout


@pytest.fixture(params=["gz", "xz", "zst", "xz in Python"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "xz in Python":

        def missing(tool: str) -> str:
            raise FlashError("tool", f"{tool} is missing")

        monkeypatch.setattr(_flash_unpack, "require", missing)
        return "xz"
    return str(request.param)


def test_a_compressed_image_is_unpacked_sparse(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "image"
    file.write_bytes(packed(kind))
    fd, compression = open_unpacked(file, tmp_path / "cache")
    try:
        assert compression == kind
        assert os.fstat(fd).st_size == len(CONTENT)
        assert os.pread(fd, len(CONTENT), 0) == CONTENT
        assert os.fstat(fd).st_blocks * 512 < len(CONTENT) // 2
        assert list((tmp_path / "cache").iterdir()) == []
    finally:
        os.close(fd)


def test_the_xz_of_busybox_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows no threads and writes no holes."""
    applet = tmp_path / "bin/xz"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/busybox").write_text("#!/bin/sh\necho usage >&2\nexit 1\n")
    (tmp_path / "bin/busybox").chmod(0o755)
    applet.symlink_to("busybox")
    monkeypatch.setenv("PATH", f"{applet.parent}:{os.environ['PATH']}")
    file = tmp_path / "image"
    file.write_bytes(packed("xz"))
    fd, _unused = open_unpacked(file, tmp_path / "cache")
    assert os.pread(fd, len(CONTENT), 0) == CONTENT
    os.close(fd)


@pytest.mark.parametrize("damage", ["cut", "cut in half", "flipped", "garbage", "zeros"])
def test_a_damaged_file_is_no_image(tmp_path: Path, kind: str, damage: str) -> None:
    data = bytearray(packed(kind))
    if damage == "cut":
        del data[-1:]
    elif damage == "cut in half":
        del data[len(data) // 2 :]
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
    else:
        data += b"trailing garbage" if damage == "garbage" else bytes(5)
    file = tmp_path / "image"
    file.write_bytes(data)
    with pytest.raises(FlashError, match=r"image: is damaged") as caught:
        open_unpacked(file, tmp_path / "cache")
    assert caught.value.kind == "image"


def test_pzstd_begins_with_a_frame_to_be_skipped(tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(b"\x50\x2a\x4d\x18\x04\0\0\0size" + packed("zst"))
    fd, compression = open_unpacked(file, tmp_path / "cache")
    assert (compression, os.pread(fd, len(CONTENT), 0)) == ("zst", CONTENT)
    os.close(fd)


def test_the_page_of_a_server_is_no_image(tmp_path: Path) -> None:
    page = tmp_path / "sdcard.img"
    page.write_text("<!DOCTYPE html><title>Please log in</title>" * 200)
    with pytest.raises(FlashError, match="it is a text"):
        open_unpacked(page, tmp_path / "cache")


@pytest.mark.parametrize("kind", ["bz2", "zip", "tar", "tar.gz", "gz.gz"])
def test_what_is_packed_otherwise_is_no_image(tmp_path: Path, kind: str) -> None:
    """A card that holds it would read back well, and never boot."""
    file, inner = tmp_path / f"sdcard.img.{kind}", tmp_path / "sdcard.img"
    inner.write_bytes(CONTENT)
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as archive:
            archive.write(inner)
    elif kind == "bz2":
        file.write_bytes(bz2.compress(CONTENT))
    elif kind == "gz.gz":
        file.write_bytes(packed("gz", packed("gz")))
    else:
        with tarfile.open(file, "w:gz" if kind == "tar.gz" else "w") as tar:
            tar.add(inner)
    with pytest.raises(FlashError, match="unpack that first") as caught:
        open_unpacked(file, tmp_path / "cache")
    assert caught.value.kind == "image"


@pytest.mark.parametrize("size", [40, 26, 10])
def test_a_raw_image_that_is_cut_off(tmp_path: Path, size: int) -> None:
    image = images.make_card_image(tmp_path, mib=1)
    os.truncate(image, size << 20)
    with pytest.raises(FlashError, match="is cut off: partition"):
        open_image(image, tmp_path)


@pytest.mark.parametrize("kind", ["ext4", "vfat", "squashfs", "erofs"])
def test_a_file_system_that_is_cut_off(tmp_path: Path, kind: str) -> None:
    tool = {"squashfs": "mksquashfs", "erofs": "mkfs.erofs"}.get(kind)
    if tool and shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    tree, image = images.fill_tree(tmp_path / "tree"), tmp_path / "image"
    if kind == "ext4":
        images.make_ext(image, 16 << 20)
    elif kind == "vfat":
        images.make_fat16(image)
    elif kind == "squashfs":
        subprocess.run(["mksquashfs", str(tree), str(image), "-quiet", "-no-progress", "-nopad"], check=True)
    else:
        subprocess.run(["mkfs.erofs", "--quiet", str(image), str(tree)], check=True)
    open_image(image, tmp_path).close()
    os.truncate(image, image.stat().st_size - (1 << 20))
    with pytest.raises(FlashError, match="is cut off: the file system ends"):
        open_image(image, tmp_path)


def test_a_partition_may_go_beyond_the_image_if_its_file_system_does_not(tmp_path: Path) -> None:
    root = images.make_ext(tmp_path / "root", 8 << 20, "ext2")
    with root.open("r+b") as out:
        out.truncate(16 << 20)
    image = images.make_mbr(tmp_path / "image", [root])
    os.truncate(image, 9 << 20)
    assert open_image(image, tmp_path).size == 9 << 20


def test_what_is_checked_is_what_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer image takes the name after the checksum was found right."""
    image = images.make_card_image(tmp_path, mib=1)
    checksum = f"sha256:{hashlib.sha256(image.read_bytes()).hexdigest()}"
    newer = tmp_path / "newer"
    newer.write_bytes(image.read_bytes()[::-1])

    def late(*given: Any) -> tuple[int, str]:
        newer.replace(image)
        return open_unpacked(*given)

    monkeypatch.setattr(_flash_image, "open_unpacked", late)
    opened = open_image(image, tmp_path, checksum)
    assert f"sha256:{hashlib.sha256(os.pread(opened.fd, opened.size, 0)).hexdigest()}" == checksum


def test_an_image_that_is_written_to_is_used_no_longer(tmp_path: Path) -> None:
    image = images.make_card_image(tmp_path, mib=1)
    opened = open_image(image, tmp_path)
    opened.prove()
    with image.open("r+b") as out:
        out.write(b"new")
    with pytest.raises(FlashError, match="was written to"):
        opened.prove()


def test_members_may_follow_each_other(tmp_path: Path) -> None:
    """As pigz and bgzip write them."""
    file = tmp_path / "image"
    file.write_bytes(packed("gz", b"\0one") + packed("gz", b"\0two"))
    fd, _unused = open_unpacked(file, tmp_path)
    assert os.pread(fd, 10, 0) == b"\0one\0two"
    os.close(fd)


def test_checksums(tmp_path: Path) -> None:
    image = images.make_card_image(tmp_path, mib=1)
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    assert open_image(image, tmp_path, f"SHA256:{digest.upper()}").id == f"sha256:{digest}"
    assert open_image(image, tmp_path, digest).id == f"sha256:{digest}"
    for wrong in (f"sha256:{'0' * 64}", f"md5:{'0' * 32}", f"sha512:{digest}"):
        with pytest.raises(FlashError) as caught:
            open_image(image, tmp_path, wrong)
        assert caught.value.kind == "image"


def test_the_map_beside_an_image_is_used(tmp_path: Path) -> None:
    image = images.make_card_image(tmp_path, mib=1)
    assert neighbour(image) is None
    bmap = tmp_path / "sdcard.img.bmap"
    write_bmap(image, bmap)
    assert neighbour(image) == bmap
    assert neighbour(tmp_path / "sdcard.img.xz") == bmap
    known = open_image(image, tmp_path, bmap=bmap).id
    assert known.startswith("map:")
    assert open_image(image, tmp_path).id == known, "the name of an image does not depend on its map"


def test_the_map_of_another_image_is_refused(tmp_path: Path) -> None:
    image = images.make_card_image(tmp_path, mib=1)
    bmap = tmp_path / "other.bmap"
    other = shutil.copy(image, tmp_path / "other.img")
    with Path(other).open("r+b") as out:
        out.seek(440)
        out.write(b"else")
    write_bmap(other, bmap)
    with pytest.raises(FlashError, match="do not match the block map"):
        open_image(image, tmp_path, bmap=bmap).prove()


def test_a_foreign_map_adds_to_ours(tmp_path: Path) -> None:
    """It may know of data that we take for free, never the other way round."""
    image = images.make_card_image(tmp_path, mib=1)
    ours = open_image(image, tmp_path)
    free = next(extent for extent in ours.mapping.extents if extent.kind.value == "free")
    bmap = tmp_path / "theirs.bmap"
    block = free.start // 4096
    bmap.write_text(
        f'<bmap version="1.2"><ImageSize>{ours.size}</ImageSize><BlockSize>4096</BlockSize>'
        f"<BlockMap><Range>{block}-{block}</Range></BlockMap></bmap>"
    )
    theirs = open_image(image, tmp_path, bmap=bmap)
    assert theirs.mapping.summary()["free"] == ours.mapping.summary()["free"] - 4096
    assert theirs.id == open_image(image, tmp_path, bmap=bmap).id
    with image.open("r+b") as out:
        out.seek(1 << 20 | 4096)
        out.write(b"other")
    assert theirs.id != open_image(image, tmp_path, bmap=bmap).id, "a map without checksums names nothing"


def test_a_map_of_small_blocks_is_taken_in_whole_ones(tmp_path: Path) -> None:
    """Cards are written past the page cache, where only whole blocks can go."""
    image = images.make_card_image(tmp_path, mib=1)
    ours = open_image(image, tmp_path)
    free = next(extent for extent in ours.mapping.extents if extent.kind.value == "free")
    bmap = tmp_path / "theirs.bmap"
    block = free.start // 512 + 3
    bmap.write_text(
        f'<bmap version="1.2"><ImageSize>{ours.size}</ImageSize><BlockSize>512</BlockSize>'
        f"<BlockMap><Range>{block}</Range></BlockMap></bmap>"
    )
    assert all(start % 4096 == 0 for start, _size in open_image(image, tmp_path, bmap=bmap).mapping.used())


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(FlashError, match="there is no such file"):
        fetch(str(tmp_path / "none.img"), "", tmp_path)
    with pytest.raises(FlashError, match="without TLS"):
        fetch("http://example.org/sdcard.img", "", tmp_path)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address, and the directory that is served there."""
    place = tmp_path / "served"
    place.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(place))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}", place
        http.shutdown()


def test_images_of_one_name_from_two_places_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two plays may be at work on one station."""

    def answer(address: str, **_options: object) -> Answer:
        return Answer(address.encode(), address)

    monkeypatch.setattr("ansible.module_utils.urls.open_url", answer)
    one, two = "https://host/one/sdcard.img", "https://host/two/sdcard.img"
    first, second = (fetch(address, "", tmp_path) for address in (one, two))
    assert (first.read_bytes(), second.read_bytes()) == (one.encode(), two.encode())


def test_leaving_tls_on_the_way_needs_a_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ansible.module_utils.urls.open_url",
        lambda *_given, **_options: Answer(CONTENT, "http://mirror/image"),
    )
    with pytest.raises(FlashError, match="leads to http://mirror/image"):
        fetch("https://host/image", "", tmp_path)
    checksum = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert fetch("https://host/image", checksum, tmp_path).read_bytes() == CONTENT


class Answer(io.BytesIO):
    """What a server sends, and where from in the end."""

    def __init__(self, content: bytes, address: str) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content))}
        self.address = address

    def geturl(self) -> str:
        return self.address


class Odd(BaseHTTPRequestHandler):
    """Calls a packed file an encoding, and ends a chunked answer too early."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        if self.path == "/image.gz":
            content = GZIPPED
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        else:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"10\r\n12345")
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


def test_servers_that_are_odd(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{http.server_port}"
        checksum = f"sha256:{hashlib.sha256(GZIPPED).hexdigest()}"
        with pytest.raises(FlashError, match="cannot be loaded"):
            fetch(f"{address}/cut", checksum, tmp_path)
        assert fetch(f"{address}/image.gz", checksum, tmp_path).read_bytes() == GZIPPED
        http.shutdown()


def test_an_image_from_the_network_is_loaded_once(server: tuple[str, Path], tmp_path: Path) -> None:
    address, place = server
    (place / "sdcard.img").write_bytes(CONTENT)
    checksum = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    kept = fetch(f"{address}/sdcard.img", checksum, tmp_path / "cache")
    assert kept.read_bytes() == CONTENT
    (place / "sdcard.img").unlink()
    assert fetch(f"{address}/sdcard.img", checksum, tmp_path / "cache") == kept
    kept.write_bytes(CONTENT[1:])
    with pytest.raises(FlashError, match="cannot be loaded"):
        fetch(f"{address}/sdcard.img", checksum, tmp_path / "cache")
    (place / "sdcard.img").write_bytes(CONTENT)
    assert fetch(f"{address}/sdcard.img", checksum, tmp_path / "cache").read_bytes() == CONTENT


def test_a_wrong_image_from_the_network_is_not_kept(server: tuple[str, Path], tmp_path: Path) -> None:
    address, place = server
    (place / "sdcard.img").write_bytes(CONTENT)
    with pytest.raises(FlashError, match="expected 0000"):
        fetch(f"{address}/sdcard.img", f"sha256:{'0' * 64}", tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.skipif(not (shutil.which("gpg") and shutil.which("gpgv")), reason="gpg or gpgv is not installed")
def test_signatures(tmp_path: Path) -> None:
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    subprocess.run([*gpg, "--quick-gen-key", "flash@example.org", "ed25519"], check=True, capture_output=True)
    keyring, image, signature = tmp_path / "keyring.gpg", tmp_path / "image", tmp_path / "image.sig"
    subprocess.run([*gpg, "--export", "--output", str(keyring)], check=True)
    image.write_bytes(b"image")
    subprocess.run([*gpg, "--detach-sign", "--output", str(signature), str(image)], check=True)
    # It would stay for ever, with a directory that is gone.
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)
    check_signature(image, signature, keyring, "image")
    image.write_bytes(b"imagE")
    with pytest.raises(FlashError, match="image: its signature is not valid"):
        check_signature(image, signature, keyring, "image")


@pytest.mark.skipif(not (shutil.which("gpg") and shutil.which("gpgv")), reason="gpg or gpgv is not installed")
def test_signatures_of_a_key_that_is_no_longer_good(tmp_path: Path) -> None:
    """For gpgv alone they are good."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
    # The key is an old one, so that nobody has to wait for it to expire.
    past = [*gpg, "--faked-system-time", "20200101T000000!"]
    new_key = [*past, "--quick-gen-key", "flash@example.org", "ed25519", "default", "1d"]
    subprocess.run(new_key, check=True, capture_output=True)
    keyring, image, signature = tmp_path / "keyring.gpg", tmp_path / "image", tmp_path / "image.sig"
    subprocess.run([*gpg, "--export", "--output", str(keyring)], check=True)
    image.write_bytes(b"image")
    subprocess.run([*past, "--detach-sign", "--output", str(signature), str(image)], check=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)
    with pytest.raises(FlashError, match="expired or revoked"):
        check_signature(image, signature, keyring, "image")


def test_what_is_no_file_is_no_image(tmp_path: Path) -> None:
    """Nobody would ever write to the pipe."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(FlashError, match=f"{path}: is not a file"):
            image_facts(str(path))


def test_facts_of_an_image(tmp_path: Path) -> None:
    image = images.make_card_image(tmp_path, mib=1)
    (tmp_path / "manifest.json").write_text('{"board": "gate"}')
    facts = image_facts(str(image))
    assert facts["table"] == {"kind": "mbr", "id": "deadbeef"}
    assert [part["filesystem"]["type"] for part in facts["partitions"]] == ["ext2", "ext4"]
    assert sum(facts["map"].values()) == facts["size"] == image.stat().st_size
    assert facts["sha256"] == hashlib.sha256(image.read_bytes()).hexdigest()
    assert facts["manifest"] == {"board": "gate"}
    assert facts["bmap"] is None
    write_bmap(image, tmp_path / "sdcard.img.bmap")
    assert image_facts(str(image))["bmap"] == str(tmp_path / "sdcard.img.bmap")
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(FlashError, match="is not JSON"):
        image_facts(str(image))
