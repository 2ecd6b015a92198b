# SPDX-License-Identifier: MIT
"""nginx: what is said that it is configured for, beside what nginx itself binds; and how it is found and told."""
import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest

from conftest import Done

MODULES = pathlib.Path("/usr/lib/nginx/modules")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")

# Each as the blocks after `events`, in the words of nginx. {here} is the folder of the main file.
GRAMMAR = {
    "a port": "http { server { listen 7001; } }",
    "no listen": "http { server { server_name a; } }",
    "several of one server": "http { server { listen 7001; listen 7002 default_server; listen 127.0.0.1:7003; } }",
    "several servers of one port": "http { server { listen 7001; server_name a; } "
                                   "server { listen 7001; server_name b; } }",
    "a range": "http { server { listen 7001-7005; } }",
    "a range of an address": "http { server { listen 127.0.0.1:7001-7003; } }",
    "an address alone": "http { server { listen 127.0.0.1; } }",
    "localhost alone": "http { server { listen localhost; } }",
    "localhost and a port": "http { server { listen localhost:7001; } }",
    "a star": "http { server { listen *:7001; } }",
    "a star alone": "http { server { listen *; } }",
    "IPv6": "http { server { listen [::]:7001; listen [::1]:7002; } }",
    "IPv6 alone": "http { server { listen [::1]; } }",
    "both families": "http { server { listen 7001; listen [::]:7001; } }",
    "one socket for both families": "http { server { listen [::]:7001 ipv6only=off; } }",
    "a wildcard takes an address in": "http { server { listen 7001; } server { listen 127.0.0.1:7001; } }",
    "two addresses of a port": "http { server { listen 127.0.0.1:7001 bind; } server { listen 127.0.0.2:7001; } }",
    "reuseport": "http { server { listen 7001 reuseport backlog=10 so_keepalive=on; } }",
    "a unix socket": "http { server { listen unix:{here}/socket; listen 7001; } }",
    "only a unix socket": "http { server { listen unix:{here}/socket; } }",
    "quotes": "http { server { listen \"7001\"; listen '127.0.0.1:7002' proxy_protocol; } }",
    "blanks and comments": "http{server{listen\n#8001;\n7001\t;#8002;\n}}",
    "a word with a number sign in it": "http { server { listen 7001; server_name a#b; location = /x#listen { } } }",
    "decoys": """http {
        upstream u { server 127.0.0.1:9001; server 127.0.0.1:9002; }
        map $host $to { default "listen 9003;"; x '}'; }
        geo $place { default "server { listen 9004; }"; }
        types { text/plain listen; }
        split_clients $remote_addr $half { 50% 9005; * ""; }
        server {
            listen 7001;
            location / { return 200 "listen 9999; }"; }
            location ~ "^/a{2,3}$" { proxy_pass http://127.0.0.1:9006; }
            if ($host = "b") { return 405; }
        } }""",
    "variables with braces": "http { server { listen 7001; set $a \"x${host}y\"; return 200 ${a}}${host}; } }",
    "escapes": "http { server { listen 7001; return 200 \"a\\\"; } listen 9001;\"; add_header X 'it\\'s {'; } }",
    "a stream": "stream { server { listen 7001; proxy_pass 127.0.0.1:9; } "
                "server { listen 127.0.0.1:7002 udp; proxy_pass 127.0.0.1:9; } }",
    "a stream range": "stream { server { listen 7001-7003 udp; listen [::1]:7004; proxy_pass 127.0.0.1:9; } }",
    "mail": "mail { auth_http 127.0.0.1:9; server { listen 7001; protocol smtp; } "
            "server { listen 127.0.0.1:7002; protocol imap; } }",
    "everything": "http { server { listen 7001; } } stream { server { listen 7002; return x; } } "
                  "mail { auth_http 127.0.0.1:9; server { listen 7003; protocol pop3; } }",
    "lines that end as on Windows": "http {\r\n  server {\r\n    listen 7001;\r\n    server_name a; # x\r\n"
                                    "    listen 7002; }\r\n}\r\n",
    "any address of IPv6 in other words": "http { server { listen [::0]:7001; listen [0:0:0:0:0:0:0:0]:7002; } }",
    "leading zeros": "http { server { listen 07001; listen 127.0.0.1:007002; } }",
    "patterns with braces": """http {
        map $uri $m { default 0; "~^/a{2,3}" 9001; ~^/b 2; '~^/c{2}\\"' 3; }
        server { listen 7001; server_name "~^(?<u>.{2,3})\\.x$" ~^(.*)\\.y$ *.z; return 200 $m; }
        server { listen 7002; location ~ ^/a\\{2\\}$ { return 200; } location "/b"{ return 200; }
                 location ~ "c;d" { } location ~ 'e}f' { } location /g{} listen 7003; } }""",
    "conditions": """http { server {
        listen 7001;
        if ($host ~* "^(a|b){1,2}$") { set $x 'listen 9001;'; return 403; }
        if ($http_user_agent ~ '}') { return 405; }
        location / { if (-f $request_filename) { break; } limit_except GET { deny all; } } } }""",
    "ranges that are no ports": "http { geo $g { ranges; default 0; 127.0.0.0-127.0.0.255 listen; "
                                "10.0.0.0-10.0.0.1 9001; } server { listen 7001; } }",
    "quotes in quotes": """http {
        log_format j escape=json '{ "a": "$remote_addr;}", '
            '"b": "$status" }';
        server { listen 7001; add_header X 'a"b"c'; add_header Y "a'b'c"; add_header Z '{"k": "v;}"}'; listen 7002;
                 return 200 "{
                     listen 9001;
                 }"; } }""",
    "comments anywhere": "#x\nhttp{#y\nserver{#z\nlisten # 9001\n 7001 # ;\n; server_name # {\n a; }#}\n}#}",
    "words with quotes, dollars and number signs in them": "http { server { listen 7001; set $a x; server_name x'y; "
                                                           "return 200 a${a}}$host; rewrite ^/x#y /z#w; listen 7002; } }",
    "names that look like templates": "http { server { listen 7001; add_header X \"{{x}}\"; add_header Y '{% y %}'; "
                                      "listen 7002; } }",
    "a choice by the name in TLS": "stream { map $ssl_preread_server_name $b { default 127.0.0.1:9001; a 127.0.0.1:9002; "
                                   "} server { listen 7001; ssl_preread on; proxy_pass $b; } }",
    "a port of TCP and of UDP": "stream { server { listen 7001 udp reuseport; proxy_pass 127.0.0.1:9; } "
                                "server { listen 7001 so_keepalive=on backlog=5 bind; return x; } }",
    "every parameter": "http { server { listen 127.0.0.1:7001 default_server backlog=511 rcvbuf=8k sndbuf=8k bind "
                       "so_keepalive=30m::10 deferred reuseport fastopen=10; listen [::]:7002 ipv6only=on http2; } }",
    "nothing is included": "http { include /dev/null; server { listen 7001; include /dev/null; } }",
    "braces behind a dollar": "env A=${{;\nhttp { server { listen 7001; server_name ${{a; }}\nworker_rlimit_nofile 100;",
    "patterns of includes": "http { include {here}/sites/[!a].conf; include sites/?.conf; include \"with blank/*\"; "
                            "include linked-folder/*.conf; include {here}/*/two; }",
    "includes": "http { include sites/*.conf; include {here}/more/one; server { include more/listen; } }",
    "a pattern that matches nothing": "http { include nowhere/*.conf; server { listen 7001; } }",
}
FILES = {
    "sites/a.conf": "server { listen 7101; }",
    "sites/b.conf": "server { listen 7102; include more/listen; }",
    "sites/c.disabled": "server { listen 9001; }",
    "more/one": "server { listen 7103; }",
    "more/listen": "listen 7104;",
    "more/two": "server { listen 7106; }",
    "with blank/windows.conf": "server {\r\n listen 7107;\r\n}\r\n",
    "with blank/.hidden.conf": "server { listen 9001; }",
}


