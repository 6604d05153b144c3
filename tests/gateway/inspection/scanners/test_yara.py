"""YARA with the built-in rules: what they find, and what they must not."""

import asyncio
import re
import threading
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aupgate.inspection.scanners.base import Answer, ScanResult
from aupgate.inspection.scanners.yara import KEPT, YaraScanner, _scanners
from aupgate.inspection.spool import Spool
from tests.gateway.inspection.files import gzipped, noise, office, pdf, picture, spooled
from tests.services import EICAR


@pytest.fixture(scope="module")
def scanner() -> Iterator[YaraScanner]:
    scanner = YaraScanner("yara", [], 30.0)
    yield scanner
    scanner.close()


JPEG = picture("JPEG")

FOUND = {
    "EICAR": (EICAR, "Eicar_Test_File"),
    "EICAR with a line end": (EICAR + b"\r\n", "Eicar_Test_File"),
    "EICAR with white space": (EICAR + b" \t\n\x1a" * 15, "Eicar_Test_File"),
    "a PHP shell": (b"<?php eval($_POST['x']);", "PHP_Web_Shell"),
    "a PHP shell in capitals": (b"<?PHP\nSYSTEM($_GET['c']);", "PHP_Web_Shell"),
    "a PHP shell that hides its input": (b"<?php @assert(base64_decode(strrev($_COOKIE['x'])));", "PHP_Web_Shell"),
    "a PHP shell with a function from outside": (b"<?php $_GET['f']($_POST['x']);", "PHP_Web_Shell"),
    "a PHP shell in backticks": (b"<?=`$_GET[0]`?>", "PHP_Web_Shell"),
    "a PHP shell in a GIF": (b"GIF89a;<?php system($_GET['c']); ?>", "PHP_Web_Shell_In_Picture"),
    "a PHP shell behind a JPEG": (JPEG + b"<?php passthru($_REQUEST['c']);", "PHP_Web_Shell_In_Picture"),
    "PHP that unfolds itself": (b"<?php eval(gzinflate(base64_decode('eJwr')));", "PHP_Hidden_Evaluation"),
    "a JSP shell": (
        b'<%@ page import="java.io.*" %><% Runtime.getRuntime().exec(request.getParameter("c")); %>',
        "JSP_Web_Shell",
    ),
    "an ASP shell": (b'<%eval request("x")%>', "ASP_Web_Shell"),
    "an ASP.NET shell": (b'<%@ Page Language="C#" %><% Process.Start("cmd", Request.Form["c"]); %>', "ASP_Web_Shell"),
}


@pytest.mark.parametrize(("data", "rule"), FOUND.values(), ids=FOUND.keys())
@pytest.mark.parametrize("memory", [10**8, 0], ids=["in memory", "on disk"])
async def test_the_built_in_rules_find_it(scanner: YaraScanner, data: bytes, rule: str, memory: int) -> None:
    with spooled(data, memory) as content:
        result = await scanner.scan(content)
    assert (result.answer, result.signature) == (Answer.INFECTED, rule)


CLEAN = {
    "a document that quotes EICAR": b"The EICAR file is: " + EICAR,
    "EICAR with something behind it": EICAR + b"\nis what the file looks like",
    "a part of EICAR": EICAR[:60],
    "EICAR with too much white space": EICAR + b" " * 61,
    "an article about PHP shells": b"# Shells\n\n```php\n<?php eval($_POST['x']);\n```\n" * 5,
    "an HTML article about PHP shells": b"<html><pre>&lt;?php <?php system($_GET['c']); ?></pre></html>",
    "an ordinary PHP page": b"<?php echo htmlspecialchars($_POST['name']); $db->exec($query); ?>",
    "a PHP template": b"<?= htmlspecialchars($_GET['page'] ?? 'home') ?>",
    "an ordinary JSP page": b'<%@ page contentType="text/html" %><%= request.getParameter("q") %>',
    "an ordinary ASP page": b'<%@ Language=VBScript %><% Response.Write Server.HTMLEncode(Request("q")) %>',
    "JavaScript": b"const evaluate = (x) => eval(x); system(`${process.argv}`)",
    "nothing": b"",
    "text": b"Dear Sir or Madam,\nplease find attached the invoice.\n" * 200,
    "a photo": picture("JPEG", (300, 300)),
    "a PDF": pdf(),
    "a letter": office(),
    "noise": noise(500_000),
    "compressed noise": gzipped(noise(100_000)),
}


