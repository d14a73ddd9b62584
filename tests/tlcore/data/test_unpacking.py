"""Unpacking: what an archive may hold, what is refused, and that nothing is left."""

import errno
import gzip
import io
import shutil
import stat
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlcore.data import unpacking
from tlcore.data.archives import fetch
from tlcore.data.unpacking import MAX_UNPACKED_BYTES

PIZZA = {
    "pizza_steak/train/pizza/1.jpg": b"pizza one" * 40_000,
    "pizza_steak/train/steak/2.jpg": b"steak two",
    "pizza_steak/test/pizza/3.jpg": b"",
}


UNPACKED = {name.removeprefix("pizza_steak/"): data for name, data in PIZZA.items()}


def zip_of(members):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in members.items():
            info = zipfile.ZipInfo(member) if isinstance(member, str) else member
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def tar_of(members, *, packed=True):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member, data in members.items():
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(file.getvalue(), mtime=0) if packed else file.getvalue()


def zip_member(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


def tar_member(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("pizza_steak.zip", zip_of(PIZZA)),
        ("pizza_steak.tar.gz", tar_of(PIZZA)),
        ("pizza_steak.TGZ", tar_of(PIZZA)),
        ("pizza_steak.tar", tar_of(PIZZA, packed=False)),
        ("food.zip", zip_of(PIZZA)),
        (
            "pizza_steak.zip",
            zip_of({"pizza_steak/": b"", **PIZZA, "__MACOSX/._a": b""}),
        ),
        ("pizza_steak.tgz", tar_of({f"./{k}": v for k, v in PIZZA.items()})),
        ("pizza_steak.zip", zip_of(UNPACKED)),
        ("pizza%5Fsteak.TGZ?a=1#b", tar_of(UNPACKED)),
    ],
    ids=[
        "zip",
        "tar.gz",
        "tgz",
        "tar",
        "top folder of another name",
        "with __MACOSX",
        "from the dot",
        "several tops",
        "several tops in tgz",
    ],
)
def test_a_good_archive_becomes_a_folder(server, tmp_path, name, data, files, names):
    url = server.serve("/" + name.partition("#")[0], data)
    folder = fetch(url, tmp_path / "new" / "data", progress=False)
    assert folder == tmp_path / "new" / "data" / "pizza_steak"
    assert files(folder) == UNPACKED
    assert names(tmp_path / "new" / "data") == ["pizza_steak"]


def test_empty_folders_are_unpacked_too(server, tmp_path, tree):
    data = zip_of({"top/empty/": b"", "top/a": b"a"})
    assert tree(fetch(server.serve("/x.zip", data), tmp_path)) == {
        "empty": None,
        "a": b"a",
    }


@pytest.mark.parametrize("first", ["file", "link"])
def test_of_members_with_one_path_the_last_counts(tmp_path, capsys, first, files):
    old, new = tarfile.TarInfo("top/a"), tarfile.TarInfo("top/a")
    link = old if first == "link" else new
    link.type, link.linkname = tarfile.SYMTYPE, "b"
    members = {old: b"" if link is old else b"old", new: b"" if link is new else b"new"}
    (tmp_path / "x.tar").write_bytes(
        tar_of({"top/b": b"target", **members}, packed=False)
    )
    folder = fetch(tmp_path / "x.tar", tmp_path)
    last = b"target" if link is new else b"new"
    assert files(folder) == {"a": last, "b": b"target"}
    assert f"Unpacked 2 files of {6 + len(last)} bytes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "data",
    [
        tar_of(
            {
                "top/a.jpg": b"image",
                tar_member("top/b/soft", tarfile.SYMTYPE, "../a.jpg"): b"",
                tar_member("top/b/hard", tarfile.LNKTYPE, "top/a.jpg"): b"",
                tar_member("top/b/chain", tarfile.SYMTYPE, "./soft"): b"",
            }
        ),
        zip_of(
            {
                "top/a.jpg": b"image",
                zip_member("top/b/soft", stat.S_IFLNK | 0o777): b"../a.jpg",
                zip_member("top/b/hard", stat.S_IFREG | 0o644): b"image",
                zip_member("top/b/chain", stat.S_IFLNK | 0o777): b"soft",
            }
        ),
    ],
    ids=["tar", "zip"],
)
def test_a_link_inside_the_archive_becomes_a_copy(server, tmp_path, data, files):
    folder = fetch(server.serve("/links", data), tmp_path)
    assert files(folder) == dict.fromkeys(
        ("a.jpg", "b/soft", "b/hard", "b/chain"), b"image"
    )
    assert all(path.stat().st_nlink == 1 for path in folder.rglob("*.*"))


