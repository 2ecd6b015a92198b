# SPDX-License-Identifier: MIT
"""Source quadlet: the ports that .container, .pod and .kube files publish are known before there is a container."""
import json
import shutil
import subprocess

import pytest

from test_containers import answering, bindings, engine, inspection, machine  # noqa: F401 (two are fixtures)

ETC = "etc/containers/systemd"


def write(root, files):
    """Texts below [Container]; a file whose text begins with "[" says its section itself, and "->" makes a link."""
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("->"):
            file.symlink_to(text[2:])
        else:
            file.write_text(text if text.startswith("[") else f"[Container]\n{text}\n")


def look(run, *args):
    done = run("used", "--source", "quadlet", "--protocol", "both", "--range", "1-65535", "--format", "json", "--all",
               *args)
    assert done.status == 0, done
    return done.json["claims"], done.json["sources"][0]


def ports(nextport, root):
    claims, _ = look(nextport, "--root", root)
    return {claim["first"]: claim.get("holder") for claim in claims}


def test_a_machine_without_files_of_quadlet_has_none(nextport, tmp_path):
    (tmp_path / "root").mkdir()
    claims, seen = look(nextport, "--root", tmp_path / "root")
    assert claims == [] and seen["sight"] == "absent"


@pytest.mark.parametrize("files, wanted", [
    ({f"{ETC}/shop.container": "PublishPort=8000:80"}, {8000: "systemd-shop"}),
    ({f"{ETC}/shop.container": "ContainerName=blog\nPublishPort=8000:80"}, {8000: "blog"}),
    ({f"{ETC}/shop.pod": "[Pod]\nPublishPort=8000:80\n"}, {8000: "systemd-shop-infra"}),
    ({f"{ETC}/shop.kube": "[Kube]\nYaml=a.yml\nPublishPort=8000:80\n"}, {8000: None}),
    ({f"{ETC}/a/b/shop.container": "PublishPort=8000:80", f"{ETC}/shop.d/no.container": "PublishPort=8001:80",
      f"{ETC}/shop.network": "PublishPort=8002:80"}, {8000: "systemd-shop"}),
    # the folder that counts most
    ({"run/containers/systemd/a.container": "PublishPort=8000:80", f"{ETC}/a.container": "PublishPort=8001:80",
      "usr/share/containers/systemd/a.container": "PublishPort=8002:80",
      "usr/share/containers/systemd/b.container": "PublishPort=8003:80"}, {8000: "systemd-a", 8003: "systemd-b"}),
    # drop-ins, wherever they lie, in the order of their names
    ({f"{ETC}/shop-a.container": "PublishPort=8000:80", f"{ETC}/shop-a.container.d/20.conf": "PublishPort=8001:80",
      "usr/share/containers/systemd/shop-.container.d/10.conf": "PublishPort=",
      "run/containers/systemd/container.d/30.conf": "PublishPort=8002:80",
      f"{ETC}/shop-a.container.d/40.txt": "PublishPort=8003:80"}, {8001: "systemd-shop-a", 8002: "systemd-shop-a"}),
    # those of templates by the beginning of their names
    ({f"{ETC}/shop-a@.container": "PublishPort=8000:80\n[Install]\nDefaultInstance=x",
      f"{ETC}/shop-@.container.d/10.conf": "PublishPort=8001:80", f"{ETC}/shop-.container.d/10.conf": "PublishPort=8002:80",
      f"{ETC}/shop-@x.container.d/20.conf": "PublishPort=8003:80"}, {8000: "systemd-shop-a_x", 8001: "systemd-shop-a_x"}),
    # users' files: an administrator's for all and for some, and their own
    ({f"{ETC}/users/a.container": "PublishPort=8000:80", f"{ETC}/users/1000/b.container": "PublishPort=8001:80",
      f"{ETC}/users/group/c.container": "PublishPort=8002:80",
      f"{ETC}/users/container.d/more.conf": "PublishPort=8009:80",
      "root/.config/containers/systemd/x/d.container": "PublishPort=8003:80",
      "home/alice/.config/containers/systemd/e.container": "PublishPort=8004:80"},
     {8000: "systemd-a", 8001: "systemd-b", 8002: "systemd-c", 8003: "systemd-d", 8009: "several"}),
    # a template's default instance, and one that nobody is known to start
    ({f"{ETC}/a@.container": "PublishPort=80%i:80\n[Install]\nDefaultInstance=20",
      f"{ETC}/b@.container": "PublishPort=8000:80\nPublishPort=%i:81"}, {8020: "systemd-a_20", 8000: None, None: None}),
])
def test_where_files_lie_and_what_they_publish(nextport, tmp_path, files, wanted):
    write(tmp_path / "root", files)
    found = ports(nextport, tmp_path / "root")
    assert {port: "several" if wanted.get(port) == "several" else holder for port, holder in found.items()} == wanted


