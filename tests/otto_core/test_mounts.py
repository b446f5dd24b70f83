"""The file system that a repository is on, and the refusal to build on one of a network."""

from pathlib import Path

import pytest

from otto_core.errors import ExitCode, RepositoryUnusable
from otto_core.mounts import file_system_of, require_local
from tests.builders import make_repo
from tests.otto_core.runs import fingerprint, run_plan, writes


def test_the_file_system_is_that_of_the_deepest_and_last_mount(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    lines = ["/ rw - ext4 a rw", "/a rw - xfs b rw", "/a rw - tmpfs c rw", r"/a\040b rw - btrfs d rw"]
    mounts.write_text("".join(f"1 0 8:1 / {line}\n" for line in lines))
    assert file_system_of(Path("/a/x"), mounts) == "tmpfs"
    assert file_system_of(Path("/a b/x"), mounts) == "btrfs"
    assert file_system_of(Path("/ab"), mounts) == "ext4"
    assert file_system_of(Path("/"), tmp_path / "none") == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "ceph", "lustre"])
def test_a_file_system_of_a_network_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(RepositoryUnusable, match=rf"on a network file system \({kind}\)"):
        require_local(tmp_path, mounted(tmp_path, kind))


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "zfs", "overlay", "tmpfs", "9p", "virtiofs"])
def test_a_file_system_of_this_machine_or_its_host_is_not(tmp_path: Path, kind: str) -> None:
    assert require_local(tmp_path, mounted(tmp_path, kind)) == kind


def test_a_build_on_a_network_file_system_is_exit_4_and_writes_nothing(
    tmp_path: Path, hermetic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = make_repo(tmp_path)
    monkeypatch.setattr("otto_core.mounts.MOUNTS", mounted(tmp_path, "nfs4"))
    before, home = fingerprint(repo), fingerprint(hermetic)
    with pytest.raises(RepositoryUnusable, match="network file system") as refused:
        run_plan(repo, writes("one"))
    assert refused.value.exit_code == ExitCode.REPOSITORY
    assert refused.value.hint == "clone it to a local disk"
    assert fingerprint(repo) == before
    assert fingerprint(hermetic) == home


def mounted(place: Path, kind: str) -> Path:
    """Write a table of mounts in which a place is on a file system of a kind."""
    table = place / "mountinfo"
    table.write_text(
        f"1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:9 / {place} rw shared:1 - {kind} far:/x rw\n"
    )
    return table
