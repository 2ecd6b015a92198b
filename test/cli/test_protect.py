# SPDX-License-Identifier: MIT
"""nextport protect on Linux: outgoing connections keep out of the pool, what others reserved stays, and `next` goes on.

The program sees a folder of the test's own where this machine has /etc/sysctl.d. Its list of reserved ports is that of
the test's network namespace.
"""
import os
import pathlib
import shutil
import socket
import struct

import pytest
from conftest import NOBODY, set_outgoing_ports

pytestmark = pytest.mark.linux("ip_local_reserved_ports and sysctl.d")
NET = pathlib.Path("/proc/sys/net/ipv4")
RESERVED = NET / "ip_local_reserved_ports"
KEY = "net.ipv4.ip_local_reserved_ports"
FAILED, INPUT, FULL, CONFLICT, DENIED = 1, 2, 3, 6, 7
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closed at once, so that no port stays in TIME_WAIT


@pytest.fixture
def folder(tmp_path):
    """What the program finds as /etc/sysctl.d."""
    made = tmp_path / "sysctl.d"
    made.mkdir()
    return made


@pytest.fixture
def file(folder):
    return folder / "60-nextport.conf"


@pytest.fixture
def program(program, folder, tmp_path):
    """The program, which never sees the real /etc/sysctl.d. MORE are further commands that prepare what it sees."""
    if not os.path.isdir("/etc/sysctl.d"):
        pytest.skip("this machine has no /etc/sysctl.d to be covered")
    wrapper = tmp_path / "nextport"
    wrapper.write_text(f"""#!/bin/sh
exec unshare -m sh -c 'mount --bind {folder} /etc/sysctl.d && eval "$MORE" && exec ${{AS-}} "$0" "$@"' {program} "$@"
""")
    wrapper.chmod(0o755)
    return str(wrapper)


@pytest.fixture
def protect(nextport):
    """protect("--apply"): the answer, which must be one."""

    def run(*words, **kwargs):
        done = nextport("protect", *words, "--format", "json", **kwargs)
        assert done.status == 0, str(done)
        answer = done.json
        answer["rows"] = {item["name"]: item for item in answer["items"]}
        return answer

    return run


def reserved():
    return RESERVED.read_text().strip()


# ---- What it does ---------------------------------------------------------------------------------------------------


def test_what_would_be_done_is_shown_and_nothing_is_done(protect, file):
    set_outgoing_ports(32768, 60999)
    RESERVED.write_text("8080\n")
    answer = protect()
    assert not answer["changed"] and f"{KEY} = 8080,49000-65000\n" in answer["raw"]
    assert "12000 of 16001" in answer["rows"]["ephemeral ports"]["value"]
    assert "--apply" in answer["rows"]["ephemeral ports"]["advice"]
    assert reserved() == "8080" and not file.exists()


def test_the_pool_is_reserved_now_and_for_the_next_start(protect, file, folder):
    answer = protect("--apply")
    assert answer["changed"] and reserved() == "49000-65000"
    assert answer["raw"] == file.read_text() and file.read_text().endswith(f"{KEY} = 49000-65000\n")
    assert file.stat().st_mode & 0o7777 == 0o644 and file.stat().st_uid == 0
    assert "0 of 16001" in answer["rows"]["ephemeral ports"]["value"]
    assert os.listdir(folder) == [file.name]


def test_applied_twice_it_changes_nothing_more(protect, file):
    protect("--apply")
    before = file.stat()
    assert not protect("--apply")["changed"]
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_no_connection_and_no_bind_gets_a_port_of_a_protected_pool(protect):
    set_outgoing_ports(40000, 42999)
    pool = range(40000, 41500)
    server = socket.create_server(("127.0.0.1", 0), backlog=64)

    def outgoing(n):
        for _ in range(n):
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.connect(server.getsockname())
                server.accept()[0].close()
                yield client.getsockname()[1]

    def bound(n):
        for kind in (socket.AF_INET, socket.AF_INET6):
            for _ in range(n):
                with socket.socket(kind) as one:
                    one.bind(("", 0))
                    yield one.getsockname()[1]

    with server:
        assert any(port in pool for port in outgoing(200)), "nothing to protect from"
        assert any(port in pool for port in bound(100))
        assert protect("--apply", "--range", "40000-41499")["changed"]
        assert not any(port in pool for port in outgoing(5000))
        assert not any(port in pool for port in bound(2500))


