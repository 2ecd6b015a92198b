# SPDX-License-Identifier: MIT
"""Apache httpd: what is claimed for it beside what it binds itself; and how it is found."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BUILD, has_open, locked

MODULES = pathlib.Path("/usr/lib/apache2/modules")
HTTPD = shutil.which("apache2", path="/usr/sbin:/usr/bin")
# what every configuration here begins with
HEAD = """ServerRoot {here}
PidFile {here}/pid
ErrorLog {here}/error.log
DefaultRuntimeDir {here}
ServerName localhost
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule macro_module {modules}/mod_macro.so
"""
# As configurations of httpd. {here} is the folder of the main file.
GRAMMAR = {
    "a port": "Listen 7001",
    "an address": "Listen 127.0.0.1:7001",
    "a star": "Listen *:7001",
    "every address of IPv4": "Listen 0.0.0.0:7001",
    "IPv6": "Listen [::1]:7001",
    "IPv6 without brackets": "Listen ::1:7082",
    "every address of IPv6": "Listen [::]:7001",
    "a protocol": "Listen 7001 https\nListen 7002 HTTP",
    "several": "Listen 7001\nListen 127.0.0.1:7002\nListen 7003 http",
    "an address and every address": "Listen 127.0.0.1:7001\nListen 127.0.0.2:7001",
    "letter cases": "lISTEN 7001\n<ifmodule MOD_SO.C>\nListen 7002\n</IFMODULE>\n<IFDEFINE !x>\n</ifdefine>",
    "quotes": "Listen \"7001\"\nListen '127.0.0.1:7002'\n\"Listen\" 7003",
    "leading zeros": "Listen 07001",
    "numbers beyond 32 bits": "Listen 4294974297\nListen 127.0.0.1:8589941594\nListen 000000000000000000000007003",
    "lines that go on": "Listen \\\n7001\nListen \\\r\n  7002 \\\nhttp\n# a comment goes on too \\\n"
        "Listen 9001\nListen 70\\\n03",
    "blanks": "\t Listen\t 7001  \r\nListen 7002\r\n   # Listen 9001\n#Listen 9002",
    "a name of this machine": "Listen localhost:7001",
    "define": "Define P 7001\nListen ${P}\nDefine Where 127.0.0.1:70\nListen ${where}02",
    "define of several words": "Define ALL \"7001 https\"\nListen ${ALL}",
    "define again": "Define P 9001\nDefine P 7001\nListen ${P}",
    "define of a define": "Define A 7${B}\nDefine B 1\nDefine C 70\nDefine D ${C}01\nListen ${D}",
    "directives named by variables": "Define L Listen\n${L} 7001\nDefine C \"Listen 7002\"\n${C}\n"
        "Define B \" Lis\"\n${B}ten 7003\n"
        "Define Q '\"Listen\" 7004'\n\"${L}\" 7005\nDefine U Use\n<Macro A>\n${L} 7006\n</Macro>\n${U} A",
    "directives named by variables that conditions define": "<IfDefine !X>\nDefine L Listen\n</IfDefine>\n<IfDefine X>\n"
        "Define L LogLevel\n</IfDefine>\n${L} 7001",
    "sections named by variables": "Define S macro_module>\n<IfModule ${S}\nListen 7001\n</IfModule>\nDefine I If\n"
        "<${I}Module ${S}\nListen 7002\n</IfModule>\nDefine O \"<IfModule nobody.c>\"\n${O}\nListen 9001\n"
        "</IfModule>\nListen 7003",
    "undefine": "Define A 1\nUnDefine A\n<IfDefine A>\nListen 9001\n</IfDefine>\n<IfDefine !A>\nListen 7001\n"
        "</IfDefine>",
    "ifdefine": "Define A\n<IfDefine A>\nListen 7001\n</IfDefine>\n<IfDefine !A>\nListen 9001\n</IfDefine>",
    "ifdefine of what -D may give": "Listen 7001\n<IfDefine B>\nListen 7002\n</IfDefine>",
    "ifmodule": "<IfModule macro_module>\nListen 7001\n</IfModule>\n<IfModule mod_macro.c>\nListen 7002\n</IfModule>\n"
                "<IfModule !mod_macro.c>\nListen 9001\n</IfModule>\n<IfModule mod_ssl.c>\nListen 9002\n</IfModule>\n"
                "<IfModule !ssl_module>\nListen 7003\n</IfModule>",
    "ifmodule of an mpm": "<IfModule event.c>\nListen 7001\n</IfModule>\n<IfModule mpm_event_module>\nListen 7002\n"
                          "</IfModule>\n<IfModule prefork.c>\nListen 9001\n</IfModule>",
    "ifmodule of a source file that is called otherwise":
        "LoadModule ldap_module {modules}/mod_ldap.so\n<IfModule util_ldap.c>\nListen 7001\n</IfModule>\n"
        "<IfModule mod_ldap.c>\nListen 9001\n</IfModule>\n<IfModule mod_mpm_event.c>\nListen 9002\n</IfModule>\n"
        "<IfModule ldap_module>\nListen 7002\n</IfModule>",
    "ifmodule of what is built in": "<IfModule mod_log_config.c>\nListen 7001\n</IfModule>\n<IfModule http_core.c>\n"
                                    "Listen 7002\n</IfModule>\n<IfModule mod_unixd.c>\nListen 7003\n</IfModule>",
    "ifmodule before loadmodule": "Listen 7001\n<IfModule env_module>\nListen 9001\n</IfModule>\n"
                                  "LoadModule env_module {modules}/mod_env.so\n<IfModule env_module>\n"
                                  "Listen 7002\n</IfModule>",
    "ifversion": "<IfVersion >= 2.4>\nListen 7001\n</IfVersion>\n<IfVersion < 2.2>\nListen 7002\n</IfVersion>",
    "iffile": "<IfFile more/one>\nListen 7001\n</IfFile>\n<IfFile nowhere>\nListen 9001\n</IfFile>\n"
              "<IfFile !{here}/nowhere>\nListen 7002\n</IfFile>\n<IfFile more>\nListen 7003\n</IfFile>",
    "iffile of a literal path": "<IfFile !sites/*.conf>\nListen 7001\n</IfFile>\n<IfFile sites/*.conf>\nListen 9001\n</IfFile>\n"
        "<IfFile \"odd/[1].conf\">\nListen 7002\n</IfFile>\n<IfFile odd/?[*].conf>\nListen 9002\n</IfFile>",
    "iffile of a folder": "<IfFile !sites/a.conf/>\nListen 7001\n</IfFile>\n<IfFile sites/a.conf/.>\nListen 9001\n</IfFile>\n"
        "<IfFile sites/>\nListen 7002\n</IfFile>\n<IfFile sites/a.conf/..>\nListen 7003\n</IfFile>",
    "negation": "<IfFile ! /nowhere>\nListen 7001\n</IfFile>\n<IfFile \"!/nowhere\">\nListen 9001\n</IfFile>\n"
        "<IfFile !\"/nowhere\">\nListen 7002\n</IfFile>\n<IfModule \"!nobody.c\">\nListen 9002\n</IfModule>\n"
        "<IfModule ! macro_module>\nListen 9003\n</IfModule>\n<IfModule ! nobody.c>\nListen 7003\n</IfModule>\n"
        "<IfFile !!/nowhere>\nListen 7004\n</IfFile>\n<IfFile ! more>\nListen 9004\n</IfFile>",
    "includes whose names are like patterns": "Include odd/*.conf\nInclude odd/*.d",
    "nested": "Define A\n<IfDefine A>\n<IfModule nobody.c>\n<IfDefine A>\nListen 9001\n</IfDefine>\n"
        "Listen 9002\n</IfModule>\n"
              "<IfModule !nobody.c>\nListen 7001\n</IfModule>\n</IfDefine>",
    "what is left out is not looked at": "Listen 7001\n<IfModule nobody.c>\n<Unknown x>\nInclude nowhere\n"
        "Nobody knows\n"
                                         "</Unknown>\n</IfModule>",
    "macros": "<Macro Site $p $name>\nListen $p\n<VirtualHost *:$p>\nServerName $name\n</VirtualHost>\n</Macro>\n"
              "Use Site 7001 a.example\nUse SITE 7002 \"b.example\"\nUndefMacro Site",
    "a macro in a macro": "<Macro Port $a>\nListen 70$a\n</Macro>\n<Macro Both $a $ab>\nUse Port $a\n"
        "Use Port $ab\n</Macro>\n"
                          "Use Both 01 02",
    "a macro's parameter that begins another": "<Macro M $p $pq>\nListen 127.0.0.1:$p\nListen 127.0.0.1:$pq\n</Macro>\n"
                                               "Use M 7001 7002",
    "a macro that conditions define":
        "<IfDefine !X>\n<Macro A>\nListen 7001\n</Macro>\n</IfDefine>\n<IfDefine X>\n<Macro A>\n</Macro>\n</IfDefine>\nUse A",
    "a macro that a condition may define again": "<Macro A $p>\nListen $p\n</Macro>\n<IfDefine X>\n<Macro a $p>\n"
        "</Macro>\n</IfDefine>\nUse A 7001\n<Macro A>\nListen 7002\n</Macro>\nUse A",
    "a variable in a macro": "<Macro M>\nListen ${P}\n</Macro>\nDefine P 7001\nUse M",
    "a virtual host opens nothing": "Listen 7001\n<VirtualHost *:7001 *:9001>\nServerName a\n</VirtualHost>\n"
                                    "<VirtualHost *:9002>\nServerName b\n</VirtualHost>",
    "decoys": "Listen 7001\nListenBacklog 511\n<Directory {here}>\nOptions None\n</Directory>\n"
              "<If \"%{REQUEST_URI} == '/9001'\">\nLogLevel warn\n</If>\nLogFormat \"Listen 9002 \\\"x\\\"\" odd",
    "includes": "Include sites/*.conf\nInclude {here}/more/one\nInclude more/deep\nIncludeOptional nowhere/*.conf\n"
                "IncludeOptional nowhere.conf\nInclude \"more/one word\"",
    "includes with variables": "Define WHERE more\nInclude ${WHERE}/one\nInclude {here}/${WHERE}/deep",
    "includes of folders that are named as files are": "Include folders/*.conf\nIncludeOptional folders/*.load",
    "a server root in what is not decided": "<IfDefine X>\nServerRoot /tmp\n</IfDefine>\nInclude more/one\n"
        "IncludeOptional sites/*.conf\n<IfFile more/one>\nListen 7001\n</IfFile>",
    "a server root of several values": "Define R {here}\n<IfDefine X>\nDefine R {here}/more\n</IfDefine>\n"
        "ServerRoot ${R}\nIncludeOptional one\nIncludeOptional more/one*",
    "a server root again": "<IfVersion < 2.2>\nServerRoot /tmp\n</IfVersion>\nServerRoot {here}/more\nInclude one",
    "a server root": "Listen 7001\nServerRoot {here}/more\nInclude one",
}
FILES = {
    "sites/a.conf": "Listen 7101\n<VirtualHost *:7101>\nServerName a.example\nServerAlias www.a.example\n"
        "</VirtualHost>\n",
    "sites/b.conf": "Listen 7102",
    "sites/.hidden.conf": "Listen 9001",
    "sites/c.disabled": "Listen 9002",
    "more/one": "Listen 7103",
    "more/one word": "Listen 7104",
    "more/deep/a": "Listen 7105",
    "more/deep/.b": "Listen 7106",
    "more/deep/er/c": "Listen 7107\n",
    "odd/[1].conf": "Listen 7111\n",
    "odd/*?.conf": "Listen 7112\n",
    "odd/[a].d/[b]": "Listen 7113\n",
    "folders/a.conf/x": "Listen 7108\n",
    "folders/b.conf": "Listen 7109\n",
    "folders/c.load/y": "Listen 7110\n",
}


@pytest.fixture
def folder(tmp_path):
    here = tmp_path / "apache"
    for name, text in FILES.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)
    return here


def write(folder, text, name="apache2.conf"):
    folder.mkdir(exist_ok=True)
    file = folder / name
    with open(file, "w", newline="") as out:
        out.write(text.replace("{here}", str(folder)).replace("{modules}", str(MODULES)))
    return file


def claims(nextport, source, *options):
    done = nextport("used", "--all", "--range", "1-65535", "--source", source, "--format", "json", *options)
    assert done.status == 0, done
    return done.json["claims"]


@contextlib.contextmanager
def running(file, env=None):
    """httpd on this configuration, with its folder as the root, as Debian's script starts it."""
    pid = file.parent / "pid"
    child = subprocess.Popen([HTTPD, "-d", str(file.parent), "-f", str(file), "-D", "FOREGROUND"],
                             stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ, **(env or {})),
                             start_new_session=True)
    try:
        while not pid.exists():  # it is written when all is bound
            if child.poll() is not None:
                pytest.fail(f"httpd ended: {child.stdout.read().decode()}")
        yield
    finally:
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)