def test_permissions_are_not_taken_over(server, tmp_path):
    info = tarfile.TarInfo("top/a")
    info.mode = 0o4777
    folder = fetch(server.serve("/a.tgz", tar_of({info: b"a"})), tmp_path)
    (tmp_path / "plain").write_text("")
    (tmp_path / "folder").mkdir()
    assert (folder / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert folder.stat().st_mode == (tmp_path / "folder").stat().st_mode


def damaged(data, old, new):
    assert old in data
    return data.replace(old, new)


STORED = tar_of(PIZZA, packed=False)


ENCRYPTED = damaged(
    damaged(zip_of({"a": b"a"}), b"PK\3\4\x14\0\0", b"PK\3\4\x14\0\1"),
    b"PK\1\2\x14\3\x14\0\0",
    b"PK\1\2\x14\3\x14\0\1",
)


ONE = zip_of({"a": b"a"})


UNSOUND = {
    "nothing": (b"", "must be a zip, tar or tar.gz file"),
    "a page": (b"<!DOCTYPE html><p>" * 99, "must be a zip.*with b'<!DOCTYPE.*a page"),
    "an image": (b"\x89PNG\r\n" * 99, "must be a zip, tar or tar.gz file"),
    "a text in gzip": (gzip.compress(b"text" * 999), "must be a zip, tar or tar.gz"),
    "a cut gzip": (gzip.compress(b"text")[:8], "must be whole"),
    "a cut zip": (zip_of(PIZZA)[:-30], "must be whole"),
    "a wrong CRC": (damaged(ONE, b"\x43\xbe\xb7\xe8", b"\0" * 4), "Bad CRC-32"),
    "a method unknown": (damaged(ONE, b"\0\0\x08\0", b"\0\0\x63\0"), "must be whole"),
    "a wrong offset": (damaged(ONE, b'"\0\0\0\0\0', b"#\0\0\0\0\0"), "must be whole"),
    "a password": (ENCRYPTED, "must not be encrypted.*member='a'.*its password"),
    "a cut end of gzip": (tar_of(PIZZA)[:-4], "must be whole"),
    "a wrong CRC of gzip": (tar_of(PIZZA)[:-8] + b"\0" * 8, "CRC check failed"),
    "a cut tar.gz": (tar_of(PIZZA)[:200], "must be whole"),
    "a cut tar": (STORED[:5_000], "must be whole.*unexpected end of data"),
    "a tar cut between members": (
        tar_of({"a": b"a" * 512}, packed=False)[:1024],
        "must be whole.*before its end marker",
    ),
    "a damaged header": (
        damaged(STORED, b"steak/2", b"steak/9"),
        "must be whole.*before its end marker",
    ),
    "two tars": (STORED + bytes(2**25), "must be whole.*goes on after its end marker"),
    "an empty zip": (zip_of({}), "must hold files"),
    "an empty tar.gz": (tar_of({}), "must hold files"),
    "folders only": (zip_of({"top/": b"", "__MACOSX/a": b"a"}), "must hold files"),
    "a file as a parent": (
        zip_of({"a": b"a", "a/b": b"b"}),
        "must hold files, none of which is a folder as well",
    ),
    "a file and a folder": (
        tar_of({"a": b"a", tar_member("a", tarfile.DIRTYPE): b""}),
        "must hold files, none of which is a folder as well",
    ),
}


@pytest.mark.parametrize(("data", "match"), UNSOUND.values(), ids=UNSOUND)
def test_a_file_that_is_no_sound_archive_is_refused(
    server, tmp_path, data, match, assert_refused
):
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


@pytest.mark.parametrize("pack", [zip_of, tar_of])
@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "..",
        "top/../../x",
        "top/..",
        "./../x",
        "/x",
        "//host/x",
        "C:/x",
        "c:x",
        "C:\\x",
        "..\\x",
        "top\\x",
        "\\\\host\\x",
        "__MACOSX/../../x",
        "deep/" * 64 + "x",
    ],
)
def test_a_member_that_leads_outside_is_refused(
    server, tmp_path, pack, name, assert_refused
):
    data = pack({"top/good": b"good", name: b"evil"})
    match = "must have relative paths.*Received: .*member=.*source you trust"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


def test_a_name_with_a_nul_is_refused(server, tmp_path, assert_refused):
    data = damaged(zip_of({"top/a.jpg": b"a"}), b"a.jpg", b"a\0jpg")
    match = r"must have relative paths.*'top/a\\x00jpg'"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


@pytest.mark.parametrize("kind", ["zip", "symbolic", "hard"])
@pytest.mark.parametrize(
    "target",
    [
        "/etc/hostname",
        "../../outside",
        "a/../../../outside",
        "../../top/folder/file",
        "C:/outside",
        "..\\..\\outside",
        "missing",
        "folder",
        "link",
        "",
    ],
)
def test_a_link_to_anything_but_a_file_of_the_archive_is_refused(
    server, tmp_path, kind, target, files, assert_refused
):
    good = {"top/folder/file": b"good"}
    if kind == "zip":
        link = zip_member("top/link", stat.S_IFLNK | 0o777)
        data = zip_of({**good, link: target.encode()})
    elif kind == "symbolic":
        data = tar_of({**good, tar_member("top/link", tarfile.SYMTYPE, target): b""})
    else:
        target = target.replace("link", "top/link").removeprefix("../")
        data = tar_of({**good, tar_member("top/link", tarfile.LNKTYPE, target): b""})
    match = "Links must point to files of the same archive.*Received: "
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


