"""What packs say: which clauses the built-in ones have, how own ones are read, and which clauses a rule touches."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aupgate
from aupgate.errors import ConfigError, PackError
from aupgate.model import Clause
from aupgate.packs import BUILT_IN, MAX_CACHED_RULES, MAX_CLAUSES, MAX_FILE_BYTES, MAX_PACKS, ClauseIndex, Pack, load

DOCS = Path(__file__).parents[2] / "docs" / "packs.md"

INFINCE = [
    "acceptance", "accomplice", "content.illegal", "content.infringing", "content.offensive", "content.harmful",
    "security.access", "security.interception", "security.origin", "security.corrupt_files", "network.connections",
    "network.crawling", "network.flooding", "network.interference", "network.services", "network.evasion",
    "protection", "mail", "enforcement", "minors", "reports",
]  # fmt: skip

CIMCON = [
    "acceptance", "affiliates", "access.transfer", "disruption.probing", "disruption.tampering",
    "disruption.integrity", "disruption.deciphering", "disruption.overload", "disruption.robots",
    "disruption.parameters", "disruption.storage", "hosting", "wrongful.misrepresentation", "wrongful.privacy",
    "wrongful.stalking", "wrongful.law", "wrongful.interfaces", "wrongful.hidden_text", "communications.unsolicited",
    "communications.soliciting", "communications.disparaging", "content.rights", "content.harmful_to_minors",
    "content.sexual", "content.hateful", "content.other_damage", "content.malicious", "remedies",
]  # fmt: skip

RULES = [
    "protocol.framing", "protocol.syntax", "protocol.host", "protocol.method", "protocol.target",
    "protocol.header_size", "headers.spoofed", "headers.override", "interfaces.denied", "interfaces.unknown_path",
    "interfaces.method", "interfaces.media_type", "interfaces.open_proxy", "scrapers.scraper", "scrapers.ai_crawler",
    "scrapers.browser_automation", "scrapers.scanner", "scrapers.http_library", "scrapers.unknown_bot",
    "scrapers.empty_agent", "scrapers.denied_agent", "rate_limits.api", "rate_limits.human_pace",
    "rate_limits.concurrency", "uploads.too_large", "uploads.infected", "uploads.corrupt", "uploads.mismatched_type",
    "uploads.forbidden_type", "uploads.malformed", "uploads.bomb", "uploads.encrypted", "uploads.encoding",
]  # fmt: skip
"""The rules that a client can break."""

FAMILIES = [
    "protocol", "headers", "networks", "interfaces", "scrapers", "rate_limits", "probes", "credentials", "uploads",
    "content", "messages", "egress", "sharing", "storage", "minors", "acceptance", "ledger", "reports",
]  # fmt: skip

GOOD = """
id = "acme"
name = "Acme Policy"
[[clauses]]
id = "acme.first"
title = "First"
summary = "Be first."
controls = ["uploads.infected"]
"""


@dataclass
class Folder:
    """A folder with pack files in it."""

    path: Path

    def write(self, name: str, text: str) -> str:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return name

    def load(self, *names: str) -> list[Pack]:
        return load(names, self.path)

    def problems(self, *names: str) -> list[str]:
        with pytest.raises(PackError) as caught:
            self.load(*names)
        return str(caught.value).replace(f"{self.path}/", "").splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path.resolve())


def pack(pack_id: str, *, extends: str = "[]", controls: str = '["uploads.infected"]') -> str:
    text = GOOD.replace("acme", pack_id).replace('["uploads.infected"]', controls)
    return f"extends = {extends}\n{text}"


def ids(clauses: tuple[Clause, ...]) -> list[str]:
    return [clause.id for clause in clauses]


class TestBuiltInPacks:
    @pytest.mark.parametrize(
        ("name", "expected"), [("infince", INFINCE), ("cimcon", CIMCON)], ids=["infince", "cimcon"]
    )
    def test_have_exactly_the_clauses_of_their_text(self, name: str, expected: list[str]) -> None:
        (read,) = load([name], Path())
        assert ids(read.clauses) == [f"{name}.{clause}" for clause in expected]

    def test_infince_and_cimcon_together_have_49_clauses(self) -> None:
        assert len(ClauseIndex(load(["infince", "cimcon"], Path())).clauses) == 49

    def test_every_file_that_is_shipped_is_known_by_its_name(self) -> None:
        shipped = (Path(aupgate.__file__).parent.parent / "policies" / "clauses").glob("*.toml")
        assert sorted(path.stem for path in shipped) == sorted(BUILT_IN)

    @pytest.mark.parametrize("name", BUILT_IN)
    def test_carry_their_own_name_as_id(self, name: str) -> None:
        assert [read.id for read in load([name], Path())] == [name]

    def test_infince_gives_its_date_to_every_clause(self) -> None:
        (read,) = load(["infince"], Path())
        assert {read.effective, *(clause.effective for clause in read.clauses)} == {date(2019, 8, 1)}

    def test_cimcon_bears_no_date(self) -> None:
        (read,) = load(["cimcon"], Path())
        assert {read.effective, *(clause.effective for clause in read.clauses)} == {None}

    @pytest.mark.parametrize("name", BUILT_IN)
    @pytest.mark.parametrize("rule", RULES)
    def test_cite_a_clause_for_every_rule_that_a_client_can_break(self, name: str, rule: str) -> None:
        assert ClauseIndex(load([name], Path())).for_rule(rule)

    @pytest.mark.parametrize("rule", ["uploads.scanner_unavailable", "internal.error"])
    def test_accuse_nobody_of_what_is_no_offence(self, rule: str) -> None:
        assert ClauseIndex(load(BUILT_IN, Path())).for_rule(rule) == ()

    @pytest.mark.parametrize("family", FAMILIES)
    def test_default_covers_every_family_of_rules(self, family: str) -> None:
        controls = {control.partition(".")[0] for _, control in ClauseIndex(load(["default"], Path())).controls}
        assert family in controls

    @pytest.mark.parametrize("name", BUILT_IN)
    def test_summarise_in_one_or_two_sentences(self, name: str) -> None:
        (read,) = load([name], Path())
        for text in [text for clause in read.clauses for text in (clause.summary, clause.person) if text]:
            assert text.endswith(".")
            assert len(re.findall(r"[.!?](?:\s|$)", text)) <= 2
            assert len(text) <= 200


class TestClausesOfARule:
    @pytest.mark.parametrize(
        ("rule", "expected"),
        [
            ("uploads.bomb", ["infince.content.harmful", "cimcon.content.other_damage"]),
            ("networks.countries", ["cimcon.wrongful.law"]),
            ("scrapers.http_library", ["infince.network.crawling", "cimcon.wrongful.interfaces"]),
            ("interfaces.open_proxy", ["infince.network.services", "cimcon.wrongful.interfaces"]),
            ("uploads", []),
            ("uploads.infected.twice", []),
            ("upload.infected", []),
            ("", []),
        ],
        ids=["exact", "policy", "mixed-1", "mixed-2", "policy-alone", "longer", "misspelt", "empty"],
    )  # fmt: skip
    def test_are_those_that_name_it_or_its_policy(self, rule: str, expected: list[str]) -> None:
        assert ids(ClauseIndex(load(["infince", "cimcon"], Path())).for_rule(rule)) == expected

    def test_follow_the_order_of_the_packs(self) -> None:
        index = ClauseIndex(load(["cimcon", "infince"], Path()))
        assert ids(index.for_rule("networks.tls_required")) == [
            "cimcon.disruption.deciphering",
            "infince.security.interception",
        ]

    def test_only_the_limit_at_human_pace_enforces_the_clause_on_robots(self) -> None:
        index = ClauseIndex(load(["cimcon"], Path()))
        assert "cimcon.disruption.robots" in ids(index.for_rule("rate_limits.human_pace"))
        assert "cimcon.disruption.robots" not in ids(index.for_rule("rate_limits.api"))

    def test_a_limit_also_cites_the_clauses_it_names_in_order_and_none_twice(self) -> None:
        index = ClauseIndex(load(["cimcon"], Path()))
        named = ["cimcon.remedies", "cimcon.disruption.robots", "cimcon.disruption.parameters"]
        assert ids(index.for_rule("rate_limits.api", named)) == [
            "cimcon.disruption.integrity",
            "cimcon.disruption.overload",
            "cimcon.disruption.robots",
            "cimcon.disruption.parameters",
            "cimcon.remedies",
        ]

    def test_a_clause_that_no_pack_has_cannot_be_named(self) -> None:
        index = ClauseIndex(load(["cimcon"], Path()))
        assert index.get("infince.mail") is None
        with pytest.raises(KeyError, match=r"infince\.mail"):
            index.for_rule("rate_limits.api", ["infince.mail"])

    def test_are_looked_up_once(self) -> None:
        index = ClauseIndex(load(["cimcon"], Path()))
        assert index.for_rule("uploads.infected") is index.for_rule("uploads.infected", [])

    def test_stay_right_when_more_rules_are_asked_for_than_are_remembered(self) -> None:
        index = ClauseIndex(load(["cimcon"], Path()))
        before = index.for_rule("uploads.infected")
        for number in range(MAX_CACHED_RULES + 1):
            index.for_rule(f"rate_limits.{number}")
        assert index.for_rule("uploads.infected") == before

    def test_a_clause_is_found_by_its_id(self) -> None:
        found = ClauseIndex(load(["infince"], Path())).get("infince.mail")
        assert found is not None
        assert (found.pack, found.title) == ("infince", "Abuse of mail and messages")

    def test_every_control_comes_with_its_clause(self, folder: Folder) -> None:
        folder.write("a.toml", pack("a", controls='["uploads", "probes.injection"]'))
        index = ClauseIndex(folder.load("a.toml"))
        assert [(clause.id, control) for clause, control in index.controls] == [
            ("a.first", "uploads"),
            ("a.first", "probes.injection"),
        ]


class TestExtends:
    def test_a_refusal_cites_the_own_clause_and_then_those_it_extends(self, folder: Folder) -> None:
        folder.write("acme.toml", pack("acme", extends='["cimcon"]'))
        index = ClauseIndex(folder.load("acme.toml"))
        assert ids(index.for_rule("uploads.infected")) == ["acme.first", "cimcon.content.malicious"]

    def test_goes_depth_first_and_takes_each_pack_once(self, folder: Folder) -> None:
        folder.write("a.toml", pack("a", extends='["b.toml", "c.toml"]'))
        folder.write("b.toml", pack("b", extends='["d.toml"]'))
        folder.write("c.toml", pack("c", extends='["./d.toml", "default"]'))
        folder.write("d.toml", pack("d"))
        packs = folder.load("a.toml", "default", "d.toml", "infince")
        assert [read.id for read in packs] == ["a", "b", "d", "c", "default", "infince"]

    def test_a_chain_is_a_pack_and_what_it_extends_at_any_depth(self, folder: Folder) -> None:
        folder.write("a.toml", pack("a", extends='["b.toml", "cimcon"]'))
        folder.write("b.toml", pack("b", extends='["cimcon"]'))
        index = ClauseIndex(folder.load("infince", "a.toml"))
        chains = {name: [read.id for read in index.chain(name)] for name in ("a", "b", "infince", "nowhere")}
        assert chains == {"a": ["a", "b", "cimcon"], "b": ["b", "cimcon"], "infince": ["infince"], "nowhere": []}

    def test_a_path_is_relative_to_the_file_it_stands_in(self, folder: Folder) -> None:
        folder.write("own/acme.toml", pack("acme", extends='["../group/base.toml"]'))
        folder.write("group/base.toml", pack("base"))
        assert [read.id for read in folder.load("own/acme.toml")] == ["acme", "base"]

    def test_a_circle_is_refused_and_shown(self, folder: Folder) -> None:
        folder.write("a.toml", pack("a", extends='["b.toml"]'))
        folder.write("b.toml", pack("b", extends='["a.toml"]'))
        assert folder.problems("a.toml") == [
            "b.toml:1: extends = 'a.toml': extends itself: a.toml -> b.toml -> a.toml; take one of them out"
        ]

    def test_a_pack_that_extends_itself_is_refused(self, folder: Folder) -> None:
        folder.write("a.toml", pack("a", extends='["a.toml"]'))
        (problem,) = folder.problems("a.toml")
        assert "a.toml -> a.toml" in problem

    def test_an_endless_chain_of_packs_is_cut_off(self, folder: Folder) -> None:
        for number in range(MAX_PACKS + 3):
            folder.write(f"p{number}.toml", pack(f"p{number}", extends=f'["p{number + 1}.toml"]'))
        (problem,) = folder.problems("p0.toml")
        assert (
            problem == f"p{MAX_PACKS - 1}.toml:1: extends = 'p{MAX_PACKS}.toml': is one pack too many; there may be 32"
        )


class TestOwnPack:
    def test_is_read_whole(self, folder: Folder) -> None:
        folder.write(
            "acme.toml",
            'url = "https://acme.example/aup"\ntitle = "Acme"\neffective = 2026-01-31\n'
            + GOOD
            + 'person = "Somebody."\nreference = "#first"\n',
        )
        (read,) = folder.load("acme.toml")
        assert (read.id, read.name, read.title, read.effective) == ("acme", "Acme Policy", "Acme", date(2026, 1, 31))
        (clause,) = read.clauses
        assert (clause.person, clause.url, clause.effective) == (
            "Somebody.",
            "https://acme.example/aup#first",
            date(2026, 1, 31),
        )

    def test_without_title_goes_by_its_name(self, folder: Folder) -> None:
        folder.write("acme.toml", GOOD)
        assert folder.load("acme.toml")[0].title == "Acme Policy"

    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            ("", "https://acme.example/aup"),
            ('reference = "#p"', "https://acme.example/aup#p"),
            ('reference = "https://x.example/p"', "https://x.example/p"),
        ],
        ids=["none", "fragment", "address"],
    )
    def test_links_a_clause_to_where_it_is_read(self, folder: Folder, reference: str, expected: str) -> None:
        folder.write("acme.toml", f'url = "https://acme.example/aup"\n{GOOD}{reference}\n')
        assert folder.load("acme.toml")[0].clauses[0].url == expected

    def test_may_leave_a_clause_to_a_person_alone(self, folder: Folder) -> None:
        folder.write("acme.toml", GOOD.replace('controls = ["uploads.infected"]', 'person = "Somebody reads it."'))
        assert folder.load("acme.toml")[0].clauses[0].controls == ()

    def test_may_name_rules_that_do_not_exist(self, folder: Folder) -> None:
        folder.write("acme.toml", pack("acme", controls='["teleport", "teleport.beam", "rate_limits.v2-orders"]'))
        assert len(folder.load("acme.toml")[0].clauses[0].controls) == 3

    def test_may_be_a_changed_copy_of_a_built_in_one(self, folder: Folder) -> None:
        folder.write("mine.toml", pack("cimcon"))
        assert [read.id for read in folder.load("mine.toml")] == ["cimcon"]

    def test_without_a_date_takes_the_configured_one(self, folder: Folder) -> None:
        (read,) = load(["cimcon"], folder.path, effective={"cimcon": date(2026, 5, 1)})
        assert {read.effective, *(clause.effective for clause in read.clauses)} == {date(2026, 5, 1)}

    def test_a_date_for_a_pack_that_is_not_on_is_refused(self, folder: Folder) -> None:
        with pytest.raises(PackError, match=r"^configuration: aup\.effective\.cimcon: no pack that is on has this id$"):
            load(["infince"], folder.path, effective={"cimcon": date(2026, 5, 1)})


Edit = Callable[[str], str]


def swap(old: str, new: str) -> Edit:
    return lambda text: text.replace(old, new)


def add(line: str) -> Edit:
    return lambda text: f"{text}{line}\n"


PROBLEMS: dict[str, tuple[Edit, str]] = {
    "unknown-key": (swap('name = "', 'motto = "x"\nname = "'), "3: motto: unknown key; known are clauses, effe"),
    "unknown-clause-key": (add('colour = "red"'), "9: clauses[0].colour: unknown key; known are controls, id,"),
    "no-id": (swap('id = "acme"\n', ""), " id: is missing"),
    "no-name": (swap('name = "Acme Policy"\n', ""), " name: is missing"),
    "odd-id": (swap('"acme"', '"Acme!"'), "2: id = 'Acme!': must be a small letter"),
    "empty-name": (swap('"Acme Policy"', '" "'), "3: name = ' ': must be a text that is not empty"),
    "name-of-another-kind": (swap('"Acme Policy"', "3"), "3: name = 3: must be a text that is not empty"),
    "quoted-date": (swap('name = "', 'effective = "2026-01-31"\nname = "'), "3: effective = '2026-01-31': must"),
    "date-with-time": (swap('name = "', 'effective = 2026-01-31T00:00:00\nname = "'), "3: effective = 2026-01-31 00"),
    "url-without-scheme": (swap('name = "', 'url = "acme.example"\nname = "'), "3: url = 'acme.example': must be"),
    "url-that-runs-code": (swap('name = "', 'url = "javascript:x"\nname = "'), "3: url = 'javascript:x': must be"),
    "no-clauses": (lambda text: text.partition("[[")[0], " clauses: must be one or more [[clauses]] tables"),
    "clauses-of-another-kind": (swap("[[clauses]]", "[clauses]"), " clauses: must be one or more [[clauses]]"),
    "clause-of-another-pack": (swap("acme.first", "other.first"), "5: clauses[0].id = 'other.first': must be 'acm"),
    "clause-named-as-its-pack": (swap("acme.first", "acme"), "5: clauses[0].id = 'acme': must be 'acme.' and"),
    "clause-with-capitals": (swap("acme.first", "acme.First"), "5: clauses[0].id = 'acme.First': must be 'acme.'"),
    "clause-with-empty-word": (swap("acme.first", "acme.a..b"), "5: clauses[0].id = 'acme.a..b': must be 'acme.'"),
    "clause-without-title": (swap('title = "First"\n', ""), "4: clauses[0].title: is missing"),
    "clause-without-summary": (swap('summary = "Be first."\n', ""), "4: clauses[0].summary: is missing"),
    "clause-without-work": (swap('["uploads.infected"]', "[]"), "8: clauses[0].controls: names no rule"),
    "controls-as-text": (swap('["uploads.infected"]', '"uploads"'), "8: clauses[0].controls = 'uploads': must be a"),
    "control-of-another-kind": (swap('["uploads.infected"]', "[1]"), "8: clauses[0].controls = [1]: must be a list"),
    "control-with-space": (swap("uploads.infected", "uploads infected"), "8: clauses[0].controls = 'uploads infe"),
    "control-too-deep": (swap("uploads.infected", "a.b.c"), "8: clauses[0].controls = 'a.b.c': must be 'policy' or"),
    "control-with-star": (swap("uploads.infected", "uploads.*"), "8: clauses[0].controls = 'uploads.*': must be"),
    "control-twice": (swap('["uploads.infected"]', '["a", "a"]'), "8: clauses[0].controls = ['a', 'a']: names a ru"),
    "fragment-of-nothing": (add('reference = "#x"'), "9: clauses[0].reference = '#x': is a fragment"),
    "reference-in-words": (add('reference = "page 3"'), "9: clauses[0].reference = 'page 3': must be an address"),
    "reference-of-another-kind": (add("reference = 3"), "9: clauses[0].reference = 3: must be a text"),
    "extends-as-text": (swap('name = "', 'extends = "cimcon"\nname = "'), "3: extends = 'cimcon': must be a list"),
    "extends-unknown": (swap('name = "', 'extends = ["aws"]\nname = "'), "3: extends = 'aws': is no known pack; use"),
    "no-toml": (swap("id = ", "id := "), "2: not valid TOML"),
    "too-deep": (add("person = " + "[" * 50_000), " not valid TOML"),
}  # fmt: skip
"""What is done to a good pack, and how the message about it starts after `acme.toml:`."""


class TestMistakes:
    @pytest.mark.parametrize(("edit", "expected"), PROBLEMS.values(), ids=PROBLEMS)
    def test_are_told_with_file_line_key_value_and_what_is_expected(
        self, folder: Folder, edit: Edit, expected: str
    ) -> None:
        folder.write("acme.toml", edit(GOOD))
        problems = folder.problems("acme.toml")
        assert len(problems) == 1
        assert problems[0].startswith(f"acme.toml:{expected}")

    def test_are_told_all_at_once_in_the_order_of_the_files(self, folder: Folder) -> None:
        second = GOOD.partition("[[")[1] + GOOD.partition("[[")[2].replace('title = "First"', "titel = 1")
        folder.write("acme.toml", GOOD.replace('["uploads.infected"]', '["Uploads"]') + second)
        folder.write("other.toml", pack("other", extends='["nowhere.toml"]'))
        starts = [
            problem.partition(" = ")[0].partition(": ")[::2] for problem in folder.problems("acme.toml", "other.toml")
        ]
        assert [(place, key.partition(":")[0]) for place, key in starts] == [
            ("acme.toml:8", "clauses[0].controls"),
            ("acme.toml:9", "clauses[1].title"),
            ("acme.toml:10", "clauses[1].id"),
            ("acme.toml:11", "clauses[1].titel"),
            ("other.toml:1", "extends"),
        ]

    def test_two_clauses_may_not_share_an_id(self, folder: Folder) -> None:
        folder.write("acme.toml", GOOD + "".join(GOOD.partition("[[")[1:]))
        assert folder.problems("acme.toml") == [
            "acme.toml:10: clauses[1].id = 'acme.first': is the id of another clause too; give each clause its own"
        ]

    def test_two_packs_may_not_share_an_id(self, folder: Folder) -> None:
        folder.write("mine.toml", pack("cimcon"))
        assert folder.problems("cimcon", "mine.toml") == [
            "mine.toml: id = 'cimcon': is the id of another pack that is on; give each pack its own"
        ]

    def test_an_unknown_pack_is_told_the_built_in_ones_and_that_a_path_will_do(self, folder: Folder) -> None:
        expected = "is no known pack; use default, infince, cimcon or a path to your own .toml"
        assert folder.problems("infince", "acme") == [f"configuration: aup.packs[1] = 'acme': {expected}"]

    @pytest.mark.parametrize("name", ["../../etc/passwd", "", "default/", "INFINCE", "a\0.toml"])
    def test_what_is_neither_built_in_nor_toml_is_not_opened(self, folder: Folder, name: str) -> None:
        assert "is no known pack" in folder.problems(name)[0]

    def test_a_file_that_is_not_there_is_named(self, folder: Folder) -> None:
        (problem,) = folder.problems("gone.toml")
        assert problem == "configuration: aup.packs[0] = 'gone.toml': cannot be read: No such file or directory"

    def test_a_folder_is_no_pack(self, folder: Folder) -> None:
        (folder.path / "folder.toml").mkdir()
        assert "cannot be read" in folder.problems("folder.toml")[0]

    def test_a_file_that_is_not_utf_8_is_refused(self, folder: Folder) -> None:
        (folder.path / "latin.toml").write_bytes(b'id = "caf\xe9"')
        assert "not UTF-8" in folder.problems("latin.toml")[0]

    def test_a_file_of_just_the_greatest_size_is_read_and_one_byte_more_is_refused(self, folder: Folder) -> None:
        folder.write("acme.toml", GOOD + "#" * (MAX_FILE_BYTES - len(GOOD)))
        assert len(folder.load("acme.toml")) == 1
        folder.write("acme.toml", GOOD + "#" * (MAX_FILE_BYTES - len(GOOD) + 1))
        assert "larger than 256 KiB" in folder.problems("acme.toml")[0]

    def test_more_clauses_than_fit_are_refused(self, folder: Folder) -> None:
        clause = '[[clauses]]\nid="acme.c{}"\ntitle="T"\nsummary="S."\ncontrols=["a"]\n'
        head = GOOD.partition("[[")[0]
        folder.write("acme.toml", head + "".join(clause.format(number) for number in range(MAX_CLAUSES + 1)))
        assert "there are 1001 clauses; there may be 1000" in folder.problems("acme.toml")[0]

    def test_a_long_value_is_shortened(self, folder: Folder) -> None:
        folder.write("acme.toml", GOOD.replace("uploads.infected", "X" * 10_000))
        assert len(folder.problems("acme.toml")[0]) < 300

    def test_are_configuration_errors(self, folder: Folder) -> None:
        with pytest.raises(ConfigError):
            folder.load("acme")

    @given(st.text(max_size=200))
    def test_any_text_is_read_or_refused_as_a_pack(self, tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
        path = tmp_path_factory.mktemp("packs") / "any.toml"
        path.write_text(text, encoding="utf-8", errors="replace")
        with pytest.raises(PackError):
            load(["any.toml"], path.parent)


class TestDocumentation:
    """The examples of docs/packs.md are what they say."""

    @staticmethod
    def blocks() -> list[str]:
        return re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)

    @pytest.fixture
    def example(self, folder: Folder) -> ClauseIndex:
        (text,) = [block for block in self.blocks() if block.startswith("# acme.toml")]
        folder.write("acme.toml", text)
        return ClauseIndex(folder.load("acme.toml"))

    def test_every_block_is_toml(self) -> None:
        assert all(tomllib.loads(block) for block in self.blocks())

    def test_the_example_is_a_pack_that_extends_the_default(self, example: ClauseIndex) -> None:
        assert [read.id for read in example.packs] == ["acme", "default"]

    def test_the_example_cites_what_the_text_says(self, example: ClauseIndex) -> None:
        cited = example.for_rule("uploads.infected")
        lines = [f"{number}. `{clause.id}`, {clause.title}" for number, clause in enumerate(cited, 1)]
        assert len(lines) == 2
        assert all(line in DOCS.read_text(encoding="utf-8") for line in lines)
        assert cited[0].url in DOCS.read_text(encoding="utf-8")

    def test_the_limit_of_the_example_cites_its_clause(self, example: ClauseIndex) -> None:
        (text,) = [block for block in self.blocks() if "rate_limits.limits" in block]
        (limit,) = tomllib.loads(text)["policies"]["rate_limits"]["limits"]
        assert ids(example.for_rule(f"rate_limits.{limit['name']}", limit["clauses"])) == [
            "acme.orders",
            "default.load",
        ]

    def test_every_key_of_the_format_is_described(self) -> None:
        described = set(re.findall(r"^\| `(\w+)` \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE))
        written = {
            "id",
            "name",
            "title",
            "effective",
            "url",
            "extends",
            "clauses",
            "summary",
            "controls",
            "person",
            "reference",
        }
        assert written <= described