@pytest.mark.parametrize("args, wanted", [
    ("-dp 8000:80", [8000]), ("-tip 8000:80", [8000]), ("-itdp8000:80", [8000]), ("-itp=8000:80", [8000]),
    ("-p 8000:80 -p8001:81 -p=8002:82", [8000, 8001, 8002]), ("-Pp 8000:80", [None, 8000]), ("-diP", [None]),
    ("-P=false", []), ("--publish-all", [None]), ("-itm 100m -qp 8000:80", [8000]),
    ("-v /p:/p -hp --pid host -e P=-p", []), ("-dp", []), ("-", []), ("-itv /a:/b p 8000:80", []),
])
def test_letters_of_podmans_options_may_stand_together(nextport, tmp_path, args, wanted):
    """As 'podman create' takes them; -d is of 'podman run', by which the services start."""
    write(tmp_path / "root", {f"{ETC}/shop.container": f"PodmanArgs={args}"})
    claims, _ = look(nextport, "--root", tmp_path / "root")
    assert sorted((claim["first"] for claim in claims), key=str) == sorted(wanted, key=str)


@pytest.mark.linux("makes links")
def test_links_make_instances_and_masks(nextport, tmp_path):
    write(tmp_path / "root", {
        f"{ETC}/a@.container": "PublishPort=80%i:80", f"{ETC}/a@10.container": "->a@.container",
        f"{ETC}/a@11.container": "->a@.container", f"{ETC}/a@11.container.d/x.conf": "PublishPort=9011:80",
        f"{ETC}/m.container": "->/dev/null", "usr/share/containers/systemd/m.container": "PublishPort=8000:80",
        "srv/quadlets/far.container": "PublishPort=8001:80", f"{ETC}/more": "->/srv/quadlets",
        f"{ETC}/loop": f"->/{ETC}"})
    assert ports(nextport, tmp_path / "root") == {8010: "systemd-a_10", 8011: "systemd-a_11", 9011: "systemd-a_11",
                                                 8001: "systemd-far"}


def test_a_given_file_is_read_beside_those_that_are_found(nextport, tmp_path):
    write(tmp_path, {"shop.container": "PublishPort=49000:80", "conf": f"[quadlet]\nfiles = {tmp_path}/more/*\n",
                     "more/a.pod": "[Pod]\nPublishPort=49001:80\n"})
    given = nextport("next", "--quadlet-config", tmp_path / "shop.container", "--config", tmp_path / "conf")
    assert given.port == 49002 and "quadlet: systemd-shop" in given.log, given
    assert nextport("next", "--quadlet-config", tmp_path / "none.container").status == 4


def test_a_port_that_is_not_known_is_said_and_none_is_made_of_it(nextport, tmp_path):
    file = tmp_path / "shop.container"
    file.write_text("[Container]\nPublishPort=${PORT}:80\nPublishPort=49000:81\n")
    done = nextport("next", "--quadlet-config", file)
    assert done.port == 49001 and f"{file}:2:1" in done.log
    assert nextport("next", "--strict", "--quadlet-config", file).status == 4


@pytest.mark.parametrize("text, words", [("Network=host\nPublishPort=49000:80", "shares a network"),
                                         ("Pod=a.pod\nPublishPort=49000:80", "a container in a pod"),
                                         ("\nPublishPort=49000-49001:80", "its ranges differ in length")])
def test_what_podman_does_not_publish_is_said_and_not_claimed(nextport, tmp_path, text, words):
    file = tmp_path / "shop.container"
    file.write_text(f"[Container]\n{text}\n")
    done = nextport("next", "--quadlet-config", file)
    assert done.port == 49000 and words in done.log and f"{file}:3:1" in done.log


@pytest.mark.linux("only here a folder's names tell what they are of")
def test_what_cannot_be_read_is_said(nextport, tmp_path):
    for folder in (ETC, "root/.config/containers/systemd"):
        root = tmp_path / folder.replace("/", "-")
        write(root, {f"{folder}/b.container": "PublishPort=49000:80", f"{folder}/a.container/x.container": "x"})
        with open(root / folder / "big.pod", "wb") as file:
            file.truncate(8 * 1024 * 1024 + 1)
        claims, seen = look(nextport, "--root", root)
        assert [claim["first"] for claim in claims] == [49000]
        assert seen["sight"] == "partial" and "big.pod: larger than" in seen["why"], seen
        assert nextport("used", "--source", "quadlet", "--root", root, "--strict").status == 4