@pytest.mark.parametrize("data", CLEAN.values(), ids=CLEAN.keys())
async def test_the_built_in_rules_leave_people_alone(scanner: YaraScanner, data: bytes) -> None:
    with spooled(data) as content:
        assert (await scanner.scan(content)).answer is Answer.CLEAN


async def test_no_file_of_the_standard_library_matches(scanner: YaraScanner) -> None:
    for path in sorted(Path(tomllib.__file__).parent.parent.glob("*.py"))[:100]:
        with spooled(path.read_bytes()) as content:
            assert (await scanner.scan(content)).answer is Answer.CLEAN, path


def at_once(scanner: YaraScanner, content: Spool) -> bool:
    """Whether a scan ends without waiting for anything, and so on the thread of its caller."""

    async def scan() -> bool:
        task = asyncio.create_task(scanner.scan(content))
        await asyncio.sleep(0)
        ended = task.done()
        await task
        return ended

    return asyncio.run(scan())


SEARCHED = {
    "a PHP page": b"<?php $_GET[$_GET[",
    "a PHP page behind a byte order mark": b"\xef\xbb\xbf<?PHP $_GET[$_GET[",
    "a short tag": b"<?=$_GET[$_GET[",
    "an ASP page": b" <% request (request (",
    "a PNG image": b"\x89PNG\r\n\x1a\n$_GET[$_GET[",
    "a JPEG image": b"\xff\xd8\xff$_GET[$_GET[",
    "a GIF image": b"GIF89a$_GET[$_GET[",
    "EICAR": EICAR,
}


@pytest.mark.parametrize("data", SEARCHED.values(), ids=SEARCHED.keys())
def test_what_the_rules_search_is_scanned_off_the_event_loop(scanner: YaraScanner, data: bytes) -> None:
    with spooled(data) as content:
        assert not at_once(scanner, content)


BOUNDED = {
    "JSON": b'{"a": "$_GET[$_GET["}',
    "a form": b"a=request+(request+(",
    "XML": b"<?xml version='1.0'?><a/>",
    "text that quotes a page": b"12345<?php $_GET[$_GET[",
    "64 KiB": b"$_GET[" * 10_000,
    "nothing": b"",
}


@pytest.mark.parametrize("data", BOUNDED.values(), ids=BOUNDED.keys())
def test_what_is_small_and_in_memory_is_scanned_at_once(scanner: YaraScanner, data: bytes) -> None:
    with spooled(data) as content:
        assert at_once(scanner, content)


def test_what_is_large_or_on_disk_is_scanned_off_the_event_loop(scanner: YaraScanner) -> None:
    with spooled(bytes(70_000), 80_000) as large, spooled(b"small", 0) as on_disk:
        assert not at_once(scanner, large)
        assert not at_once(scanner, on_disk)


def test_rules_of_ones_own_never_run_on_the_event_loop(tmp_path: Path) -> None:
    own = tmp_path / "own.yar"
    own.write_text("rule Never { condition: false }")
    scanner = YaraScanner("yara:own.yar", [own], 30.0)
    with spooled(b"{}") as content:
        assert not at_once(scanner, content)
    scanner.close()


CONDITION = re.compile(r"^    condition:\s*(.*?)^}", re.MULTILINE | re.DOTALL)
BEGINNING = re.compile(
    r"filesize <=? \w+\s+and (for any i in \(0 \.\. 4\) : \(uint16be\(i\) == 0x3C(25|3F and [^$]+)\)"
    r"|uint32be\(0\) == 0x58354F21"
    r"|\(uint32be\(0\) == 0x89504E47 or uint16be\(0\) == 0xFFD8 or uint32be\(0\) == 0x47494638\))\s+and "
)


def test_every_built_in_rule_compares_the_beginning_before_it_names_a_pattern() -> None:
    """YARA-X searches as soon as a condition names one, and what it searches must not be scanned on the event loop."""
    folder = resources.files("aupgate.inspection").joinpath("rules")
    conditions = [found for each in folder.iterdir() for found in CONDITION.findall(each.read_text(encoding="utf-8"))]
    assert len(conditions) >= 6
    for condition in conditions:
        assert BEGINNING.match(condition), condition


