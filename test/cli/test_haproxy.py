# SPDX-License-Identifier: MIT
"""Source haproxy: what it claims is what the real HAProxy binds, and it is claimed while HAProxy does not run."""
import contextlib
import os
import shutil
import socket
import subprocess
import time

import pytest

HAPROXY = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
pytestmark = pytest.mark.linux("HAProxy does not run on Windows")
DEFAULTS = "defaults\n mode tcp\n timeout client 1s\n timeout server 1s\n timeout connect 1s\n"
HERE = socket.gethostname()

# name: (configuration, options, ports that only the file has)
CONFIGS = {
    "one": ("frontend a\n bind :8000\n", [], set()),
    "star": ("frontend a\n bind *:8000\n", [], set()),
    "address": ("frontend a\n bind 127.0.0.1:8000\n bind 127.0.0.1:08001\n", [], set()),
    "list": ("frontend a\n bind :8000,127.0.0.1:8001,\n", [], set()),
    "range": ("frontend a\n bind :8000-8010,:9000-9199\n", [], set()),
    "six": ("frontend a\n bind :::8500\n bind [::1]:8601\n bind ipv6@:8602 v6only\n bind ipv6@*:8603\n", [], set()),
    "prefixes": ("frontend a\n bind ipv4@:8000\n bind tcp@:8001\n bind tcp4@:8002\n bind stream+ipv4@:8003\n", [],
                 set()),
    "name": ("frontend a\n bind localhost:8000\n", [], set()),
    "unix": ("frontend a\n bind unix@{tmp}/a.sock\n bind {tmp}/b.sock,:8000\n bind abns@a\n", [], set()),
    "listen": ("listen a\n bind :8000\n server s 127.0.0.1:9999\n", [], set()),
    "backend": ("backend a\n bind :8000\n source 127.0.0.1:9000\n server s 127.0.0.1:9999\n", [], set()),
    "setenv": ("global\n setenv P 8000\nfrontend a\n bind \":${{P}}\"\n bind \":${{Q-8001}}\"\n", [], set()),
    "presetenv": ("global\n presetenv P 8000\nfrontend a\n bind \":$P\"\n", [], set()),
    "unquoted": ("global\n setenv P 8000\nfrontend a\n bind :${{P}}\n bind 127.0.0.2:$P\n", [], set()),
    "words": ("global\n setenv P \":8000 name x\"\nfrontend a\n bind \"${{P[*]}}\"\n", [], set()),
    "quotes": ("frontend a\n bind ':8000' #:8001\n bind :\"8002\"\n bind \\x3a8003\n # bind :8004\n", [], set()),
    "digits": ("frontend a\n bind :8000abc\n", [], set()),
    "numbers": ("frontend a\n bind :8000-+8001,\":8010- 8012\"\n bind :4294975316\n bind :8030-4294975327\n", [], set()),
    "unquoted default": ("global\n setenv P 8000\nfrontend a\n bind :${{P-8003}},:8010$\n bind 127.0.0.2:${{P-8004}}-8009\n"
                         " bind 127.0.0.3:${{P\n", [], set()),
    "keyword": ("global\n setenv B bind\n setenv S frontend\n.if feature(QUIC)\n setenv C bind\n.else\n"
                " setenv C id\n.endif\n"
                "\"$S\" a\n \"$B\" :8000\n \"$C\" 8001\n bind :8002\n", [], set()),
    "stats": ("global\n stats socket ipv4@127.0.0.1:9600 level admin\n stats socket {tmp}/s\nfrontend a\n bind :1\n",
              [], set()),
    "peers": ("global\n localpeer x\npeers a\n peer x 127.0.0.1:8000\n peer y 127.0.0.1:8001\nfrontend a\n bind :1\n",
              [], set()),
    "peers bind": ("global\n localpeer x\npeers a\n bind :8000\n server x\n server y 127.0.0.1:8001\n"
                   "frontend a\n bind :1\n", [], set()),
    "peers of the host": (f"peers a\n peer {HERE} 127.0.0.1:8000\n peer y{HERE} 127.0.0.1:8001\nfrontend a\n bind :1\n",
                          [], set()),
    "peers without us": ("peers a\n bind :8000\n server nobody\nfrontend a\n bind :1\n", [], {("tcp", 8000)}),
    "peers disabled": ("global\n localpeer x\npeers a\n disabled\n peer x 127.0.0.1:8000\nfrontend a\n bind :1\n", [],
                       set()),
    "log-forward": ("log-forward a\n bind :8000\n dgram-bind 127.0.0.1:8001\n log 127.0.0.1:514 local0\n", [], set()),
    "disabled": ("listen a\n bind :8000\n disabled\nlisten b\n bind :8001\n", [], set()),
    "disabled defaults": ("defaults\n disabled\nfrontend a\n bind :8000\nfrontend b\n enabled\n bind :8001\n", [],
                          set()),
    "from": ("defaults off\n disabled\ndefaults on\n mode tcp\n timeout client 1s\nfrontend a from off\n bind :8000\n"
             "frontend b\n bind :8001\n", [], set()),
    "if": ("global\n setenv A b\n.if defined(A) && streq(\"$A\",b)\n setenv P 8000\n.else\n setenv P 8001\n.endif\n"
           "frontend a\n bind \":$P\"\n"
           ".if !defined(A)\n bind :8002\n.elif 0\n bind :8003\n.else\n bind :8004\n.endif\n",
           [], set()),
    "if blanks": ("global\n setenv E prod\n.if streq(\"$E\", prod)\n setenv A 8000\n.else\n setenv A 8001\n.endif\n"
                  ".if strneq(a, a)\n setenv B 8002\n.else\n setenv B 8003\n.endif\n"
                  ".if ! streq( a , a ) && 1 && !streq(a,a\\ )\n setenv C 8004\n.else\n setenv C 8005\n.endif\n"
                  "frontend a\n bind \":$A\"\n bind \":$B\"\n bind \":$C\"\n", [], set()),
    "if quotes": ("frontend a\n.if streq('\"a\"',a)\n bind :8000\n.else\n bind :8001\n.endif\n", [], {("tcp", 8001)}),
    "if defined blanks": ("global\n setenv E prod\nfrontend a\n.if !defined( E )\n bind :8000\n.else\n"
                          " bind :8001\n.endif\n", [], {("tcp", 8001)}),
    "address unknown": ("frontend a\n bind \"${{NOWHERE}}:8000\"\n bind :8001,\"${{NOWHERE}}:8002\"\n"
                        " bind ${{NOWHERE}}:8003\n", [], set()),
    "unknown behind a port": ("frontend a\n bind \":8000$NOWHERE\"\n bind :8001-8003$NOWHERE,:8004\n", [], set()),
    "if set, then preset": ("global\n.if feature(QUIC)\n setenv P 8001\n.endif\n presetenv P 8000\n"
                            "frontend a\n bind \":$P\"\n", [], {("tcp", 8001)}),
    "if set, then default": ("global\n.if feature(QUIC)\n setenv P 8001\n.endif\nfrontend a\n bind \":${{P-8000}},:8002\"\n",
                             [], {("tcp", 8001)}),
    "if unset": ("global\n setenv P 8001\n.if feature(QUIC)\n unsetenv P\n.endif\nfrontend a\n bind \":${{P-8000}}\"\n", [],
                 {("tcp", 8000)}),
    "if section": ("frontend a\n bind :8000\n disabled\n.if feature(QUIC)\nfrontend b\n.endif\n bind :8001\n enabled\n",
                   [], set()),
    "if section begun": ("frontend a\n bind :8000\n disabled\n.if feature(OPENSSL)\nfrontend b\n.endif\n bind :8001\n"
                         " enabled\n", [], {("tcp", 8000)}),
    "if another section": ("frontend a\n.if feature(QUIC)\nglobal\n.endif\n bind :8001\n", [], set()),
    "if no more of a section": ("frontend a\n bind :8000\n.if feature(OPENSSL)\nglobal\n.endif\n setenv P 8001\n"
                                "frontend b\n bind \":$P\"\n", [], set()),
    "if other defaults": ("defaults\n disabled\n.if feature(QUIC)\ndefaults\n.endif\n enabled\nfrontend a\n bind :8000\n",
                          [], set()),
    "if from": ("global\n.if feature(QUIC)\n setenv D off\n.else\n setenv D on\n.endif\ndefaults off\n disabled\n"
                "defaults on\n mode tcp\n timeout client 1s\nfrontend a from \"$D\"\n bind :8000\n", [], set()),
    "if not from": ("global\n.if feature(OPENSSL)\n setenv D on\n.else\n setenv D off\n.endif\ndefaults off\n disabled\n"
                    "defaults on\n mode tcp\n timeout client 1s\nfrontend a from \"$D\"\n bind :8000\n", [], set()),
    "peers by -L": ("peers a\n peer x 127.0.0.1:8000\n peer y 127.0.0.1:8001\nfrontend a\n bind :1\n", ["-L", "x"],
                    {("tcp", 8001)}),
    "peers by -L bind": ("peers a\n bind 127.0.0.1:8000\n server x\n server y 127.0.0.1:8001\nfrontend a\n bind :1\n",
                         ["-L", "x"], {("tcp", 8001)}),
    "if reset": ("global\n setenv P 8001\n setenv Q 8002\n.if feature(QUIC)\n resetenv Q\n.endif\nfrontend a\n"
                 " bind \":${{P-8000}}\"\n bind \":$Q\"\n", [], {("tcp", 8000)}),
    "if preset twice": ("global\n.if feature(QUIC)\n presetenv P 8001\n.endif\n.if version_atleast(2.0)\n presetenv P 8000\n"
                        ".endif\nfrontend a\n bind :$P\n", [], {("tcp", 8001)}),
    "if copied": ("global\n setenv P 800\n.if feature(QUIC)\n setenv P 801\n.endif\n setenv P \"${{P}}1\"\n"
                  " presetenv Q \"1$P\"\nfrontend a\n bind \":$P\"\n bind \":$Q\"\n", [], {("tcp", 8011), ("tcp", 18011)}),
    "if unknown": ("frontend a\n bind :8000\n.if version_atleast(99.0)\n bind :8001\n.else\n bind :8002\n.endif\n"
                   ".if feature(EPOLL)\n bind :8003\n.endif\n", [], {("tcp", 8001)}),
    "decoys": ("resolvers r\n nameserver n 127.0.0.1:53\n"
               "ring r\n timeout connect 1s\n timeout server 1s\n server s 127.0.0.1:6514\n"
               "backend b\n server s 127.0.0.1:9000 source 127.0.0.1:10000-10009\n"
               "frontend a\n bind :8000\n", [], set()),
}