@pytest.fixture
def folder(tmp_path):
    """A folder of configuration with FILES, sites/z.conf a link."""
    here = tmp_path / "nginx"
    for name, text in FILES.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    (here / "linked").write_text("server { listen 7105; }")
    (here / "sites/z.conf").symlink_to("../linked")
    (here / "linked-folder").symlink_to("sites")
    return here


def write(folder, text, top=""):
    file = folder / "nginx.conf"
    file.write_text(f"{top}\nevents {{ }}\n" + text.replace("{here}", str(folder)))
    return file


def claims(nextport, source, *options):
    done = nextport("used", "--all", "--range", "1-65535", "--protocol", "both", "--source", source, "--format", "json",
                    *options)
    assert done.status == 0, done
    return done.json["claims"]


@contextlib.contextmanager
def running(folder, text):
    """nginx on this configuration, with every file of its own in the folder."""
    temporary = "".join(f"{name}_temp_path {folder}/{name};"
                        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    modules = "".join(f"load_module {module};" for module in sorted(MODULES.glob("ngx_*_module.so"))
                      if module.stem in ("ngx_stream_module", "ngx_mail_module"))
    file = write(folder, text.replace("http {", f"http {{ access_log off; {temporary}", 1).replace(
        "http{", f"http{{ access_log off; {temporary}", 1),
        f"{modules} daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;")
    child = subprocess.Popen([NGINX, "-p", str(folder), "-c", str(file), "-e", f"{folder}/error.log"],
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        while not (folder / "pid").exists():  # it is written when all is bound
            if child.poll() is not None:
                pytest.fail(f"nginx ended: {child.stdout.read().decode()}")
        yield file
    finally:
        child.kill()  # it may sleep through a signal that comes before its first wait for events
        child.communicate(timeout=60)


def endpoints(claim):
    return {(claim["protocol"], claim["address"], port) for port in range(claim["first"], claim["last"] + 1)}


@pytest.mark.linux("starts nginx")
@pytest.mark.skipif(not NGINX or not (MODULES / "ngx_stream_module.so").exists() or
                    not (MODULES / "ngx_mail_module.so").exists(), reason="nginx with stream and mail is not installed")
@pytest.mark.parametrize("text", GRAMMAR.values(), ids=GRAMMAR)
def test_what_nginx_binds_is_what_is_claimed(nextport, folder, text):
    with running(folder, text) as file:
        sockets = [claim for claim in claims(nextport, "sockets") if not claim["transient"]]
    bound = set().union(*map(endpoints, sockets)) if sockets else set()
    said = [claim for claim in claims(nextport, "nginx", "--nginx-config", file)
            if claim["file"].startswith(str(folder))]
    declared = set().union(*(endpoints(claim) for claim in said if claim["certainty"] == "declared")) if said else set()
    assert bound <= declared, "a port that nginx has and nothing claims"
    for protocol, address, port in declared - bound:
        taken_in = (protocol, "0.0.0.0", port) in bound  # a wildcard's socket serves the address as well
        other_family = "localhost" in text and address == "[::1]"  # where the system's own hosts have no such line
        assert taken_in or other_family, f"{protocol} {address} {port} is claimed and not bound"


# ---- Promises -------------------------------------------------------------------------------------------------------


def test_next_avoids_every_port_of_a_stopped_server(nextport, folder):
    file = write(folder, "http { include sites/*.conf; server { listen 49000; listen 49001 ssl; } "
                         "server { listen 127.0.0.1:49003-49005; } } stream { server { listen 49002; } }")
    assert nextport("next", "--nginx-config", file).port == 49006
    told = nextport("why", "49003", "--nginx-config", file).text
    assert "nginx.conf:3" in told


def test_a_configuration_is_found_below_a_root(nextport, tmp_path):
    for place in ("etc/nginx", "usr/local/nginx/conf", "usr/local/openresty/nginx/conf", "nginx-1.29/conf"):
        file = tmp_path / "disk" / place / "nginx.conf"
        file.parent.mkdir(parents=True)
        file.write_text(f"events {{ }} http {{ server {{ listen 70{len(place):02}; server_name {place}; }} }}")
    found = claims(nextport, "nginx", "--root", tmp_path / "disk")
    assert sorted(claim["first"] for claim in found) == [7009, 7015, 7020, 7030]


@pytest.mark.linux("links: Wine shows what one leads to as the thing itself")
def test_an_include_cannot_lead_out_of_the_root(nextport, tmp_path):
    (tmp_path / "outside").write_text("server { listen 7001; }")
    etc = tmp_path / "disk/etc/nginx"
    etc.mkdir(parents=True)
    (etc / "link").symlink_to(tmp_path / "outside")
    (etc / "nginx.conf").write_text("events { } http { include link; include ../../../outside; "
                                    "server { listen 7002; } }")
    assert [claim["first"] for claim in claims(nextport, "nginx", "--root", tmp_path / "disk")] == [7002]


def test_the_setting_names_files_and_patterns(nextport, folder, tmp_path):
    write(folder, "http { server { listen 7001; } }")
    (tmp_path / "nextport.conf").write_text(f"[nginx]\nfiles = {tmp_path}/*/nginx.conf\n")
    assert 7001 in [claim["first"] for claim in claims(nextport, "nginx")]


def test_a_file_is_named_from_where_one_stands(nextport, folder):
    write(folder, "http { include sites/*.conf; }")
    done = nextport("used", "--range", "7000-7999", "--source", "nginx", "--nginx-config", "nginx/nginx.conf",
                    "--format", "json", cwd=folder.parent)
    assert [claim["first"] for claim in done.json["claims"]] == [7101, 7102, 7104, 7105]


def test_a_file_whose_path_looks_like_a_pattern_is_read(nextport, tmp_path):
    for name, port in (("a[1]", 7001), ("a1", 7002)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nginx.conf").write_text(f"events {{ }} http {{ server {{ listen {port}; }} }}")
    found = claims(nextport, "nginx", "--nginx-config", tmp_path / "a[1]" / "nginx.conf")
    assert {7001, 7002} <= {claim["first"] for claim in found}


def test_a_missing_file_that_was_named_gives_no_port(nextport, tmp_path):
    refused = nextport("next", "--nginx-config", tmp_path / "missing.conf")
    assert refused.status == 4 and "no such file" in refused.log


def test_a_holder_is_the_name_of_the_server_and_adopted_by_it(nextport, folder):
    file = write(folder, "http { server { listen 49000; server_name _ ~^x shop.example.com www.example.com; } }")
    found = [claim for claim in claims(nextport, "nginx", "--nginx-config", file) if claim["first"] == 49000]
    assert [(claim["holder"], claim["host"]) for claim in found] == [("shop.example.com", "shop.example.com")]
    adopted = nextport("adopt", "--apply", "--source", "nginx", "--nginx-config", file)
    assert adopted.status == 0, adopted
    assert "shop.example.com" in nextport("leases").text


def test_a_server_moved_down_in_its_file_has_the_same_holder(nextport, folder):
    def holder_of(file):
        return [claim["holder"] for claim in claims(nextport, "nginx", "--nginx-config", file)
                if claim["first"] == 7001]

    before = holder_of(write(folder, "http { server { listen 7001; } }"))
    assert before == holder_of(write(folder, "\n\n# more\nhttp {\n server {\n listen 7001; } }")) == ["nginx.conf"]


@pytest.mark.linux("starts nginx, in a mount namespace whose /run is its own")
@pytest.mark.skipif(not NGINX or os.geteuid() != 0, reason="nginx is not installed, or we are not root")
@pytest.mark.parametrize("words", ["-c {folder}/nginx.conf", "-p {folder} -c nginx.conf", "-p{folder}/ -cnginx.conf"])
def test_a_running_nginx_tells_where_its_configuration_is(program, ledger, folder, words):
    """By its number in /run/nginx.pid: nothing of this configuration is where one would look."""
    write(folder, "http { server { listen 49000; access_log off; } }", f"pid /run/nginx.pid; error_log {folder}/log;")
    script = f"""
        mount -t tmpfs none /run && mkdir -p /run/lock || exit 77
        {NGINX} -e {folder}/log -g 'daemon off;' {words.format(folder=folder)} & master=$!
        until [ -s /run/nginx.pid ] || ! kill -0 $master; do :; done
        {program} used --source nginx --range 49000 --ledger {ledger} --format json; status=$?
        kill $master; wait $master; exit $status"""
    env = {**os.environ, "NEXTPORT_CONFIG": "/dev/null"}
    done = subprocess.run(["unshare", "--mount", "sh", "-c", script], env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if done.returncode == 77:
        pytest.skip("no file systems can be mounted here")
    found = [(claim["first"], claim["file"]) for claim in Done(done).json["claims"]]
    assert found == [(49000, f"{folder}/nginx.conf")], done


# ---- Bad input ------------------------------------------------------------------------------------------------------

BROKEN = {
    "a block that does not end": "http { server { listen 49000;",
    "a directive that does not end": "http { server { listen 49000; } } user x",
    "a quote that does not end": "http { server { listen 49000; return 200 \"x; } }",
    "a brace too many": "http { server { listen 49000; } } }",
    "a semicolon too many": "http { server { listen 49000;; } }",
    "code that does not end": "http { server { listen 49000; location / { content_by_lua_block { a = '}' } }",
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_parsed_gives_no_port_and_says_where(nextport, folder, text):
    file = write(folder, text)
    refused = nextport("next", "--nginx-config", file)
    assert refused.status == 4 and re.search(rf"{re.escape(str(file))}:\d+:\d+: ", refused.log), refused
    warned = nextport("next", "--nginx-config", file, "--policy", "nginx=warn")
    assert warned.port == 49001, "what was read still counts"


@pytest.mark.parametrize("content", [b"", b"# nothing\n", bytes(range(256)) * 64, b"\x7fELF" + bytes(5000),
                                     b"listen 80;\n", b"x" * 1_000_000, b"{" * 100_000, b"}" * 100_000],
                         ids=["empty", "a comment", "binary", "a program", "a snippet", "a long line", "opening",
                              "closing"])
def test_another_file_is_not_taken_for_a_configuration_without_ports(nextport, tmp_path, content):
    file = tmp_path / "nginx.conf"
    file.write_bytes(content)
    refused = nextport("next", "--nginx-config", file)
    assert refused.status == 4 and str(file) in refused.log


@pytest.mark.parametrize("address, port", [("0", None), ("65536", None), ("-1", 80), ("http", 80), ("127.0.0.1:", None),
                                           ("127.0.0.1:http", None), ("::1:49000", 49000), ("[::1]49000", None),
                                           ("49005-49000", None), ("%ip%:%port%", "unresolved"),
                                           ("{{port}}", "unresolved"),
                                           ("${PORT}", "unresolved"),
                                           ("{{ ip }}:{{ port }}", "unresolved"), ("<%= port %>", "unresolved"),
                                           ("@PORT@", "unresolved")])
def test_an_address_that_is_none_is_said_with_its_place(nextport, folder, address, port):
    file = write(folder, f"http {{ server {{\n  listen {address}; }} }}")
    done = nextport("used", "--range", "1-65535", "--source", "nginx", "--nginx-config", file, "--format", "json")
    assert done.status == 0, done
    assert f"{file}:4:10: \"listen {address}\"" in done.log, done
    found = [claim for claim in done.json["claims"] if claim["file"] == str(file)]
    assert [claim["first"] or claim["certainty"] for claim in found] == ([] if port is None else [port])
    assert all(claim["certainty"] != "declared" for claim in found)


@pytest.mark.linux("another user's files")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_what_this_user_may_not_read_is_said_and_not_guessed(nextport, program):
    nobody = 65534
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        folder = pathlib.Path(place)
        shutil.copy(program, folder / "nextport")
        (folder / "secret").write_text("server { listen 49001; }")
        (folder / "secret").chmod(0)
        file = write(folder, "http { include secret; server { listen 49000; } }")

        def ask(*words):
            command = [folder / "nextport", "next", "--dry-run", "--ledger", folder / "ledger.db", "--nginx-config",
                       file]
            return Done(subprocess.run([*command, *words], user=nobody, group=nobody, extra_groups=[], cwd="/",
                                       env={"NEXTPORT_CONFIG": "/dev/null"}, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60))

        warned = ask()
        assert warned.port == 49001 and f"{file}:3:16: {folder}/secret: permission denied" in warned.log
        for words in (("--strict",), ("--policy", "nginx=require")):
            assert ask(*words).status == 4


@pytest.mark.linux("FIFOs and devices")
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path)],
                         ids=["FIFO", "folder", "device"])
def test_what_is_no_file_is_not_read(nextport, folder, make):
    make(folder / "sites/bad.conf")
    refused = nextport("next", "--nginx-config", write(folder, "http { include sites/*.conf; }"))
    assert refused.status == 4 and "bad.conf" in refused.log and "not a file" in refused.log


def test_a_cycle_of_includes_ends_and_is_said(nextport, folder):
    (folder / "sites/a.conf").write_text("server { listen 49000; } include sites/*.conf;")
    done = nextport("next", "--nginx-config", write(folder, "http { include sites/*.conf; }"))
    assert done.port == 49001 and "sites/a.conf includes itself" in done.log


@pytest.mark.linux("links")
def test_a_loop_of_links_is_no_file(nextport, folder):
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    refused = nextport("next", "--nginx-config", write(folder, "http { include one; }"))
    assert refused.status == 4 and "one" in refused.log


def test_a_missing_include_is_said_and_the_rest_counts(nextport, folder):
    file = write(folder, "http {\n include gone.conf;\n server { listen 49000; } }")
    done = nextport("next", "--nginx-config", file)
    assert done.port == 49001
    assert re.search(rf"{re.escape(str(file))}:4:10: \S*/gone.conf: no such file", done.log)


@pytest.mark.linux("Wine lists no link that leads nowhere")
def test_a_link_that_leads_nowhere_is_said_where_a_pattern_finds_it(nextport, folder):
    """nginx does not start with it: what it led to may lie on a disk that is not there now."""
    file = write(folder, "http {\n include s/*;\n}")
    (folder / "s").mkdir()
    (folder / "s/a").write_text("server { listen 49000; }")
    (folder / "s/gone").symlink_to("/nowhere/at/all")
    done = nextport("next", "--nginx-config", file)
    assert done.port == 49001
    assert re.search(rf"{re.escape(str(file))}:4:10: \S*/s/gone: no such file", done.log), done.log


def test_two_servers_of_one_port_are_told_once_each(nextport, folder):
    file = write(folder, "http { server { listen 7001; server_name a; } server { listen 7001; server_name b; } }")
    assert [claim["holder"] for claim in claims(nextport, "nginx", "--nginx-config", file)
            if claim["first"] == 7001] == ["a", "b"]


def test_a_hundred_thousand_servers_are_all_seen(nextport, folder):
    servers = "".join(f"server {{ listen {1 + i % 65535}; server_name s{i}; }}\n" for i in range(100_000))
    file = write(folder, f"http {{ {servers} }}")
    full = nextport("next", "--nginx-config", file)
    assert full.status == 3, full


@pytest.mark.linux("systemd")
@pytest.mark.parametrize("words, port", (
    ("/usr/sbin/nginx -c /srv/shop/nginx.conf", 49000),
    ("/bin/sh -c 'exec nginx -p /srv/shop/ -cnginx.conf'", 49000),
    ("/usr/sbin/nginx -qc /srv/shop/nginx.conf", 49000),
    ("/usr/sbin/nginx -qc/srv/shop/nginx.conf", 49000),
    ("/usr/sbin/nginx -tqp/srv/shop -qcnginx.conf", 49000),
    ("/usr/sbin/nginx -c /srv/none.conf -c /srv/shop/nginx.conf", 49000),
    ("/usr/sbin/nginx -t\nExecStart=/usr/sbin/nginx -c /srv/shop/nginx.conf\nType=oneshot", 49000),
    ("/usr/bin/env -i nginx -c /srv/shop/nginx.conf", 49000),
    ("/usr/bin/env -iu A -uB nginx -c /srv/shop/nginx.conf", 49000),
    ("/usr/bin/nice -n5 nginx -c /srv/shop/nginx.conf", 49000),
    ("/usr/bin/sudo -Eu nginx /opt/other -c /srv/shop/nginx.conf", None),
    ("/usr/sbin/nginx -g 'daemon on;'", None),
    ("/usr/sbin/nginx -g '-c' -s '-c/srv/shop/nginx.conf'", None),
))
def test_the_file_that_a_service_names_is_read(nextport, tmp_path, words, port):
    root = tmp_path / "root"
    for path, text in {"etc/systemd/system/shop.service": f"[Service]\nExecStart={words}\n",
                       "srv/shop/nginx.conf": "events {}\nhttp { server { listen 49000; } }\n"}.items():
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
    done = nextport("used", "--source", "nginx", "--format", "json", "--root", root)
    assert [claim["first"] for claim in done.json["claims"]] == ([port] if port else []), done
    (sighting,) = [row for row in done.json["sources"] if row["source"] == "nginx"]
    assert sighting["sight"] == ("seen" if port else "absent"), done


@pytest.mark.linux("systemd")
def test_a_file_of_a_service_whose_place_is_not_known_is_a_gap(nextport, tmp_path):
    folder = tmp_path / "root/etc/systemd/system"
    folder.mkdir(parents=True)
    (folder / "shop.service").write_text("[Service]\nExecStart=/usr/sbin/nginx -c shop.conf\n")
    done = nextport("used", "--source", "nginx", "--format", "json", "--root", tmp_path / "root")
    (sighting,) = [row for row in done.json["sources"] if row["source"] == "nginx"]
    assert sighting["sight"] == "partial" and "-c shop.conf" in sighting["why"] and sighting["policy"] == "warn", done