@given(
    st.sampled_from([b"", b" ", b"1234", b"12345", b"\xef\xbb\xbf", b"GIF8", b"\xff\xd8", b"\x89PNG"]),
    st.sampled_from([b"<?php ", b"<?PhP\n", b"<?=", b"<%", b"<?xml ", b""]),
    st.sampled_from([data for data, _ in FOUND.values()] + [b"eval($_POST[1])", b"`$_GET[0]`", b"text"]),
)
def test_what_is_scanned_at_once_matches_no_rule(scanner: YaraScanner, before: bytes, tag: bytes, rest: bytes) -> None:
    with spooled(before + tag + rest) as content:
        if asyncio.run(scanner.scan(content)).answer is not Answer.CLEAN:
            assert not at_once(scanner, content)


def test_several_event_loops_in_threads_of_their_own_share_the_rules(scanner: YaraScanner) -> None:
    """YARA-X lets a thread use only the scanners that it made, and free them."""
    answers: list[ScanResult] = []

    def serve() -> None:
        with spooled(b"{}") as content:
            answers.append(asyncio.run(scanner.scan(content)))

    for _ in range(2):
        thread = threading.Thread(target=serve)
        thread.start()
        thread.join()
    serve()
    assert [result.answer for result in answers] == [Answer.CLEAN] * 3


async def test_a_thread_keeps_a_bounded_number_of_scanners() -> None:
    for _ in range(10):
        scanner = YaraScanner("yara", [], 30.0)
        with spooled(b"{}") as content:
            assert (await scanner.scan(content)).answer is Answer.CLEAN
        scanner.close()
    assert len(_scanners.by_rules) <= KEPT


async def test_a_scanner_is_as_good_as_new_after_a_scan_that_took_too_long(tmp_path: Path) -> None:
    own = tmp_path / "own.yar"
    pairs = "for all i in (0 .. 10000000000) : (i * 3 != 7)"
    own.write_text(
        f'rule Slow {{ condition: filesize > 100 and {pairs} }} rule Word {{ strings: $a = "xyzzy" condition: $a }}'
    )
    scanner = YaraScanner("yara", [own], 1.0)
    for data, answer in ((b"xyzzy", Answer.INFECTED), (b"xyzzy" * 50, Answer.ERROR), (b"plugh", Answer.CLEAN)):
        with spooled(data) as content:
            assert (await scanner.scan(content)).answer is answer
    scanner.close()


async def test_rules_of_ones_own_are_added_to_the_built_in_ones(tmp_path: Path) -> None:
    own = tmp_path / "own.yar"
    own.write_text('rule Forbidden_Word { strings: $a = "xyzzy" condition: $a }')
    scanner = YaraScanner("yara:own.yar", [own], 30.0)
    for data, signature in ((b"say xyzzy", "Forbidden_Word"), (EICAR, "Eicar_Test_File"), (b"plugh", "")):
        with spooled(data) as content:
            result = await scanner.scan(content)
        assert (result.scanner, result.signature) == ("yara:own.yar", signature)
    scanner.close()


async def test_a_rule_may_ask_for_the_whole_of_a_large_file(tmp_path: Path) -> None:
    own = tmp_path / "own.yar"
    own.write_text('rule Both { strings: $a = "first" $b = "last" condition: $a at 0 and $b at filesize - 4 }')
    scanner = YaraScanner("yara", [own], 30.0)
    with spooled(b"first" + bytes(3_000_000) + b"last") as content:
        assert (await scanner.scan(content)).signature == "Both"
    scanner.close()


async def test_a_scan_that_takes_too_long_is_an_error_and_no_pass(tmp_path: Path) -> None:
    own = tmp_path / "own.yar"
    pairs = "for any i in (0 .. filesize) : (for any j in (0 .. filesize) : (uint8(i) + uint8(j) > 999))"
    own.write_text(f"rule Slow {{ condition: {pairs} }}")
    scanner = YaraScanner("yara", [own], 1.0)
    with spooled(bytes(200_000)) as content:
        result = await scanner.scan(content)
    scanner.close()
    assert result.answer is Answer.ERROR
    assert result.reason


def test_rules_that_include_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.yar").write_text("rule other { condition: true }")
    own = tmp_path / "own.yar"
    own.write_text(f'include "{tmp_path}/other.yar"')
    with pytest.raises(ValueError, match="compile"):
        YaraScanner("yara", [own], 1.0)
