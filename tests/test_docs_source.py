"""docs/writing-a-source.md from its beginning to its end, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo import ROOT

PAGE = (ROOT / "docs" / "writing-a-source.md").read_text("utf-8")
MARK = "-- a line that stands on no page --"
EXAMPLE = ROOT / "examples" / "source-plugin"

#: what stands before a block, its language and its text
BLOCKS = re.findall(r"([^\n]*)\n\n```(\w+)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def name_of(before):
    """The file that a block is, by the line before it."""
    return re.findall(r"`([\w./]+\.\w+)`", before)[-1]


def commands_of(text):
    """Each command of a console block, and what the page shows that it says."""
    return [part.split("\n", 1) for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]


def trimmed(text):
    """A text without the white space that fills its lines."""
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


FILES = [(name_of(before), text) for before, language, text in BLOCKS if language != "console"]
COMMANDS = [
    pair for _, language, text in BLOCKS if language == "console" for pair in commands_of(text)
]


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each command says when a reader does what the page says, in one shell."""
    folder = tmp_path_factory.mktemp("page")
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "80",
        "PYTEST_ADDOPTS": "-p no:cacheprovider -p no:hypothesispytest",
        # Packages go into a folder of their own, without the network.
        "PYTHONPATH": str(folder / "site"),
        "PIP_TARGET": str(folder / "site"),
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of build_isolation
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    script = ["exec 2>&1"]
    for before, language, text in BLOCKS:
        if language == "console":
            script += [f"{command}\necho '{MARK}'" for command, _ in commands_of(text)]
        else:
            script += [f"cat > {name_of(before)} <<'{MARK}'\n{text}{MARK}"]
    shell = subprocess.run(
        ["bash"],  # noqa: S607
        cwd=folder,
        env=environ,
        input="\n".join(script),
        capture_output=True,
        text=True,
        check=False,
    )
    return [trimmed(part) for part in shell.stdout.split(f"{MARK}\n")]


@pytest.mark.parametrize("at", range(len(COMMANDS)), ids=[command for command, _ in COMMANDS])
def test_a_command_says_what_the_page_shows(said, at):
    _, shown = COMMANDS[at]
    # `...` stands for anything.
    pattern = re.escape(shown).replace(r"\.\.\.", ".*")

    assert re.fullmatch(pattern, said[at], re.DOTALL), said[at]


def test_the_last_files_are_those_of_the_example():
    last = dict(FILES)

    for name in ("loyalty_club.py", "test_loyalty_club.py"):
        assert last[name] == EXAMPLE.joinpath(name).read_text("utf-8")


def test_every_page_that_it_links_to_is_there():
    for target in re.findall(r"\]\((?!https:)([^)#]+)", PAGE):
        assert ROOT.joinpath("docs", target).exists(), target