@contextlib.contextmanager
def running(file, options):
    child = subprocess.Popen([HAPROXY, "-db", "-f", str(file), *options], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def ports(nextport, source, *options):
    done = nextport("used", "--source", source, "--protocol", "both", "--range", "1-65535", "--format", "json", "--all",
                    *options)
    assert done.status == 0, done
    return {(row["protocol"], port) for row in done.json["claims"] if row["first"]
            for port in range(row["first"], row["last"] + 1)}


@pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_claimed_is_what_haproxy_binds(nextport, tmp_path, name):
    text, options, only_in_the_file = CONFIGS[name]
    file = tmp_path / "haproxy.cfg"
    file.write_text(DEFAULTS + text.replace("{tmp}", str(tmp_path)).replace("{{", "{").replace("}}", "}"))
    claimed = ports(nextport, "haproxy", "--haproxy-config", file)
    wanted = claimed - only_in_the_file
    with running(file, options) as child:
        end = time.monotonic() + 20
        while (bound := ports(nextport, "sockets")) != wanted and time.monotonic() < end:
            assert child.poll() is None, child.stdout.read()
        assert child.poll() is None, child.stdout.read()
    assert bound == wanted and only_in_the_file <= claimed


def test_next_avoids_what_a_haproxy_that_does_not_run_would_bind(nextport, tmp_path):
    file = tmp_path / "haproxy.cfg"
    file.write_text("frontend shop\n bind :49000-49002\n.if feature(QUIC)\n bind :49003\n.endif\n")
    given = nextport("next", "--haproxy-config", file)
    assert given.port == 49004 and "haproxy: frontend shop" in given.log


def test_adopt_leases_to_the_section(nextport, tmp_path):
    conf, file = tmp_path / "nextport.conf", tmp_path / "haproxy.cfg"
    file.write_text("frontend shop\n bind :49000\n")
    conf.write_text(f"[haproxy]\nfiles = {file}\n")
    assert nextport("adopt", "--apply").status == 0
    lease, = nextport("leases", "--format", "json").json["leases"]
    assert (lease["port"], lease["owner"], lease["holder"]) == (49000, "shop", "haproxy: frontend shop")


def write(root, files):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


@pytest.mark.parametrize("files, wanted", [
    ({"etc/haproxy/haproxy.cfg": "frontend a\n bind :8000\n"}, {8000}),
    ({"etc/default/haproxy": "CONFIG=\"/srv/h.cfg\"\n", "srv/h.cfg": "frontend a\n bind :8001\n"}, {8001}),
    ({"etc/default/haproxy": "P=8002\n", "etc/haproxy/haproxy.cfg": "frontend a\n bind \":${P}\"\n"}, {8002}),
    ({"etc/default/haproxy": "EXTRAOPTS=\"-f /etc/haproxy/sites -S 127.0.0.1:8007\"\n",
      "etc/haproxy/haproxy.cfg": "global\n setenv P 8003\n",
      "etc/haproxy/sites/b.cfg": "frontend b\n bind :8005\n", "etc/haproxy/sites/a.cfg": "frontend a\n bind :\"$P\"\n",
      "etc/haproxy/sites/c.txt": "frontend c\n bind :8006\n"}, {8003, 8005, 8007}),
    ({"lib/systemd/system/haproxy.service": "[Service]\nEnvironment=\"CONFIG=/etc/haproxy/haproxy.cfg\" \"P=8010\"\n"
      "ExecStart=/usr/sbin/haproxy -Ws -f $CONFIG \\\n -f /etc/haproxy/conf.d -L me\n",
      "etc/haproxy/haproxy.cfg": "frontend a\n bind \":$P\"\n",
      "etc/haproxy/conf.d/p.cfg": "peers p\n peer me :8011\n peer you :8012\n"}, {8010, 8011}),
    ({"etc/haproxy/haproxy.cfg": "frontend a\n bind :8000\n", "etc/haproxy/conf.d/b.cfg": "frontend b\n bind :8001\n"},
     {8000, 8001}),
    # services beside the package's own: whatever they are called, and in whatever folder HAProxy lies
    ({"etc/systemd/system/lb.service": "[Service]\nEnvironmentFile=/etc/lb.env\nExecStart=@/opt/bin/haproxy lb -Ws "
      "-f /srv/lb.cfg -f /srv/lb.d -S 127.0.0.1:8023 $MORE -p /run/%p.pid\n", "etc/lb.env": "P=8020\nMORE=-L me\n",
      "srv/lb.cfg": "frontend a\n bind \":${P}\"\npeers p\n peer me :8021\n peer you :8022\n",
      "srv/lb.d/b.cfg": "frontend b\n bind :8024\n"}, {8020, 8021, 8023, 8024}),
    ({"lib/systemd/system/haproxy@.service": "[Service]\nEnvironment=CONFIG=/etc/haproxy/%i.cfg P=80%i\n"
      "ExecStartPre=/usr/sbin/haproxy -c -f /srv/check.cfg\nExecStart=/usr/sbin/haproxy -Ws -f ${CONFIG}\n",
      "etc/systemd/system/multi-user.target.wants/haproxy@30.service": "",
      "etc/systemd/system/haproxy@31.service.d/x.conf": "",
      "etc/systemd/system/other.target.requires/haproxy@32.service": "",
      "etc/haproxy/30.cfg": "frontend a\n bind \":${P}\"\n", "etc/haproxy/31.cfg": "frontend a\n bind :8099\n",
      "etc/haproxy/32.cfg": "frontend a\n bind \"127.0.0.1:$P\"\n", "srv/check.cfg": "frontend a\n bind :8098\n"},
     {8030, 8032}),
    ({"etc/systemd/system/a.service": "[Service]\nExecStart=/usr/bin/other -f /srv/a.cfg\n",
      "etc/systemd/system/b.service": "[Service]\nExecStart=/usr/sbin/haproxy -f /srv/a.cfg\nExecStart=\n"
      "ExecStart=-/usr/sbin/haproxy -f /srv/b.cfg\n", "srv/a.cfg": "frontend a\n bind :8040\n",
      "usr/lib/systemd/system/c.service": "[Service]\nExecStart=/usr/sbin/haproxy -f /srv/a.cfg\n",
      "run/systemd/generator.late/haproxy.service": "[Service]\nExecStart=/etc/init.d/haproxy start\n",
      "etc/haproxy/haproxy.cfg": "frontend c\n bind :8042\n", "srv/b.cfg": "frontend b\n bind :8041\n"}, {8041, 8042}),
])
def test_the_files_of_the_service_say_what_is_read(nextport, tmp_path, files, wanted):
    root = tmp_path / "root"
    write(root, files)
    assert {port for _, port in ports(nextport, "haproxy", "--root", root)} == wanted


def test_a_folder_in_a_folder_of_files_is_skipped_whatever_its_name(nextport, tmp_path):
    root = tmp_path / "root"
    write(root, {"etc/default/haproxy": "EXTRAOPTS=\"-f /etc/haproxy/sites\"\n", "etc/haproxy/haproxy.cfg": "global\n",
                 "etc/haproxy/sites/a.cfg": "frontend a\n bind :8000\n", "etc/haproxy/sites/sub.cfg/b.cfg": "nothing\n"})
    done = nextport("used", "--source", "haproxy", "--format", "json", "--range", "1-65535",
                    "--root", root)
    assert [claim["first"] for claim in done.json["claims"]] == [8000] and done.json["sources"][0]["sight"] == "seen", done


def test_a_file_of_another_service_is_read_with_its_variables_when_it_is_given(nextport, tmp_path):
    root = tmp_path / "root"
    write(root, {"etc/systemd/system/lb.service": "[Service]\nEnvironment=P=49000\n"
                 "ExecStart=/usr/sbin/haproxy -f /srv/lb.cfg\n",
                 "srv/lb.cfg": "frontend a\n bind \":${P}\"\n"})
    (tmp_path / "lb.cfg").write_text("frontend b\n bind \":${P-49001}\"\n")
    done = nextport("used", "--source", "haproxy", "--format", "json", "--root", root, "--haproxy-config", tmp_path / "lb.cfg")
    assert [(claim["first"], claim["certainty"], claim["holder"]) for claim in done.json["claims"]] == [
        (49000, "declared", "frontend a"), (49001, "conditional", "frontend b")]


def test_a_service_whose_file_is_missing_is_said(nextport, tmp_path):
    root = tmp_path / "root"
    write(root, {"etc/systemd/system/lb.service": "[Service]\nExecStart=/usr/sbin/haproxy -f /srv/lb.cfg -f more.cfg\n"})
    done = nextport("used", "--source", "haproxy", "--format", "json", "--root", root)
    assert done.status == 0 and done.json["sources"][0]["sight"] == "seen"
    assert "lb.service:2:1: " in done.log and "lb.cfg: no such file" in done.log and "more.cfg" in done.log, done


def test_a_variable_that_nothing_sets_is_said_and_no_port_is_made_of_it(nextport, tmp_path):
    file = tmp_path / "haproxy.cfg"
    file.write_text("frontend shop\n bind \":${PORT}\"\n bind :49000\n")
    done = nextport("next", "--haproxy-config", file)
    assert done.port == 49001 and f"{file}:2:7" in done.log
    assert nextport("next", "--strict", "--haproxy-config", file).status == 4


def test_a_keyword_that_is_not_known_is_a_gap_and_the_port_behind_it_is_avoided(nextport, tmp_path):
    file = tmp_path / "haproxy.cfg"
    file.write_text("frontend shop\n \"${BIND}\" :49000\n bind :49001\n")
    done = nextport("used", "--source", "haproxy", "--format", "json", "--haproxy-config", file)
    (sighting,) = done.json["sources"]
    assert sighting["sight"] == "partial" and f"{file}:2:2" in sighting["why"], done
    assert [(claim["first"], claim["certainty"]) for claim in done.json["claims"]] == [
        (49000, "conditional"), (49001, "declared")]


@pytest.mark.parametrize("text, words", [
    (b"\x7fELF\0\1\2", "NUL"),
    (b"worker_processes 1;\n", "in no section"),
    (b"frontend a\n bind :80", "cut off"),
    (b"frontend a\n.if defined(A)\n bind :80\n", ".if without .endif"),
])
def test_what_is_no_configuration_stops_the_answer(nextport, tmp_path, text, words):
    file = tmp_path / "haproxy.cfg"
    file.write_bytes(text)
    done = nextport("next", "--haproxy-config", file)
    assert done.status == 4 and words in done.log and str(file) in done.log, done


@pytest.mark.parametrize("address", [":0", ":65536", ":-1", ":+8000", ":8000-", ":8000--8001", ":4294967296", ":18446744073709559616",
                                     ":http", ":9000-8000", "127.0.0.1", "8000", ":"])
def test_an_address_that_haproxy_refuses_is_named_by_file_and_line(nextport, tmp_path, address):
    file = tmp_path / "haproxy.cfg"
    file.write_text(f"frontend a\n bind {address}\n bind :49000\n")
    done = nextport("next", "--haproxy-config", file)
    assert done.port == 49001 and f"{file}:2:7" in done.log, done


def test_a_line_of_a_megabyte_and_100000_ports_are_read(nextport, tmp_path):
    file = tmp_path / "haproxy.cfg"
    file.write_text("frontend a\n bind " + ",".join(f":{49000 + i % 100}" for i in range(150000)) + "\n"
                    + "".join(f" bind :{50000 + i % 1000}\n" for i in range(100000)))
    assert nextport("next", "--haproxy-config", file).port == 49100


def test_links_that_go_in_a_circle_and_quotes_without_end_are_said(nextport, tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert nextport("next", "--haproxy-config", tmp_path / "a").status == 4
    file = tmp_path / "haproxy.cfg"
    file.write_text("frontend a\n bind \":49000\n")
    done = nextport("next", "--haproxy-config", file)
    assert done.port == 49001 and f"{file}:2:1: a quote is not closed" in done.log, done


def test_pipes_and_folders_are_no_configuration(nextport, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        assert nextport("next", "--haproxy-config", path).status == 4


# ExecStart=, and what else the service says: ports, all of which are in files of their own
WRAPPED = {
    '/bin/sh -c "exec /usr/sbin/haproxy -W -f /srv/a.cfg"': {8000},
    "/bin/bash -ec 'P=8009; haproxy -c -f /srv/b.cfg && exec haproxy -W -f /srv/p.cfg'": {8009},
    '/bin/sh -c "exec nice -n 5 /usr/sbin/haproxy $OPTS $(nproc)"\nEnvironment="OPTS=-f /srv/a.cfg -f /srv/b.cfg"': {8000, 8001},
    "/bin/sh -c 'cd /srv && haproxy -f a.cfg'": {8000},
    "/usr/bin/env P=8010 /usr/sbin/haproxy -f /srv/p.cfg": {8010},
    "/usr/bin/env -i P=8011 nice /bin/sh -c 'haproxy -f /srv/p.cfg'": {8011},
    "/usr/bin/nice -n -5 /usr/bin/numactl -N 0 /usr/sbin/haproxy -f /srv/a.cfg": {8000},
    "/usr/bin/setpriv --reuid haproxy --clear-groups /usr/sbin/haproxy -f /srv/a.cfg": {8000},
    "/sbin/runuser -u haproxy -- haproxy -f /srv/a.cfg": {8000},
    "/usr/sbin/haproxy-systemd-wrapper -f /srv/a.cfg": {8000},
    "/usr/sbin/haproxy -f srv/a.cfg": {8000},
    "/usr/sbin/haproxy -f a.cfg\nWorkingDirectory=-/srv": {8000},
    "/usr/sbin/haproxy -f ./a.cfg -C srv -- b.cfg": {8000, 8001},
    "/usr/sbin/haproxy -f ../srv/a.cfg -C /etc": {8000},
}
LOST = {  # where it is not known what HAProxy reads
    "/usr/local/bin/start-haproxy.sh": "start.service:2:",
    "/bin/sh /opt/haproxy.sh": "start.service:2:",
    "/opt/wrap /usr/sbin/haproxy -f /srv/a.cfg": "start.service:2:",
    "/bin/sh -c '$$(which haproxy) -f /srv/a.cfg'": "start.service:2:",
    "/usr/sbin/haproxy -f a.cfg\nWorkingDirectory=~": "-f a.cfg: where that lies",
    "/bin/sh -c 'haproxy $$(cat /srv/options)'": "words that are not known here",
    "/bin/sh -c 'haproxy -f $$(find /srv)/a.cfg'": "-f and a variable: where that lies",
}
OTHERS = (  # that only have the name
    "/usr/bin/docker run --name haproxy -v /usr/sbin/haproxy:/x haproxy:2.8", "/usr/bin/haproxy_exporter --haproxy.pid-file=/run/haproxy",
    "/bin/sh -c 'systemctl reload haproxy'", "/usr/bin/rsync -a /etc/haproxy /srv/haproxy", "/etc/init.d/haproxy start",
)


def start_by(nextport, tmp_path, command, *options):
    root = tmp_path / "root"
    write(root, {"etc/systemd/system/start.service": f"[Service]\nExecStart={command}\n",
                 "etc/default/haproxy": "CONFIG=/none.cfg\n", "none.cfg": "global\n",
                 "srv/a.cfg": "frontend a\n bind :8000\n", "srv/b.cfg": "frontend b\n bind :8001\n",
                 "srv/p.cfg": "frontend p\n bind \":${P}\"\n"})
    done = nextport("used", "--source", "haproxy", "--range", "1-65535", "--format", "json", "--root", root, *options)
    (sighting,) = [row for row in done.json["sources"] if row["source"] == "haproxy"]
    return {claim["first"] for claim in done.json["claims"]}, sighting, done


@pytest.mark.parametrize("command", WRAPPED)
def test_haproxy_is_found_behind_what_starts_it(nextport, tmp_path, command):
    ports_found, sighting, done = start_by(nextport, tmp_path, command)
    assert (ports_found, sighting["sight"]) == (WRAPPED[command], "seen"), done


@pytest.mark.parametrize("command", LOST)
def test_a_start_that_is_not_understood_is_a_gap(nextport, tmp_path, command):
    _, sighting, done = start_by(nextport, tmp_path, command)
    assert sighting["sight"] == "partial" and sighting["policy"] == "warn" and LOST[command] in sighting["why"], done


@pytest.mark.parametrize("command", OTHERS)
def test_what_only_has_the_name_is_no_gap(nextport, tmp_path, command):
    _, sighting, done = start_by(nextport, tmp_path, command)
    assert sighting["sight"] == "seen", done
