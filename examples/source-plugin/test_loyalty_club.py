"""What every source has to do, and what this one does besides."""

import pytest
from loyalty_club import LoyaltySource

from imbox_plugin.sources import Key, SourceContext, SourceError
from imbox_plugin.testing import SourceContract

MEMBERS = """\
M1001  Ada Öst        Ada@Example.com     070-174 06 05     1250
M1002  Bo Ek          bo@example.com      +46 70 174 06 06    80
"""


def club(folder):
    options = {"file": "members.txt", "voucher_secret": "known to these tests alone"}
    context = SourceContext(folder=folder, default_region="SE")
    return LoyaltySource(LoyaltySource.Options().load(options), context)


class TestLoyaltySource(SourceContract):
    known = {Key.EXTERNAL_ID: "M1001", Key.EMAIL: "ada@example.com", Key.PHONE: "070-1740605"}
    name = "Ada Öst"

    @pytest.fixture
    def source(self, tmp_path):
        tmp_path.joinpath("members.txt").write_text(MEMBERS, "utf-8")
        return club(tmp_path)

    @pytest.fixture
    def broken(self, tmp_path):
        return club(tmp_path / "there is no list here")

    def test_a_member_has_points_and_a_voucher(self, source):
        (ada,) = self.ask(source, Key.EMAIL)

        assert ada.details == {"points": 1250, "voucher": "0f0deb54"}

    def test_a_line_that_is_none_is_not_taken_for_a_stranger(self, source, tmp_path):
        tmp_path.joinpath("members.txt").write_text("M1001 and then the disk was full", "utf-8")

        with pytest.raises(SourceError, match="run the till's export"):
            self.ask(source, Key.EMAIL)
