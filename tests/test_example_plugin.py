"""The example of a plugin, installed as any package is, and used by its type."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from imbox_plugin import cli
from imbox_plugin.app import create_app
from tests.demo import ROOT

EXAMPLE = ROOT / "examples" / "source-plugin"
MEMBERS = "M1001  Ada Öst        Ada@Example.com     070-174 06 05     1250\n"
KEY = "0123456789abcdef0123456789abcdef"
ENVIRON = {"IMBOX_API_KEY": KEY, "VOUCHER_SECRET": "known to these tests alone"}


def run(*arguments, folder, **environ):
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder that the example is installed in, from a copy, as building leaves files behind."""
    copy = tmp_path_factory.mktemp("example") / "source-plugin"
    shutil.copytree(EXAMPLE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    site = tmp_path_factory.mktemp("site")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    done = run("pip", "install", "--quiet", *offline, "--target", str(site), ".", folder=copy)
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture
def installed(site, monkeypatch):
    """The example among the packages of this process."""
    monkeypatch.syspath_prepend(site)
    yield
    for module in ("loyalty_club", "member_page"):
        sys.modules.pop(module, None)


@pytest.fixture
def settings(tmp_path):
    """The settings of its README, beside a list of members."""
    readme = EXAMPLE.joinpath("README.md").read_text("utf-8")
    tmp_path.joinpath("members.txt").write_text(MEMBERS, "utf-8")
    file = tmp_path / "imbox.toml"
    file.write_text(re.search(r"```toml\n(.*?)```", readme, re.DOTALL)[1], "utf-8")
    return file


def test_its_own_tests_pass_against_what_is_installed(site, tmp_path):
    for file in EXAMPLE.glob("test_*.py"):
        shutil.copy(file, tmp_path)

    arguments = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    done = run("pytest", *arguments, folder=tmp_path, PYTHONPATH=str(site))

    assert done.returncode == 0, done.stdout
    assert re.search(r"== \d+ passed in", done.stdout), "some were skipped"


def test_a_member_is_found_by_the_type_that_the_package_adds(installed, settings):
    client = create_app(settings, ENVIRON).test_client()
    card = client.get("/imbox?view=call&phone=%2B46701740605", auth=("", KEY)).json

    assert card["contactName"] == "Ada Öst"
    assert card["contactLink"]["url"] == "https://club.example.com/lund/member?number=M1001"
    assert "1250" in str(card["blocks"])


def test_flask_sources_says_which_package_it_is_from(installed, settings):
    result = CliRunner().invoke(cli.sources, env={"IMBOX_SETTINGS": str(settings)})

    assert result.exit_code == 0
    assert "loyalty, imbox-source-loyalty 0.1.0. The members of the loyalty club." in result.output
    assert "loyalty, imbox-source-loyalty 0.1.0. A member's page" in result.output


def test_nothing_of_it_is_imported_while_its_type_is_not_configured(installed, settings):
    inline = 'type = "inline"\npeople = []\n'
    text = re.sub(r'type = "loyalty"\n(file|voucher).*\n', inline, settings.read_text("utf-8"))
    text = text.replace('voucher_secret = { env = "VOUCHER_SECRET" }\n', "")
    settings.write_text(text.partition("[[panels.default.links]]")[0], "utf-8")

    create_app(settings, ENVIRON)

    assert not {"loyalty_club", "member_page"} & sys.modules.keys()