def test_adopt_names_the_project_after_what_a_person_named(nextport, tmp_path):
    write(tmp_path, {"shop.container": "PublishPort=49000:80", "blog.pod": "[Pod]\nPublishPort=49001:80\n",
                     "own.container": "ContainerName=mine\nPublishPort=49002:80",
                     "kube.kube": "[Kube]\nPublishPort=49003:80\n"})
    (tmp_path / "conf").write_text(f"[quadlet]\nfiles = {tmp_path}/*.*\n")
    config = ("--config", tmp_path / "conf")
    assert nextport("adopt", "--apply", *config).status == 0
    assert nextport("leases", "--format", "json").json["leases"] == []
    assert nextport("adopt", "--apply", "--source", "quadlet", *config).status == 0
    leases = nextport("leases", "--format", "json").json["leases"]
    assert [(lease["port"], lease["owner"], lease["holder"]) for lease in leases] == [
        (49000, "shop", "quadlet: systemd-shop"), (49001, "blog", "quadlet: systemd-blog-infra"),
        (49002, "mine", "quadlet: mine")]


@pytest.mark.linux("puts folders in the machine's places")
def test_a_lease_sees_no_stranger_when_the_container_is_made_and_removed(machine, engine, tmp_path):
    file = tmp_path / "shop.container"
    file.write_text("[Container]\nPublishPort=49000:80\n")
    declared = ("--quadlet-config", file)
    asked = ("next", "--project", "shop", "--no-move")
    assert machine("adopt", "--apply", "--source", "quadlet", *declared).status == 0
    double = engine(answering({"a1": inspection("systemd-shop", bindings(49000))}), "podman/podman.sock")
    (machine.lib / "containers/storage").mkdir(parents=True)
    (machine.lib / "containers/storage/db.sql").touch()
    for args in (declared, ()):  # the file beside the container, and the container alone
        done = machine(*asked, *args)
        assert done.status == 0 and done.port == 49000, done
        assert machine("check", *args).status == 0
    assert double.asked
    shutil.rmtree(machine.lib / "containers")
    done = machine(*asked, *declared)
    assert done.status == 0 and done.port == 49000, done


@pytest.mark.linux("puts folders in the machine's places")
def test_root_takes_nothing_from_a_users_home(machine):
    """Else a user could take the pool, confirm or stop anybody's leases, and have root open what no one may."""
    shared = {".config/containers/systemd/loop": "->loop", ".config/systemd/user/loop.wants": "->loop.wants"}
    write(machine.home / "alice", {
        ".config/containers/systemd/a.container": "PublishPort=49000-49999:80-1079",
        ".config/systemd/user/a.socket": "[Socket]\nListenStream=49001\n",
        ".config/systemd/user/a.service": "[Service]\nEnvironmentFile=/dev/watchdog\nEnvironment=PORT=49002\n", **shared})
    done = machine("next", env={"HOME": "/home/alice"})
    assert done.port == 49000 and "alice" not in done.log, done


@pytest.mark.linux("as another user")
def test_a_users_own_home_is_read_with_that_users_rights(as_nobody, open_folder):
    write(open_folder, {".config/containers/systemd/a.container": "PublishPort=49000:80",
                        ".config/systemd/user/a.service": "[Service]\nEnvironment=PORT=49001\n"})
    done = as_nobody("next", "--user", "--dry-run")
    assert done.port == 49002 and "quadlet: systemd-a" in done.log and "systemd: a.service" in done.log, done


@pytest.mark.linux("takes rights away")
def test_the_folder_in_run_that_podman_keeps_to_itself_is_no_gap(machine):
    write(machine.run, {"containers/systemd/a.container": "PublishPort=49000:80"})
    (machine.run / "containers").chmod(0o700)
    machine.run.chmod(0o755)
    assert machine("next").port == 49001
    plain = {"NEXTPORT_CONFIG": None, "NEXTPORT_LEDGER": None, "HOME": "/nowhere"}
    done = machine("used", "--source", "quadlet", "--format", "json", "--verbose", user=65534, env=plain)
    (seen,) = done.json["sources"]
    assert seen["sight"] == "absent" and "/run/containers/systemd: permission denied" in str(done.json["notes"]), done


@pytest.mark.linux("makes links")
def test_an_odd_folder_is_a_gap_and_the_others_are_read(nextport, tmp_path):
    write(tmp_path / "root", {f"{ETC}/a.container": "PublishPort=49000:80", f"{ETC}/loop": "->loop",
                              f"{ETC}/b.container.d": "->b.container.d", f"{ETC}/b.container": "PublishPort=49001:80"})
    done = nextport("next", "--dry-run", "--root", tmp_path / "root")
    assert done.port == 49002 and f"{ETC}/loop" in done.log, done
    assert nextport("next", "--dry-run", "--strict", "--root", tmp_path / "root").status == 4