# ---- Whose a reserved port is ---------------------------------------------------------------------------------------


def test_next_grants_from_what_protect_reserved(nextport, protect):
    protect("--apply")
    assert nextport("next").port == 49000
    assert nextport("next", "--range", "50000-50010").port == 50000
    done = nextport("next", "--range", "60000", "-v")
    assert done.port == 60000 and "protected" in done.log
    assert nextport("why", 50001, "-q").status == 0


def test_next_grants_from_a_protected_pool_that_no_file_configures(nextport, protect):
    protect("--apply", "--range", "20000-20099")
    assert nextport("next", "--range", "20000-20099").port == 20000
    assert nextport("next", "--range", "20050-20060").port == 20050


def test_what_others_reserved_is_theirs_before_and_after(nextport, protect):
    RESERVED.write_text("8080,50000-50010\n")
    for action in ((), ("--apply",), ("--apply",), ("--undo",)):
        protect(*action)
        refused = nextport("next", "--range", "50000-50010")
        assert refused.status == FULL and "11 os" in refused.log, (action, refused)
        assert nextport("next", "--range", "50000-50020", "--dry-run").port == 50011
    assert reserved() == "8080,50000-50010"


def test_a_part_of_the_pool_that_somebody_else_reserved_since_is_theirs(nextport, protect):
    protect("--apply")
    RESERVED.write_text("50000-50010\n")
    assert nextport("next", "--range", "50000-50010").status == FULL
    assert protect("--apply")["changed"] and reserved() == "49000-65000"
    assert nextport("next", "--range", "50000-50010").status == FULL
    protect("--undo")
    assert reserved() == "50000-50010"


def test_a_file_that_strangers_may_write_protects_nothing(nextport, protect, file):
    protect("--apply", "--range", "20000-20099")
    file.chmod(0o666)
    assert nextport("next", "--range", "20000-20099").status == FULL


# ---- Undone ---------------------------------------------------------------------------------------------------------


def test_undo_takes_back_what_was_done_and_no_more(protect, file):
    RESERVED.write_text("8080,50000-50010\n")
    protect("--apply")
    RESERVED.write_text("8080,9090,49000-65000\n")  # somebody else came since
    assert protect("--undo")["changed"]
    assert reserved() == "8080,9090,50000-50010" and not file.exists()
    assert not protect("--undo")["changed"] and reserved() == "8080,9090,50000-50010"


def test_undo_without_apply_changes_nothing(protect):
    RESERVED.write_text("49000-65000\n")
    assert not protect("--undo")["changed"] and reserved() == "49000-65000"


def test_another_pool_takes_the_place_of_the_first(protect):
    RESERVED.write_text("8080\n")
    protect("--apply")
    protect("--apply", "--range", "20000-20099")
    assert reserved() == "8080,20000-20099"
    protect("--undo")
    assert reserved() == "8080"


# ---- Other files ----------------------------------------------------------------------------------------------------


def test_what_other_files_reserve_is_kept_for_the_next_start(protect, file, folder):
    (folder / "10-database.conf").write_text(f"# ours\n{KEY} = 7000-7010\n")
    answer = protect("--apply")
    assert file.read_text().endswith(f"{KEY} = 7000-7010,49000-65000\n")
    assert "10-database.conf" not in str(answer["notes"])


def test_a_file_that_is_read_later_is_named_with_what_to_write_into_it(protect, folder):
    (folder / "90-database.conf").write_text(f"{KEY}=7000-7010\n")
    notes = [note["text"] for note in protect("--apply")["notes"] if note["level"] == "warning"]
    assert any("90-database.conf" in text and f"{KEY} = 7000-7010,49000-65000" in text for text in notes), notes
    (folder / "90-database.conf").write_text(f"{KEY}=7000-7010,49000-65000\n")
    assert "90-database.conf" not in str(protect()["notes"])