def ports(found):
    return {(claim["protocol"], port) for claim in found for port in range(claim["first"], claim["last"] + 1)}


def compare(nextport, file, env=None):
    """The ports that httpd binds are claimed, and no others for certain."""
    with running(file, env):
        bound = ports(claim for claim in claims(nextport, "sockets") if not claim["transient"])
    said = [claim for claim in claims(nextport, "apache", "--apache-config", file)
            if claim["file"].startswith(str(file.parent))]
    assert bound, "httpd binds something"
    assert bound <= ports(said), "a port that httpd has and nothing claims"
    assert ports(claim for claim in said if claim["certainty"] == "declared") <= bound
    return ports(said) - bound


needs_httpd = pytest.mark.skipif(not HTTPD or not (MODULES / "mod_macro.so").exists(),
                                 reason="apache2-bin is not installed")


@pytest.mark.linux("starts httpd")
@needs_httpd
@pytest.mark.parametrize("name", GRAMMAR)
def test_what_httpd_binds_is_what_is_claimed(nextport, folder, name):
    extra = compare(nextport, write(folder, HEAD + GRAMMAR[name] + "\n"))
    undecidable = {"ifdefine of what -D may give": {("tcp", 7002)}, "ifversion": {("tcp", 7002)}}
    assert extra == undecidable.get(name, set())