def test_too_many_folders_are_a_gap(nextport, tmp_path):
    write(tmp_path / "root", {f"{ETC}/{i:02}/{i:02}.container": f"PublishPort={49000 + i}:80" for i in range(70)})
    done = nextport("next", "--dry-run", "--root", tmp_path / "root")
    assert done.port == 49063 and "more than 64 folders" in done.log, done


@pytest.mark.parametrize("below_one", [64, 40])
def test_everybodys_folders_that_find_no_room_beside_a_users_are_said(nextport, tmp_path, below_one):
    users, root = f"{ETC}/users", tmp_path / "root"
    write(root, {f"{users}/1000/{i:02}/u{i:02}.container": f"PublishPort={8000 + i}:80" for i in range(below_one - 1)})
    write(root, {f"{users}/1000/z.container": "PublishPort=8100:80", f"{users}/container.d/a.conf": "PublishPort=8101:80"})
    write(root, {f"{users}/all{i:02}/a{i:02}.container": f"PublishPort={8200 + i}:80" for i in range(20)})
    _, seen = look(nextport, "--root", root)
    assert seen["sight"] == ("partial" if below_one == 64 else "seen"), seen


# What Podman itself makes of a value: "podman create --publish" is what the services of Quadlet come to.
TAKEN = ["8000:80", "127.0.0.1:8001:80", "[::1]:8002:80", "8003-8005:80-82", "8006:80/udp", "8007:80/TCP",
         "8008:80/sctp", "0.0.0.0:8009:80", "[::]:8010:80", '"8011:80"', "08012:80", "8013:80,8014:81/udp",
         '"8015:80","8016:81"', "[127.0.0.1]:8017:80", "+8018:80", "8019:+80", "+8020-+8021:+81-82"]
REFUSED = ["::80", "8000-8002:80", "8000:80-82", "8000:80/", "8000:80/xyz", "0:80", "::1:8000:80", "*:8000:80",
           "localhost:8000:80", " 8000:80", "8000:80/tcp/udp", "[::1]:80", "65536:80", "8000:0", "-1:80",
           "8002-8000:80-82", "8000-8001-8002:80-82", ":", "[::1:8000:80", "++8000:80", "+:80", "-8000:80", "+0:80",
           "8000:80/+tcp", "+ 8000:80"]


@pytest.mark.linux("Podman")
@pytest.mark.skipif(not (shutil.which("podman") and shutil.which("busybox")), reason="podman or busybox is missing")
def test_what_is_claimed_is_what_podman_would_publish(machine, tmp_path):
    rootfs = tmp_path / "rootfs"
    (rootfs / "bin").mkdir(parents=True)
    shutil.copy(shutil.which("busybox"), rootfs / "bin")

    def podman(*args):
        words = ["podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "file"]
        return subprocess.run([*words, *args], preexec_fn=machine.enter(), timeout=60, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)

    def create(name, *values):
        return podman("create", "--name", name, *(f"--publish={value}" for value in values), "--rootfs", str(rootfs),
                      "/bin/busybox", "true")
    made = create("all", *TAKEN)
    if made.returncode != 0:
        pytest.skip(f"podman cannot make a container here: {made.stderr[-300:]}")
    (shown,) = json.loads(podman("inspect", "all").stdout)
    published = {(inside.split("/")[1], int(binding["HostPort"]), binding["HostIp"])
                 for inside, list_ in shown["HostConfig"]["PortBindings"].items() for binding in list_
                 if not inside.endswith("/sctp")}
    write(tmp_path, {"all.container": "\n".join(f"PublishPort={value}" for value in TAKEN)})
    claims, seen = look(machine, "--quadlet-config", tmp_path / "all.container")
    claimed = {(claim["protocol"], port, claim["address"].strip("*[]"))
               for claim in claims for port in range(claim["first"], claim["last"] + 1)}
    assert claimed == published and seen["sight"] == "seen"
    for value in REFUSED:
        if not value.startswith(" "):  # a unit's value has no blank before it
            write(tmp_path, {"one.container": f"PublishPort={value}"})
            assert look(machine, "--quadlet-config", tmp_path / "one.container")[0] == [], value
        assert create("one", value).returncode != 0, value
    assert json.loads(podman("inspect", "all").stdout)
    for network in ("host", "none", "container:all"):
        assert podman("create", "--name", "sharing", "--replace", "--network", network, "--publish=8000:80", "--rootfs",
                      str(rootfs), "/bin/busybox").returncode == 0
        (shown,) = json.loads(podman("inspect", "sharing").stdout)
        assert shown["HostConfig"]["PortBindings"] == {}, network