def test_where_another_file_reserves_the_pool_nothing_is_left_to_do(protect, file, folder):
    (folder / "90-pool.conf").write_text(f"{KEY} = 49000-65000\n")
    RESERVED.write_text("49000-65000\n")
    assert not protect("--apply")["changed"] and not file.exists()
    assert not protect("--undo")["changed"] and reserved() == "49000-65000"


@pytest.mark.parametrize("make", [
    lambda file: file.symlink_to(file.parent / "target"),
    lambda file: file.write_text(f"{KEY} = 80\n"),
    lambda file: file.mkdir(),
    lambda file: file.touch(),
])
def test_what_has_our_name_and_is_not_ours_is_left_alone(nextport, file, make):
    make(file)
    before = file.lstat()
    for action in ("--apply", "--undo"):
        refused = nextport("protect", action)
        assert refused.status == CONFLICT and str(file.name) in refused.log, refused
    assert reserved() == "" and file.lstat().st_ino == before.st_ino
    assert not (file.parent / "target").exists()


def test_a_file_of_ours_that_has_more_than_we_wrote_is_left_alone(nextport, protect, file):
    protect("--apply")
    file.write_text(file.read_text() + "kernel.sysrq = 0\n")
    assert nextport("protect", "--apply").status == CONFLICT
    assert nextport("protect", "--undo").status == CONFLICT
    assert "sysrq" in file.read_text()


# ---- What cannot be -------------------------------------------------------------------------------------------------


def refused_untouched(done, status, file, *words, list_was=""):
    assert done.status == status, done
    for word in words:
        assert word in done.log, done
    assert reserved() == list_was and not file.exists()


def test_a_pool_that_leaves_connections_too_few_ports_is_refused_with_the_number(nextport, file):
    refused = nextport("protect", "--apply", "--range", "33000-65535")
    refused_untouched(refused, FAILED, file, " 232 ", "ip_local_port_range")


def test_a_list_that_the_kernel_would_cut_is_refused_before_anything_is_written(nextport, protect, file):
    many = [str(10001 + 2 * i) for i in range(681)]
    RESERVED.write_text(",".join(many[:681]) + "\n")
    refused = nextport("protect", "--apply")
    refused_untouched(refused, FAILED, file, "4098 bytes", "ip_local_port_range", list_was=",".join(many))
    RESERVED.write_text(",".join(many[:680]) + "\n")
    protect("--apply")
    assert reserved() == ",".join(many[:680]) + ",49000-65000"
    protect("--undo")
    assert reserved() == ",".join(many[:680])


def test_a_kernel_that_may_not_be_told_leaves_no_file(nextport, file):
    refused = nextport("protect", "--apply", env={"MORE": "mount -o bind,ro /proc/sys /proc/sys"})
    refused_untouched(refused, DENIED, file, "ip_local_reserved_ports", "read-only")


def test_a_folder_that_may_not_be_written_leaves_the_list_alone(nextport, file):
    refused = nextport("protect", "--apply", env={"MORE": "mount -o remount,bind,ro /etc/sysctl.d"})
    refused_untouched(refused, DENIED, file, "/etc/sysctl.d", "read-only")


def test_only_root_may_and_everybody_is_shown(nextport, program, file, folder, open_folder):
    copy = open_folder / "nextport"
    wrapper = pathlib.Path(program)
    original = wrapper.read_text().rsplit("' ", 1)[1].split()[0]
    shutil.copy(original, copy)
    wrapper.write_text(wrapper.read_text().replace(original, str(copy)))
    folder.chmod(0o755)
    env = {"AS": f"setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups", "NEXTPORT_CONFIG": None}
    refused_untouched(nextport("protect", "--apply", env=env), DENIED, file, "only root may", "Run as root")
    shown = nextport("protect", "--format", "json", env=env)
    assert shown.status == 0 and "49000-65000" in shown.json["raw"], shown
    assert nextport("protect", "--undo", "--format", "json", env=env).status == 0


def test_a_folder_of_files_has_no_connections(nextport, tmp_path):
    assert nextport("protect", "--root", tmp_path).status == INPUT
