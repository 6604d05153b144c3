"""YARA with the built-in rules: what they find, and what they must not."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from aupgate.inspection.scanners.base import Answer
from aupgate.inspection.scanners.yara import YaraScanner
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