# Sections that are taken and not closed, which httpd minds as little as it minds those that a macro leaves open.
OPEN = {
    "ifmodule": "<IfModule macro_module>\nListen 7001",
    "ifdefine": "Define X\n<IfDefine X>\nListen 7001",
    "iffile": "<IfFile {here}>\nListen 7001",
    "in each other": "<IfModule macro_module>\n<IfModule !nobody.c>\nListen 7001",
    "in an included file": "Include open/one\nListen 7001",
    "in a macro": "<Macro A>\n<IfModule macro_module>\nListen 7001\n</Macro>\nUse A\nListen 7002",
}


@pytest.mark.linux("starts httpd")
@needs_httpd
@pytest.mark.parametrize("name", OPEN)
def test_a_section_that_is_taken_and_not_closed_is_a_gap_as_httpd_closes_it(nextport, folder, name):
    write(folder / "open", "<IfModule macro_module>\nListen 7002\n", "one")
    file = write(folder, HEAD + OPEN[name] + "\n")
    assert compare(nextport, file) == set()
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "partial" and "is not closed" in sighting["why"], done


# As Debian's package has it.
DEBIAN = {
    "apache2.conf": """DefaultRuntimeDir ${APACHE_RUN_DIR}
PidFile ${APACHE_PID_FILE}
ErrorLog ${APACHE_LOG_DIR}/error.log
ServerName localhost
IncludeOptional mods-enabled/*.load
IncludeOptional mods-enabled/*.conf
Include ports.conf
<Directory />
	Require all denied
</Directory>
IncludeOptional conf-enabled/*.conf
IncludeOptional sites-enabled/*.conf
""",
    "ports.conf": """Listen 80

<IfModule ssl_module>
	Listen 443
</IfModule>

<IfModule mod_gnutls.c>
	Listen 443
</IfModule>
""",
    "mods-enabled/authz_core.load": "LoadModule authz_core_module {modules}/mod_authz_core.so\n",
    "mods-enabled/mpm_event.load": "LoadModule mpm_event_module {modules}/mod_mpm_event.so\n",
    "sites-enabled/000-default.conf": "<VirtualHost *:80>\n\tServerName www.example.com\n"
                                      "\tErrorLog ${APACHE_LOG_DIR}/error.log\n</VirtualHost>\n",
}


@pytest.mark.linux("starts httpd")
@needs_httpd
@pytest.mark.parametrize("ssl", (False, True))
def test_443_of_debian_is_there_once_with_ssl_and_not_without(nextport, tmp_path, ssl):
    folder = tmp_path / "apache2"
    for name, text in DEBIAN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write(folder, text, name)
    env = {"APACHE_RUN_DIR": str(folder), "APACHE_PID_FILE": f"{folder}/pid", "APACHE_LOG_DIR": str(folder)}
    write(folder, "".join(f"export {name}={value}\n" for name, value in env.items()), "envvars")
    if ssl:
        write(folder, "LoadModule ssl_module {modules}/mod_ssl.so\n", "mods-enabled/ssl.load")
    assert compare(nextport, folder / "apache2.conf", env) == set()
    said = claims(nextport, "apache", "--apache-config", folder / "apache2.conf")
    found = [(claim["first"], claim["holder"], claim["certainty"]) for claim in said
             if claim["file"].startswith(str(folder))]
    assert found == [(80, "www.example.com", "declared")] + [(443, "apache2.conf", "declared")] * ssl


def test_next_avoids_a_server_that_does_not_run(nextport, tmp_path):
    file = write(tmp_path / "conf", "Listen 49000\n<VirtualHost *:49000>\nServerName shop.example\n</VirtualHost>\n",
                 "httpd.conf")
    done = nextport("next", "--apache-config", file)
    assert done.port == 49001
    why = nextport("why", "49000", "--apache-config", file)
    assert "shop.example" in why.text and "httpd.conf:2" in why.text


