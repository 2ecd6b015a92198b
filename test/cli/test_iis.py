# SPDX-License-Identifier: MIT
"""IIS configurations as the program finds them: named, by pattern, below a root."""
import os
import subprocess

import pytest

from conftest import SITE, has_open, locked

LIVE = "Windows/System32/inetsrv/config/applicationHost.config"


@pytest.fixture
def site(tmp_path):
    def write(path, name, port):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(SITE.format(name, port))
        return file

    return write


def holders(nextport, *options):
    used = nextport("used", "--source", "iis", "--format", "json", *options)
    assert used.status == 0, used
    return {claim["first"]: claim["holder"] for claim in used.json["claims"] if claim["kind"] == "configured"}


def test_a_pattern_of_the_configuration_finds_every_machine(nextport, site, tmp_path):
    site(f"web1/{LIVE}", "Shop", 49000)
    site(f"web2/{LIVE}", "Blog", 49001)
    (tmp_path / "nextport.conf").write_text(f"[iis]\nfiles = {tmp_path}/web*/{LIVE}\n")
    assert holders(nextport) == {49000: "Shop", 49001: "Blog"}
    assert nextport("next").port == 49002


def test_a_pattern_may_match_nothing_but_a_named_file_must_be_there(nextport, tmp_path):
    assert nextport("next", "--iis-config", f"{tmp_path}/*.config").port == 49000
    refused = nextport("next", "--iis-config", f"{tmp_path}/applicationHost.config")
    assert refused.status == 4 and "no such file" in refused.log


def test_a_file_is_named_from_where_one_stands(nextport, site, tmp_path):
    site("a/Here.config", "Shop", 49000)
    done = nextport("used", "--source", "iis", "--iis-config", "a/Here.config", "--format", "json", cwd=tmp_path)
    assert [claim["first"] for claim in done.json["claims"]] == [81, 49000]


def test_a_root_is_searched_without_regard_to_case(nextport, site, tmp_path):
    site("disk/" + LIVE.upper(), "Shop", 49000)
    assert holders(nextport, "--root", tmp_path / "disk") == {49000: "Shop"}
    dry = nextport("next", "--root", tmp_path / "disk", "--dry-run")
    assert dry.port == 49001


def test_a_root_leases_nothing(nextport, tmp_path, ledger):
    refused = nextport("next", "--root", tmp_path)
    assert refused.status == 2 and "--dry-run" in refused.log
    assert not ledger.exists()


@pytest.mark.linux("Wine follows links of the file system without a word")
def test_a_link_out_of_the_root_stays_inside_it(nextport, site, tmp_path):
    outside = site("outside.config", "Outside", 49000)
    live = tmp_path / "disk" / LIVE
    live.parent.mkdir(parents=True)
    live.symlink_to(outside)
    used = nextport("used", "--root", tmp_path / "disk", "--format", "json")
    assert used.status == 4, "a link that leads nowhere in there is a file that cannot be read"
    assert [claim for claim in used.json["claims"] if claim["holder"] == "Outside"] == []


@pytest.mark.linux("looks into /proc for who waits")
def test_a_site_that_appears_while_it_waits_for_the_lock_is_seen(nextport, site, program, ledger, tmp_path):
    """Files are read before the lock and again under it."""
    file = site("app.config", "Shop", 49000)
    assert nextport("next", "--iis-config", file).port == 49001
    with locked(ledger):
        waiting = subprocess.Popen([program, "next", "-q", "--iis-config", str(file)], stdout=subprocess.PIPE, text=True,
                                   env=dict(os.environ, NEXTPORT_LEDGER=str(ledger), NEXTPORT_CONFIG="/dev/null"))
        while not has_open(waiting.pid, f"{ledger}-lock"):
            assert waiting.poll() is None
        site("app.config", "Shop", 49002)
    assert waiting.communicate(timeout=30)[0] == "49000\n"
    assert nextport("next", "--iis-config", file).port == 49003


def test_a_configured_use_confirms_a_lease(nextport, site):
    assert nextport("next").port == 49000
    file = site("app.config", "Shop", 49000)
    assert nextport("next", "--iis-config", file).port == 49001
    lease, *_ = nextport("leases", "--format", "json").json["leases"]
    assert (lease["port"], lease["state"], lease["holder"], lease["expires"]) == (49000, "confirmed", "iis: Shop", None)