def test_a_member_below_a_link_is_refused(server, tmp_path, files, assert_refused):
    link = tar_member("top/link", tarfile.SYMTYPE, "file")
    data = tar_of({"top/file": b"good", link: b"", "top/link/x": b"evil"})
    match = "must hold files, none of which is a folder"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


@pytest.mark.parametrize(
    "data",
    [
        tar_of({"top/a": b"a", tar_member("top/dev", tarfile.CHRTYPE): b""}),
        tar_of({"top/a": b"a", tar_member("top/dev", tarfile.BLKTYPE): b""}),
        tar_of({"top/a": b"a", tar_member("top/dev", tarfile.FIFOTYPE): b""}),
        zip_of({"top/a": b"a", zip_member("top/dev", stat.S_IFCHR | 0o666): b""}),
    ],
    ids=["character device", "block device", "pipe", "zip"],
)
def test_a_device_is_refused(server, tmp_path, data, files, assert_refused):
    match = "must be files, folders or links.*member='top/dev'.*a device or a pipe"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


BOMBS = [
    zip_of({"top/a": bytes(600_000), "top/b": bytes(600_000)}),
    tar_of({"top/a": bytes(600_000), "top/b": bytes(600_000)}),
    tar_of(
        {
            "top/a": bytes(600_000),
            tar_member("top/b", tarfile.LNKTYPE, "top/a"): b"",
        }
    ),
]


@pytest.mark.parametrize("data", BOMBS, ids=["zip", "tar", "links"])
@pytest.mark.parametrize("bound", ["limit", "disk"])
def test_an_archive_that_unpacks_to_too_much_is_refused(
    server, tmp_path, monkeypatch, data, bound, assert_refused
):
    if bound == "limit":
        monkeypatch.setattr(unpacking, "MAX_UNPACKED_BYTES", 10**6)
    else:
        usage = shutil.disk_usage(tmp_path)._replace(free=10**6)
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    match = "must unpack to at most .* 1,000,000 bytes now.*which unpacks to 1,200,000"
    assert_refused(server.serve("/a.zip", data), tmp_path, ValueError, match)


def test_a_member_that_claims_too_much_is_refused_before_it_is_read(
    server, tmp_path, assert_refused
):
    info = tarfile.TarInfo("top/a")
    info.size = 2**50
    url = server.serve("/a.tar", info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    match = "which unpacks to 1,125,899,906,842,624 bytes or more"
    assert_refused(url, tmp_path, ValueError, match)


def test_the_limit_is_twenty_gibibytes():
    assert MAX_UNPACKED_BYTES == 20 * 1024**3


def interrupt(*_args: object, **_kwargs: object):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (zipfile.ZipFile, "open"),
        (unpacking, "_content"),
        (shutil, "copyfile"),
    ],
)
def test_an_interrupt_leaves_nothing(
    server, tmp_path, monkeypatch, owner, name, left_as_it_was
):
    pack = zip_of if owner is zipfile.ZipFile else tar_of
    link = {} if pack is zip_of else {tar_member("top/l", tarfile.SYMTYPE, "a"): b""}
    url = server.serve("/a.zip", pack({"top/a": b"a", **link}))
    monkeypatch.setattr(owner, name, interrupt)
    for directory in (tmp_path, tmp_path / "new" / "deep"):
        with left_as_it_was(tmp_path), pytest.raises(KeyboardInterrupt):
            fetch(url, directory)


def test_a_full_disk_leaves_nothing(server, tmp_path, monkeypatch, left_as_it_was):
    def fail(*_args: object):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unpacking, "_content", fail)
    url = server.serve("/a.tgz", tar_of(PIZZA))
    with left_as_it_was(tmp_path), pytest.raises(OSError, match="No space left"):
        fetch(url, tmp_path / "new")


SMALL = tar_of({"top/a": b"a" * 600, "top/b": b"b"}, packed=False)


LINKED = tar_of({"top/a": b"a", tar_member("top/b", tarfile.LNKTYPE, "top/a"): b""})


@settings(max_examples=150, suppress_health_check=list(HealthCheck), deadline=None)
@given(
    data=st.sampled_from([zip_of(PIZZA), tar_of(PIZZA), LINKED, SMALL]),
    changes=st.lists(
        st.tuples(st.integers(0, 7_999), st.integers(0, 255)), min_size=1, max_size=4
    ),
    cut=st.integers(0, 8_000),
)
def test_a_damaged_archive_is_refused_or_unpacked_and_leaves_nothing_else(
    tmp_path, data, changes, cut, names
):
    broken = bytearray(data)
    for position, value in changes:
        broken[position % len(broken)] = value
    (tmp_path / "a.zip").write_bytes(broken[: cut or None])
    directory = tmp_path / "data"
    refusal = None
    try:
        folder = fetch(tmp_path / "a.zip", directory, progress=False)
    except ValueError as error:
        refusal = str(error)
    if refusal is None:
        assert names(directory) == [folder.name]
        shutil.rmtree(directory)
    else:
        assert "Received: " in refusal
    assert names(tmp_path) == ["a.zip"]