# Machines, as files below their root; what must be claimed of each; "?" marks what only may be so.
PLACES = {
    "Debian's instances": ({
        "etc/apache2/apache2.conf": "Listen 49000\nLoadModule alias_module x.so\n<IfModule mod_ssl.c>\nListen 9001\n"
                                    "</IfModule>\n<IfModule unixd_module>\nListen 49001\n</IfModule>\n",
        "etc/apache2-blog/apache2.conf": "Listen ${PORT}\nListen ${OTHER}\nInclude ports.conf\n",
        "etc/apache2-blog/ports.conf": "Listen 49004\n",
        "etc/apache2-blog/envvars":
            "if [ \"${APACHE_CONFDIR##/etc/apache2-}\" != \"${APACHE_CONFDIR}\" ] ; then\n"
            "\tSUFFIX=\"-${APACHE_CONFDIR##/etc/apache2-}\"\nelse\n\tSUFFIX=\nfi\n# don't\nunset HOME\n"
            "PORT=49002; export PORT\nexport BASE=490\nexport OTHER=\"${BASE}03\"\n"
            "export APACHE_RUN_DIR=/var/run/apache2$SUFFIX\nexport APACHE_ARGUMENTS='-D Extra -c \"Listen 49005\"'\n",
        "etc/apache2/httpd.conf": "# as releases long ago had it\n",
    }, {"49000", "49001", "49002", "49003", "49004", "49005"}),
    "an instance alone is none of Debian's": ({"etc/apache2-blog/apache2.conf": "Listen 49000\n"}, set()),
    "Red Hat": ({
        "etc/httpd/conf/httpd.conf": "ServerRoot \"/etc/httpd\"\nListen 49000\nInclude conf.modules.d/*.conf\n"
                                     "<IfModule mod_version.c>\nListen 49001\n</IfModule>\n<IfModule mod_php.c>\n"
                                     "Listen 9001\n</IfModule>\nIncludeOptional conf.d/*.conf\n",
        "etc/httpd/conf.modules.d/00-base.conf": "LoadModule version_module modules/mod_version.so\n",
        "etc/httpd/conf.modules.d/00-mpm.conf": "LoadModule mpm_event_module modules/mod_mpm_event.so\n",
        "etc/httpd/conf.d/ssl.conf": "Listen ${SSL_PORT} https\n",
        "etc/sysconfig/httpd": "# OPTIONS=\nOPTIONS=\"-DTest -c 'Listen 49003'\"\nSSL_PORT=49002\n",
    }, {"49000", "49001", "49002", "49003?"}),
    "one's own build in Red Hat's place": ({
        "etc/httpd/conf/httpd.conf": "Listen 49000\nLoadModule php_module modules/libphp.so\n<IfModule ssl_module>\n"
                                     "Listen 49001\n</IfModule>\nInclude conf/extra/*.conf\n",
        "etc/httpd/conf/extra/a.conf": "Listen 49002\n",
    }, {"49000", "49001?", "49002"}),
    "SUSE, whose script includes what it generates": ({
        "etc/apache2/httpd.conf": "Include /etc/apache2/listen.conf\n<IfDefine !SYSCONFIG>\nInclude "
                                  "/etc/apache2/loadmodule.conf\n</IfDefine>\nInclude vhosts.d/*.conf\n",
        "etc/apache2/listen.conf": "Listen 49000\n<IfDefine SSL>\n<IfModule mod_ssl.c>\nListen 49001\n</IfModule>\n"
                                   "</IfDefine>\n<IfModule mod_new.c>\nListen 49002\n</IfModule>\n",
        "etc/apache2/loadmodule.conf": "LoadModule other_module mod_other.so\n",
        "etc/apache2/sysconfig.d/loadmodule.conf": "LoadModule ssl_module /usr/lib64/apache2/mod_ssl.so\n",
        "etc/apache2/sysconfig.d/include.conf": "Listen 49003\n",
        "etc/apache2/local.conf": "Listen 49004\n",
        "etc/apache2/vhosts.d/a.conf": "Listen 9001\n",
        "srv/www/vhosts.d/a.conf": "Listen 49005\n",
        "etc/sysconfig/apache2": "APACHE_CONF_INCLUDE_FILES=\"local.conf\"\nAPACHE_SERVER_FLAGS=\"SSL STATUS\"\n"
                                 "APACHE_MODULES=\"actions alias\n  ssl\"\nAPACHE_MODULES+=\" new\"\n",
    }, {"49000", "49001", "49002?", "49003", "49004", "49005"}),
    "Alpine": ({
        "etc/apache2/httpd.conf": "ServerRoot /var/www\nListen 49000\nLoadModule unixd_module modules/mod_unixd.so\n"
                                  "<IfModule version_module>\nListen 49001\n</IfModule>\n"
                                  "IncludeOptional /etc/apache2/conf.d/*.conf\n",
        "etc/apache2/conf.d/ssl.conf": "Listen 49002\n",
    }, {"49000", "49001?", "49002"}),
    "Gentoo": ({
        "etc/apache2/httpd.conf": "<IfDefine SSL>\nListen 49000\n</IfDefine>\n<IfDefine PHP>\nListen 49001\n"
                                  "</IfDefine>\n",
        "etc/conf.d/apache2": "APACHE2_OPTS=\"-D DEFAULT_VHOST -DSSL\"\n",
    }, {"49000", "49001?"}),
    "the container image": ({
        "usr/local/apache2/conf/httpd.conf": "ServerRoot \"/usr/local/apache2\"\nListen 49000\nListen ${PORT}\n"
                                             "Include conf/extra/../extra/./a.conf\nInclude nowhere/../conf/b.conf\n",
        "usr/local/apache2/conf/extra/a.conf": "Listen 49001\n",
        "usr/local/apache2/conf/b.conf": "Listen 49002\n",
        "usr/local/apache2/bin/envvars": "# written by configure\nLD_LIBRARY_PATH=\"/usr/local/apache2/lib:"
                                         "$LD_LIBRARY_PATH\"\nexport LD_LIBRARY_PATH\nPORT=49003\nexport PORT\n",
    }, {"49000", "49001", "49002", "49003"}),
    "FreeBSD": ({
        "usr/local/etc/apache24/httpd.conf": "Listen 49000\nIncludeOptional etc/apache24/Includes/*.conf\n"
                                             "<IfDefine X>\nListen 49002\n</IfDefine>\n",
        "usr/local/etc/apache24/Includes/a.conf": "Listen 49001\n",
        "etc/rc.conf": "apache24_enable=\"YES\"\napache24_flags=\"-DX\"\n",
    }, {"49000", "49001", "49002"}),
    "Bitnami": ({
        "opt/bitnami/apache/conf/httpd.conf": "ServerRoot \"/opt/bitnami/apache\"\nListen 49000\nInclude conf/b.conf\n",
        "opt/bitnami/apache/conf/b.conf": "Listen 49001\n",
    }, {"49000", "49001"}),
    "XAMPP": ({
        "opt/lampp/etc/httpd.conf": "Listen 49000\nInclude etc/extra/a.conf\n",
        "opt/lampp/etc/extra/a.conf": "Listen 49001\n",
    }, {"49000", "49001"}),
    "Windows": ({
        "Apache24/conf/httpd.conf": "Define SRVROOT \"c:/Apache24\"\nServerRoot \"${SRVROOT}\"\nListen 49000\n"
                                    "Include conf/extra/*.conf\nInclude \"C:\\Apache24\\conf\\b.conf\"\n"
                                    "IncludeOptional \"${SRVROOT}/conf/sites/*.conf\"\nInclude /Apache24/conf/../c.conf\n"
                                    "LoadModule alias_module modules/mod_alias.so\n<IfModule unixd_module>\n"
                                    "Listen 9001\n</IfModule>\n<IfModule mpm_winnt.c>\nListen 49005\n</IfModule>\n",
        "Apache24/conf/extra/a.conf": "Listen 49001\n",
        "Apache24/conf/b.conf": "Listen 49002\n",
        "Apache24/conf/sites/a.conf": "Listen 49003\n",
        "Apache24/c.conf": "Listen 49004\n",
        "Program Files/Apache Software Foundation/Apache2.4/conf/httpd.conf": "Listen 49006\nInclude conf/a.conf\n",
        "Program Files/Apache Software Foundation/Apache2.4/conf/a.conf": "Listen 49007\n",
        "xampp/apache/conf/httpd.conf": "Listen 49008\n",
    }, {str(port) for port in range(49000, 49009)}),
}


def lay_out(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        with open(root / name, "w", newline="") as out:
            out.write(text)


def said(claims):
    return {str(claim["first"]) + "?" * (claim["certainty"] == "conditional") for claim in claims}


@pytest.mark.parametrize("name", PLACES)
def test_a_machine_is_searched_where_its_distribution_puts_it(nextport, tmp_path, name):
    files, expected = PLACES[name]
    (tmp_path / "disk").mkdir()
    lay_out(tmp_path / "disk", files)
    assert said(claims(nextport, "apache", "--root", tmp_path / "disk")) == expected


@pytest.mark.windows("drives and letter cases")
def test_places_of_windows_are_searched_in_any_letter_case(nextport, windows):
    drive = windows.prefix / "drive_c"
    lay_out(drive, {
        "Apache24/conf/httpd.conf": "Define SRVROOT \"c:\\APACHE24\"\r\nServerRoot \"${srvroot}\"\r\nListen 49000\r\n"
                                    "INCLUDE CONF\\Extra\\*.CONF\r\nInclude \"C:/apache24/Conf/B.conf\"\r\n"
                                    "IncludeOptional C:/Apache24/conf/../sites/*\r\n",
        "Apache24/conf/extra/a.conf": "Listen 49001\r\n",
        "Apache24/conf/b.conf": "Listen 49002\r\n",
        "Apache24/sites/a": "Listen 49003\r\n",
        "xampp/apache/conf/httpd.conf": "Listen 49004\n",
    })
    try:
        assert said(claims(nextport, "apache")) == {"49000", "49001", "49002", "49003", "49004"}
    finally:
        shutil.rmtree(drive / "Apache24")
        shutil.rmtree(drive / "xampp")


def test_includes_below_a_root_are_those_of_the_image(nextport, tmp_path):
    write(tmp_path / "x", "", "y")
    conf = tmp_path / "disk/etc/httpd/conf"
    conf.mkdir(parents=True)
    (tmp_path / "disk/etc/httpd/conf.d").mkdir()
    write(conf, 'ServerRoot "/etc/httpd"\nListen 49000\nIncludeOptional conf.d/*.conf\n', "httpd.conf")
    write(tmp_path / "disk/etc/httpd/conf.d", "Listen 49001 https\n", "ssl.conf")
    assert [claim["first"] for claim in claims(nextport, "apache", "--root", tmp_path / "disk")] == [49000, 49001]


def look(nextport, file):
    done = nextport("used", "--range", "1-65535", "--source", "apache", "--format", "json", "--apache-config", file)
    assert done.status in (0, 4), done
    (sighting,) = [s for s in done.json["sources"] if s["source"] == "apache"]
    return sighting, done


@pytest.mark.parametrize("port", ("0", "65536", "-1", "http", "127.0.0.1", "49000-49010", "[::1]", "",
                                  "99999999999999999999"))
def test_what_is_no_port_is_told_by_file_and_line(nextport, tmp_path, port):
    file = write(tmp_path / "conf", f"# one\nListen {port}\nListen 49500\n")
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "seen"
    assert "apache2.conf:2:1" in done.log, done


@pytest.mark.parametrize("text", (b"", b"\0\x7fELF" * 1000, b"<IfModule a>\nListen 49000\n",
                                  b"Define A\n<IfDefine !A>\n<IfModule so_module>\nListen 49000\n",
                                  b"<IfModule so_module>\n<VirtualHost *>\n<IfModule so_module>\n",
                                  b"<Macro a>\nListen 49000\n",
                                  b"<a>\n" * 5000 + b"Listen 49000\n",
                                  b"<Macro a $a>\n$a\n$a\n</Macro>\n" +
                                  b"".join(b"<Macro m%d>\nUse m%d\nUse m%d\n</Macro>\n" % (i, i + 1, i + 1)
                                           for i in range(18)) + b"<Macro m18>\n#" + b"x" * 1000 + b"\n"
                                           b"</Macro>\nUse m0\n",
                                  b"<IfDefine X>\n" + b"<Macro a>\n</Macro>\n" * 10000 + b"</IfDefine>\n" + b"Use a\n" * 10000),
                         ids=("empty", "binary", "section not closed", "section that is left out not closed",
                              "virtual host not closed", "macro not closed", "deep", "macros that grow",
                              "a macro that may be many"))
def test_what_cannot_be_understood_is_unreadable_and_gives_no_port(nextport, tmp_path, text):
    file = write(tmp_path / "conf", "")
    file.write_bytes(text)
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "unreadable" and "apache2.conf" in sighting["why"], done
    assert nextport("next", "--apache-config", file).status == 4


BROKEN = {"binary": b"\0\x7fELF", "not closed": b"Listen 49002\n<VirtualHost *>\n", "a macro not closed": b"<Macro a>\n"}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("include", ("Include", "IncludeOptional"))
def test_what_is_broken_where_it_may_be_left_out_hides_nothing_else(nextport, tmp_path, name, include):
    section = f"<IfVersion < 2.2>\n{include} broken\n{include} brok*\n</IfVersion>\n"
    file = write(tmp_path / "conf", f"Listen 49000\n{section}Listen 49001\n")
    (tmp_path / "conf/broken").write_bytes(BROKEN[name])
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "partial" and sighting["policy"] == "warn", done
    assert sighting["why"].startswith(f"{tmp_path}/conf/broken"), done
    assert {claim["first"] for claim in done.json["claims"]} >= {49000, 49001}
    file = write(tmp_path / "conf", f"{section}{include} broken\n")
    assert look(nextport, file)[0]["sight"] == "unreadable"


@pytest.mark.linux("links, FIFOs and devices")
@pytest.mark.parametrize("include", ("Include", "IncludeOptional"))
def test_what_is_no_file_is_a_gap_only_where_it_may_be_left_out(nextport, tmp_path, include):
    section = f"<IfVersion < 2.2>\n{include} pipe\n</IfVersion>\n"
    file = write(tmp_path / "conf", f"Listen 49000\n{section}")
    os.mkfifo(tmp_path / "conf/pipe")
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "partial" and "apache2.conf:3" in sighting["why"], done
    for again in ("pipe", "pip?"):
        file = write(tmp_path / "conf", f"{section}{include} {again}\n")
        assert look(nextport, file)[0]["sight"] == "unreadable"


def test_what_is_left_out_for_certain_is_not_opened(nextport, tmp_path):
    file = write(tmp_path / "conf", "Listen 49000\nDefine A\n<IfDefine !A>\nInclude broken\nInclude brok*\n</IfDefine>\n")
    (tmp_path / "conf/broken").write_bytes(BROKEN["binary"])
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "seen" and not done.log, done


def test_a_hundred_thousand_lines_and_a_long_one_are_read(nextport, tmp_path):
    text = "".join(f"Listen 127.0.{i // 60000}.1:{i % 60000 + 1}\n" for i in range(100000))
    file = write(tmp_path / "conf", "# " + "x" * (1 << 20) + "\nListen " + "9" * (1 << 20) + "\n" + text)
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "seen" and "apache2.conf:2:1" in done.log
    assert sum(claim["count"] for claim in done.json["claims"]) == 100000


def test_variables_that_multiply_do_not_grow_without_bound(nextport, tmp_path):
    text = "Define A0 xxxxxxxx\n" + "".join(f"Define A{i + 1} ${{A{i}}}${{A{i}}}\n" for i in range(60))
    sighting, _ = look(nextport, write(tmp_path / "conf", text + "Listen ${A60}\nListen 49000\n"))
    assert sighting["sight"] == "partial"


def test_includes_that_go_round_end(nextport, tmp_path):
    folder = tmp_path / "conf"
    write(folder, "Listen 49001\nInclude apache2.conf\n", "b.conf")
    file = write(folder, "Listen 49000\nInclude b.conf\nInclude {here}/b.conf\n")
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "seen" and "includes itself" in done.log
    assert {claim["first"] for claim in done.json["claims"]} >= {49000, 49001}


@pytest.mark.linux("links, FIFOs and devices")
def test_folders_with_links_to_themselves_end(nextport, tmp_path):
    folder = tmp_path / "conf"
    file = write(folder, "Listen 49000\nInclude sites\n")
    (folder / "sites").mkdir()
    (folder / "sites/a").symlink_to(".")
    (folder / "sites/b").symlink_to(".")
    sighting, _ = look(nextport, file)
    assert sighting["sight"] == "unreadable"


@pytest.mark.linux("links, FIFOs and devices")
def test_what_is_no_file_is_not_waited_for(nextport, tmp_path):
    folder = tmp_path / "conf"
    file = write(folder, "Listen 49000\nInclude pipe\nInclude /dev/zero\nInclude loop\n")
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to("loop")
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "unreadable" and "apache2.conf:2" in sighting["why"], done


def test_a_port_of_a_virtual_host_that_nothing_opens_is_told(nextport, tmp_path):
    file = write(tmp_path / "conf", "Listen 49000\n<VirtualHost *:49001>\n</VirtualHost>\n")
    sighting, done = look(nextport, file)
    assert [claim["first"] for claim in done.json["claims"]] == [49000]
    assert "apache2.conf:2:1" in done.log and "49001" in done.log


def test_a_variable_that_is_not_known_is_told_and_no_number_is_invented(nextport, tmp_path):
    file = write(tmp_path / "conf", "Listen ${PORT}\nListen 49001\n")
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "partial" and sighting["policy"] == "warn"
    assert "unresolved" in {claim["certainty"] for claim in done.json["claims"]}
    assert nextport("next", "--apache-config", file).port == 49000


@pytest.mark.parametrize("line", ("${L} 49002", "Lis${L} 49002", "<${L} x>", "<IfDefine A>\nDefine S <IfDefine\n</IfDefine>\n"
                                  "<IfDefine !A>\nDefine S <IfModule\n</IfDefine>\n${S} x>"))
def test_a_directive_whose_name_is_not_known_is_a_gap(nextport, tmp_path, line):
    file = write(tmp_path / "conf", f"Listen 49000\n{line}\nListen 49001\n")
    sighting, done = look(nextport, file)
    assert sighting["sight"] == "partial" and "which directive" in sighting["why"], done
    assert {claim["first"] for claim in done.json["claims"]} == {49000, 49001}


def test_a_condition_that_only_the_command_line_decides_counts(nextport, tmp_path):
    file = write(tmp_path / "conf", "Listen 49001\n<IfDefine Extra>\nListen 49000\n</IfDefine>\n")
    assert nextport("next", "--apache-config", file).port == 49002
# ---- --dump ---------------------------------------------------------------------------------------------------------

def dumped(nextport, file, *options):
    done = nextport("used", "--range", "1-65535", "--source", "apache", "--format", "json", "--apache-config", file,
                    "--dump", "apache", *options)
    (sighting,) = [s for s in done.json["sources"] if s["source"] == "apache"]
    return done, sighting


def other_source_file(folder):
    """mod_env, as if it had been written in mod_new.c: <IfModule> knows modules by that, too, and no reader can."""
    module = folder / "mod_env.so"
    module.write_bytes((MODULES / "mod_env.so").read_bytes().replace(b"mod_env.c\0", b"mod_new.c\0"))
    return f"LoadModule env_module {module}\n"


@pytest.mark.linux("starts httpd")
@needs_httpd
@pytest.mark.parametrize("name", GRAMMAR)
def test_the_dump_of_httpd_has_the_ports_that_were_read(nextport, folder, name):
    file = write(folder, HEAD + GRAMMAR[name] + "\n")
    read = ports(claims(nextport, "apache", "--apache-config", file))
    done, sighting = dumped(nextport, file)
    assert done.status == 0 and sighting["sight"] == "seen", done
    assert ports(done.json["claims"]) == read and "its dump" not in done.text and "own dump" not in done.log, done


@pytest.mark.linux("starts httpd")
@needs_httpd
def test_a_port_that_only_the_dump_has_counts_and_both_differences_are_told(nextport, folder):
    file = write(folder, HEAD + other_source_file(folder) + "Listen 49000\n<IfModule mod_new.c>\nListen 49001\n</IfModule>\n"
                 "<IfModule mod_env.c>\nListen 49002\n</IfModule>\n")
    assert nextport("next", "--apache-config", file, "--dry-run").port == 49001
    done, sighting = dumped(nextport, file)
    assert done.status == 0 and sighting["sight"] == "seen", done
    assert ports(done.json["claims"]) == {("tcp", 49000), ("tcp", 49001), ("tcp", 49002)}
    (only,) = [claim for claim in done.json["claims"] if claim["first"] == 49001]
    assert (only["file"], only["line"], only["detail"]) == (str(file), 12, "Listen 49001, by its dump")
    lines = [line for line in done.log.splitlines() if "dump" in line]
    assert len(lines) == 2 and f"{file}:12: Listen 49001: only" in lines[0] and f"{file}:15: Listen 49002:" in lines[1]
    assert nextport("next", "--apache-config", file, "--dump", "apache").port == 49003
    for command in ("check", "free", "doctor"):
        assert "Listen 49001: only" in nextport(command, "--apache-config", file, "--dump", "apache").log
    assert "by its dump" in nextport("why", 49001, "--apache-config", file, "--dump", "apache").text


@pytest.mark.linux("starts httpd")
@needs_httpd
def test_the_dump_gets_the_environment_and_options_of_the_start_script(nextport, folder):
    file = write(folder, HEAD + "Listen ${PORT}\n<IfDefine Extra>\nListen 49001\n</IfDefine>\nListen ${HOME_PORT}\n")
    write(folder, "export PORT=49000\nexport APACHE_ARGUMENTS='-D Extra -c \"Listen 49002\" -X'\nHOME_PORT=49003\n", "envvars")
    done, sighting = dumped(nextport, file)
    assert sighting["sight"] == "seen" and "its dump" not in done.text and "own dump" not in done.log, done
    assert {claim["first"] for claim in done.json["claims"]} == {49000, 49001, 49002, 49003}


@pytest.mark.linux("starts httpd")
@needs_httpd
def test_nothing_of_the_callers_environment_reaches_httpd(nextport, folder):
    file = write(folder, HEAD + "Listen 49000\nListen ${PORT}\n")
    done, sighting = dumped(nextport, file)
    assert sighting["sight"] == "partial"
    with_it = nextport("used", "--source", "apache", "--format", "json", "--apache-config", file, "--dump", "apache",
                       env={"PORT": "49001"})
    assert {claim["first"] for claim in with_it.json["claims"]} == {49000, None}
    assert f"status 1: AH00526: Syntax error on line 10 of {file}: " in with_it.log


@pytest.mark.linux("starts httpd")
@needs_httpd
def test_httpd_is_never_run_unless_asked(nextport, folder):
    """A module that cannot be loaded would make httpd fail, and this would be told."""
    file = write(folder, HEAD + "LoadModule none_module {here}/none.so\nListen 49000\n")
    for command in (("next", "--dry-run"), ("used", "--source", "apache"), ("check",), ("why", "49000")):
        assert "none.so" not in nextport(*command, "--apache-config", file).log
    done, sighting = dumped(nextport, file)
    assert done.status == 0 and sighting["sight"] == "partial" and sighting["policy"] == "warn"
    assert "status 1" in sighting["why"] and "none.so" in sighting["why"], done
    assert nextport("next", "--apache-config", file, "--dump", "apache").port == 49001
    assert nextport("next", "--apache-config", file, "--dump", "apache", "--strict").status == 4
    assert nextport("next", "--apache-config", file, "--dump", "apache", "--policy", "apache=require").status == 4


@pytest.mark.linux("starts httpd")
@needs_httpd
def test_a_dump_that_finds_nothing_new_says_that_it_ran(nextport, folder):
    file = write(folder, HEAD + "Listen 49000\n")
    options = ("used", "--source", "apache", "--apache-config", file, "--dump", "apache")
    assert "dump" not in nextport(*options).log
    assert f"httpd's dump of {file} agrees" in nextport(*options, "--verbose").log


@pytest.mark.linux("starts httpd")
@needs_httpd
def test_a_caller_that_ignores_its_children_gets_a_dump_all_the_same(nextport, folder):
    file = write(folder, HEAD + "Listen 49000\n")
    done = nextport("used", "--source", "apache", "--verbose", "--apache-config", file, "--dump", "apache",
                    preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert done.status == 0 and "agrees" in done.log, done


@pytest.mark.linux("starts httpd")
@needs_httpd
def test_a_configuration_that_others_may_change_is_not_run(nextport, folder):
    file = write(folder, HEAD + "Listen 49000\n")
    file.chmod(0o666)
    done, sighting = dumped(nextport, file)
    assert sighting["sight"] == "partial" and "others than root and this user may change it" in sighting["why"], done


@pytest.mark.linux("starts httpd")
@needs_httpd
def test_httpd_is_not_run_again_under_the_lock(nextport, program, folder, ledger):
    """What it said before counts on, and that this may be old is told."""
    file = write(folder, HEAD + other_source_file(folder) + "Listen 49000\n<IfModule mod_new.c>\nListen 49001\n</IfModule>\n"
                 "Include {here}/more.conf\n")
    write(folder, "Listen 49002\n", "more.conf")
    assert nextport("next", "--range", "50000").status == 0  # makes the ledger
    with locked(ledger):
        waiting = subprocess.Popen([program, "next", "--ledger", ledger, "--wait", "60s", "--apache-config", file, "--dump",
                                    "apache"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            end = time.monotonic() + 60
            while not has_open(waiting.pid, f"{ledger}-lock"):
                assert waiting.poll() is None and time.monotonic() < end
            write(folder, "Listen 49003\nListen 49002\n", "more.conf")
        except BaseException:
            waiting.kill()
            raise
    out, log = waiting.communicate(timeout=60)
    assert out.split() == ["49004"] and "not asked again while others wait" in log, (out, log)


@pytest.mark.parametrize("options, said", (
    (("--dump", "nginx"), "'nginx -T' binds every port"),
    (("--dump", "docker"), "there is no dump of 'docker'"),
    (("--dump", "apahce"), "unknown source 'apahce'"),
    (("--dump", ""), "empty"),
    (("--dump", "apache", "--root", "."), "--root reads the files of another"),
))
def test_what_has_no_dump_is_a_mistake_of_the_caller(nextport, options, said):
    for command in (("used",), ("check",), ("next", "--dry-run")):
        done = nextport(*command, *options)
        assert done.status == 2 and said in done.log and not done.out, done


def test_a_machine_without_apache_has_nothing_to_dump(nextport):
    done = nextport("used", "--source", "apache", "--dump", "apache", "--format", "json")
    (sighting,) = [s for s in done.json["sources"] if s["source"] == "apache"]
    assert done.status == 0 and sighting["sight"] == "absent" and "no httpd to ask" in done.out.decode(), done
    assert "no httpd to ask" in nextport("used", "--source", "apache", "--dump", "apache").log


@pytest.mark.windows("a program that stands in for httpd.exe")
def test_httpd_of_windows_is_run_where_it_lies(nextport, windows):
    folder = windows.prefix / "drive_c/Apache24"
    lay_out(folder, {"conf/httpd.conf": "ServerRoot \"c:/Apache24\"\nListen 49000\n",
                     "bin/dump": "# In file: C:/Apache24/conf/httpd.conf\r\n#   2:\r\nListen 49000\r\n#   7:\r\n"
                                 "Listen 49001 https\r\n",
                     "modules/mod_info.so": ""})
    try:
        shutil.copy(BUILD / "test" / "fake_httpd.exe", folder / "bin/httpd.exe")
        assert said(claims(nextport, "apache")) == {"49000"}
        assert not (folder / "bin/words").exists()
        done = nextport("used", "--range", "1-65535", "--source", "apache", "--dump", "apache", "--format", "json",
                        env={"NEXTPORT_TEST": "x"})
        assert said(done.json["claims"]) == {"49000", "49001"}, done
        assert "httpd.conf:7: Listen 49001 https: only httpd's own dump has it" in done.log
        root, conf, info = ("C:/Apache24" + name for name in ("", "/conf/httpd.conf", "/modules/mod_info.so"))
        words = ["-t", "-D", "DUMP_CONFIG", "-d", root, "-f", conf, "-c", f'LoadModule info_module "{info}"', "-"]
        assert (folder / "bin/words").read_text().splitlines() == words
        (folder / "bin/dump").unlink()
        done = nextport("used", "--source", "apache", "--dump", "apache", "--format", "json")
        (sighting,) = [s for s in done.json["sources"] if s["source"] == "apache"]
        assert sighting["sight"] == "partial" and "status 3: no dump" in sighting["why"], done
    finally:
        shutil.rmtree(folder)


# ---- envvars --------------------------------------------------------------------------------------------------------

# As sh reads them; {A}, {B} and {C} are ports then. Whatever the reader cannot know it must say so of.
ENVVARS = {
    "plain": "export A=7001\nB=7002; export B\nexport C='7003'\n",
    "quotes and variables": "export A=70'01'\nexport B=\"$A\"\nexport C=1\"${A}\"\n",
    "a dollar that means itself": "export A='$B'\nexport B=7002\nexport C=\"\\$B\"\n",
    "several of one command": "export A=7001\nexport A=7002 B=$A C=\"7003\"\n",
    "lines that go on": "export A=\\\n7001\nexport B=\"70\\\n02\"\nexport C=70\\\n03 A=7004\n",
    "code": "export A=`echo 7001` B=7002\nexport B=$(echo 7003)\nexport C=${A:-7004}\nexport A=$((7000+5))\n",
    "conditions": "export B=7001\nif [ -n \"$B\" ]; then\nexport A=7002\nelse\nexport A=7003\nfi\nif true; then export B=7004; fi\n"
                  "case x in x) C=7005 ;; esac\nexport C\n",
    "lists": "export A=7001 B=7002 C=7003\ntest -n x && export A=7004\n[ -z x ] || B=7005\nC=7006 true\n",
    "functions": "export A=7001 B=7002 C=7003\nf() {\nexport A=7004\n}\nf\ng() { export B=7005; }\ng\n",
    "unset": "export A=7001 B=7002 C=7003\nunset A\nunset B C\nC=7004\n",
    "comments": "# it's \"\nexport A=7001 # it's\nexport B=7002#3\n#export C=7009\nexport C=7003;# \"\n",
    "appended": "export A=70\nexport B=$A\nA=${A}01\nB=${B}02 C=7003\n",
}


@pytest.mark.linux("sh says what it makes of them")
@pytest.mark.parametrize("name", ENVVARS)
def test_what_the_shell_makes_of_envvars_is_what_is_claimed_or_said_not_to_be_known(nextport, tmp_path, name):
    file = write(tmp_path / "conf", "Listen ${A}\nListen ${B}\nListen ${C}\n")
    (tmp_path / "conf/envvars").write_text(ENVVARS[name])
    shell = subprocess.run(["sh", "-c", f"set -a; . {tmp_path}/conf/envvars; env -0"], env={"PATH": os.environ["PATH"]},
                           capture_output=True, text=True, check=True)
    real = dict(line.split("=", 1) for line in shell.stdout.split("\0") if line)
    said = claims(nextport, "apache", "--apache-config", file)
    for line, variable in enumerate("ABC", 1):
        found = [claim for claim in said if claim["line"] == line]
        known = all(claim["certainty"] != "unresolved" for claim in found)
        if real.get(variable, "").isdigit():
            assert not known or int(real[variable]) in {claim["first"] for claim in found}, (variable, found)
    if name in ("plain", "quotes and variables", "comments"):
        assert all(claim["certainty"] == "declared" for claim in said if claim["line"] != 2 or name != "comments")


@pytest.mark.parametrize("text", (b"\0\x7fELF" * 1000, b"export A='" + b"x\n" * 100000, b"if x\n" * 100000,
                                  b"export A=$A$A\n" * 50000, b"export A=" + b"x" * 60000 + b"\n" +
                                  b"export A=\"$A$A\"\n" * 60, b"\\\n" * 100000, b"A=" * 100000, b"A" * (1 << 20)),
                         ids=("binary", "quote not closed", "deep", "unknown", "growing", "going on", "equals", "long"))
def test_envvars_of_any_kind_end(nextport, tmp_path, text):
    file = write(tmp_path / "conf", "Listen 49000\n")
    (tmp_path / "conf/envvars").write_bytes(text)
    sighting, done = look(nextport, file)
    assert sighting["sight"] in ("seen", "partial", "unreadable") and 49000 in {c["first"] for c in done.json["claims"]}


# ---- services -------------------------------------------------------------------------------------------------------

@pytest.mark.linux("systemd")
@pytest.mark.parametrize("command", (
    "/usr/sbin/apache2 -Xf /srv/a.conf", "/usr/sbin/apache2 -Xf/srv/a.conf -k start", "/usr/sbin/httpd -d /srv -X -fa.conf",
    "/usr/sbin/apache2ctl -f /srv/a.conf", "/usr/sbin/apachectl -k start -f /srv/a.conf",
    "/bin/sh -c 'exec apachectl -f /srv/a.conf'"))
def test_the_file_that_a_service_names_is_read(nextport, tmp_path, command):
    root = tmp_path / "root"
    lay_out(root, {"etc/systemd/system/shop.service": f"[Service]\nExecStart={command}\n", "srv/a.conf": "Listen 49000\n"})
    found = claims(nextport, "apache", "--root", root)
    assert said(found) == {"49000"} and len(found) == 1


@pytest.mark.linux("systemd")
def test_instances_of_red_hats_httpd_are_read(nextport, tmp_path):
    """Its template names conf/%i.conf, below the folder that httpd was built for."""
    root = tmp_path / "root"
    lay_out(root, {"usr/lib/systemd/system/httpd@.service":
                   "[Service]\nExecStart=/usr/sbin/httpd $OPTIONS -k start -f conf/%i.conf -DFOREGROUND\n",
                   "etc/systemd/system/multi-user.target.wants/httpd@shop.service": "",
                   "etc/systemd/system/other.service": "[Service]\nExecStart=/usr/sbin/apache2 -d /srv -f a.conf\n",
                   "etc/httpd/conf/shop.conf": "Listen 49000\n", "etc/httpd/conf/idle.conf": "Listen 49001\n",
                   "srv/a.conf": "Listen 49002\n"})
    assert said(claims(nextport, "apache", "--root", root)) == {"49000", "49002"}
