"""Multipart bodies: what clients send is read, and every shape that parsers read differently is refused by its name."""

import http.server
import io
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.formparser import FormDataParser

from aupgate.inspection.multipart import MAX_HEADERS, MultipartShapeError, boundary, parts
from tests.gateway.inspection.files import noise, spooled

TYPE = b"multipart/form-data; boundary=BOUND"
Read = list[tuple[str, str | None, str, bytes]]


def read(body: bytes, content_type: bytes = TYPE, memory: int = 10**8) -> Read:
    with spooled(body, memory) as spool:
        return [
            (part.name, part.filename, part.type, spool.read(part.start, part.size))
            for part in parts(spool, content_type, 1000)
        ]


def part(*head: str, content: bytes = b"content") -> bytes:
    return "\r\n".join(("--BOUND", *head, "", "")).encode() + content + b"\r\n"


def body(*head: str, content: bytes = b"content") -> bytes:
    return part(*head, content=content) + b"--BOUND--\r\n"


def disposition(text: str) -> bytes:
    return body(f"Content-Disposition: {text}")


FIELD = 'Content-Disposition: form-data; name="field"'
FILE = 'Content-Disposition: form-data; name="file"; filename="a.png"'

NAMES = {
    "plain": "photo.png",
    "accents": "naïve résumé.pdf",
    "Japanese": "日本語.txt",
    "a smiley": "smile😀.jpg",
    "quotation marks": 'say "hi".txt',
    "a semicolon": "a; filename=b.txt",
    "a percent sign": "100%.txt",
    "spaces": " a b .txt",
    "a line end": "a\nb.txt",
}


def sent_by_httpx(name: str, content: bytes = b"content") -> tuple[bytes, bytes]:
    request = httpx.Request("POST", "http://app/", files={"file": (name, content, "text/plain")}, data={"field": "é"})
    return request.read(), request.headers["content-type"].encode()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_what_httpx_sends_is_read(name: str) -> None:
    sent, type_ = sent_by_httpx(name)
    assert read(sent, type_) == [("field", None, "", "é".encode()), ("file", name, "text/plain", b"content")]


@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\\%"), max_size=30), st.binary(max_size=300)
    ),
    st.integers(0, 200),
)
@settings(deadline=None)
def test_whatever_is_in_a_form_is_read(fields: dict[str, bytes], memory: int) -> None:
    files = [("upload", (name or "unnamed", content, "text/plain")) for name, content in fields.items()]
    if any(ord(character) < 32 or ord(character) == 127 for name in fields for character in name) or not files:
        return
    request = httpx.Request("POST", "http://app/", files=files)
    found = read(request.read(), request.headers["content-type"].encode(), memory)
    assert found == [("upload", name, "text/plain", content) for _, (name, content, _) in files]


class Recorder(http.server.BaseHTTPRequestHandler):
    """Keeps what was sent last."""

    sent: tuple[bytes, bytes]

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        type(self).sent = self.rfile.read(length), self.headers["content-type"].encode()
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def test_what_curl_sends_is_read(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    (tmp_path / "data").write_bytes(b"content")
    with http.server.HTTPServer(("127.0.0.1", 0), Recorder) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for name in NAMES.values():
                quoted = name.replace("\\", "\\\\").replace('"', '\\"')
                form = f'file=@data;filename="{quoted}";type=text/plain'
                url = f"http://127.0.0.1:{server.server_port}/"
                subprocess.run(["curl", "-sS", "-F", form, "-F", "field=x", url], cwd=tmp_path, check=True, timeout=30)
                found = read(*Recorder.sent)
                assert found[0][2:] == ("text/plain", b"content")
                assert found[0][1] == name
        finally:
            server.shutdown()
            thread.join()


CLIENTS: dict[str, tuple[bytes, str | None]] = {
    "Chrome and Safari": (disposition('form-data; name="file"; filename="a%22b.png"'), 'a"b.png'),
    "Firefox": (body(FILE, "Content-Type: image/png"), "a.png"),
    "a browser without a chosen file": (
        body('Content-Disposition: form-data; name="file"; filename=""', "Content-Type: application/octet-stream"),
        "",
    ),
    "requests": (disposition('form-data; name="file"; filename="naïve.txt"'), "naïve.txt"),
    "older requests": (disposition("form-data; name=\"file\"; filename*=utf-8''na%C3%AFve.txt"), "naïve.txt"),
    "aiohttp": (
        body(
            "Content-Type: image/png",
            'Content-Disposition: form-data; name="file"; filename="%C3%A9.png"; filename*=utf-8\'\'%C3%A9.png',
        ),
        "é.png",
    ),
    ".NET": (disposition("form-data; name=file; filename=a.png; filename*=utf-8''a.png"), "a.png"),
    ".NET with accents": (
        disposition(
            "form-data; name=file; filename=\"=?utf-8?B?w6kucG5n?=\"; filename*=utf-8''%C3%A9.png",
        ),
        "é.png",
    ),
    "OkHttp": (
        body(FIELD, "Content-Length: 7"),
        None,
    ),
    "Java with a transfer encoding": (
        body(FILE, "Content-Type: image/png", "Content-Transfer-Encoding: binary"),
        "a.png",
    ),
    "names of fields in lower case": (body('content-disposition: form-data; name="file"; filename="a.png"'), "a.png"),
    "a header field of its own": (body(FILE, "X-Checksum: abc"), "a.png"),
    "parameters of its own": (disposition('form-data; name="file"; filename="a.png"; size=7'), "a.png"),
    "an e-mail": (body(FILE, "Content-Type: message/rfc822"), "a.png"),
    "spaces around a value": (body("Content-Disposition:\tform-data; name=file; filename=a.png \t"), "a.png"),
    "no line end at the end": (body(FILE)[:-2], "a.png"),
}


@pytest.mark.parametrize(("sent", "filename"), CLIENTS.values(), ids=CLIENTS.keys())
@pytest.mark.parametrize("memory", [10**8, 0], ids=["in memory", "on disk"])
def test_what_other_clients_send_is_read(sent: bytes, filename: str | None, memory: int) -> None:
    ((_, name, _, content),) = read(sent, memory=memory)
    assert (name, content) == (filename, b"content")


def test_an_empty_form_has_no_parts() -> None:
    assert read(b"--BOUND--\r\n") == []


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_a_file_of_any_size_is_found_at_its_place(size: int) -> None:
    content = noise(size)
    assert read(part(FIELD) + body(FILE, content=content), memory=0)[1][3] == content


@pytest.mark.parametrize("cut", range(-4, 5))
def test_a_body_that_ends_around_the_edge_of_a_chunk_is_read(cut: int) -> None:
    room = 65_536 - len(body(FILE, content=b"")) + cut
    assert len(read(body(FILE, content=noise(room)))) == 1


def test_content_that_looks_nearly_like_a_boundary_is_content() -> None:
    content = b"\r\n--BOUN\r\n--BOUNX\r\r\n-- BOUND\n-BOUND\r\n--bound\r\n"
    assert read(body(FILE, content=content))[0][3] == content


REFUSED: dict[str, tuple[bytes, str]] = {
    "a preamble": (b"preamble\r\n" + body(FILE), "begin with the boundary"),
    "a line end before the first boundary": (b"\r\n" + body(FILE), "begin with the boundary"),
    "nothing": (b"", "begin with the boundary"),
    "data behind the final boundary": (body(FILE) + b"more", "behind the final boundary"),
    "a part behind the final boundary": (body(FILE) + part(FILE), "behind the final boundary"),
    "a part far behind the final boundary": (body(FILE) + bytes(70_000) + part(FILE), "behind the final boundary"),
    "a boundary behind LF alone": (body(FILE, content=b"a\n--BOUND\r\n" + part(FILE)[9:]), "within a part"),
    "a boundary within a line": (body(FILE, content=b"a--BOUND"), "within a part"),
    "a boundary far into a part": (body(FILE, content=bytes(65_430) + b"--BOUND" + bytes(70_000)), "within a part"),
    "a boundary right behind the headers": (body(FILE, content=b"--BOUND--"), "within a part"),
    "two line ends behind the final boundary": (body(FILE) + b"\r\n", "behind the final boundary"),
    "no final boundary": (part(FILE), "final boundary is missing"),
    "a final boundary cut short": (body(FILE)[:-3], "final boundary"),
    "a body that breaks off": (part(FILE)[:-20], "breaks off|too large"),
    "a space behind a boundary": (body(FILE).replace(b"--BOUND\r", b"--BOUND \r"), "behind a boundary"),
    "a space behind the boundary of the second part": (
        part(FIELD) + body(FILE).replace(b"--BOUND\r", b"--BOUND \r"),
        "behind a boundary",
    ),
    "lines that end with LF": (body(FILE).replace(b"\r\n", b"\n"), "LF alone|behind a boundary"),
    "one header line that ends with LF": (body(FILE + "\nX-A: b"), "LF alone|one character"),
    "a bare CR in a header": (body(FILE + "\rX-A: b"), "one character"),
    "a folded header": (body(FILE + ";\r\n size=1"), "folded"),
    "a header without a name": (body(FILE, ": x"), "malformed"),
    "a header without a colon": (body(FILE, "nonsense"), "malformed"),
    "a space before a colon": (body('Content-Disposition : form-data; name="file"'), "space before its colon"),
    "a NUL in a header": (disposition('form-data; name="file"; filename="a\x00.png"'), "NUL"),
    "a control character in a header": (disposition('form-data; name="fi\x01le"'), "malformed"),
    "no header": (b"--BOUND\r\n\r\ncontent\r\n--BOUND--\r\n", "no Content-Disposition"),
    "no Content-Disposition": (body("Content-Type: image/png"), "no Content-Disposition"),
    "another kind of Content-Disposition": (disposition('attachment; name="file"'), "form-data|malformed"),
    "two Content-Dispositions": (body(FIELD, FILE), "'content-disposition' twice"),
    "two Content-Types": (body(FILE, "Content-Type: a/b", "content-type: c/d"), "'content-type' twice"),
    "no name": (disposition('form-data; filename="a.png"'), "no name"),
    "two names": (disposition('form-data; name="a"; name="b"'), "'name' twice"),
    "two file names": (disposition('form-data; name="a"; filename="b"; FILENAME="c"'), "'filename' twice"),
    "two file names that differ": (
        disposition('form-data; name="a"; filename="a.png"; filename*=utf-8\'\'a.exe'),
        "two file names",
    ),
    "a continued file name": (disposition('form-data; name="a"; filename*0="a."; filename*1="exe"'), "continued"),
    "an encoded name": (disposition("form-data; name=\"a\"; name*=utf-8''b"), "continued or encoded"),
    "a malformed extended file name": (disposition('form-data; name="a"; filename*="a.exe"'), "malformed"),
    "an extended file name in another charset": (disposition("form-data; name=\"a\"; filename*=utf-7''a"), "malformed"),
    "a name that is no token and not quoted": (disposition("form-data; name=a[b]"), "quotation marks"),
    "a quotation mark behind a backslash": (disposition(r'form-data; name="a\"; filename=\"b"'), "backslash|malformed"),
    "a path of Windows": (disposition(r'form-data; name="file"; filename="C:\a.png"'), "backslash"),
    "a backslash that hides an extension": (disposition(r'form-data; name="file"; filename="a.pn\g"'), "backslash"),
    "a quotation mark that is not closed": (disposition('form-data; name="a'), "malformed parameters|no name"),
    "a name in single quotes with a semicolon": (disposition("form-data; name='a;b'"), "malformed|quotation"),
    "a parameter without a value": (disposition('form-data; name="a"; filename'), "malformed parameters"),
    "parameters without a separator": (disposition('form-data; name="a" filename="b"'), "malformed parameters"),
    "base64": (body(FILE, "Content-Transfer-Encoding: base64"), "Content-Transfer-Encoding"),
    "quoted-printable": (body(FILE, "Content-Transfer-Encoding: Quoted-Printable"), "Content-Transfer-Encoding"),
    "a compressed part": (body(FILE, "Content-Encoding: gzip"), "Content-Encoding"),
    "a nested multipart": (body(FIELD, "Content-Type: multipart/mixed; boundary=X"), "multipart itself"),
    "a wrong Content-Length": (body(FILE, "Content-Length: 3"), "Content-Length"),
    "a header that is not UTF-8": (body(FILE).replace(b"a.png", b"\xff.png"), "not UTF-8"),
    "a file name in Latin-1": (body(FILE).replace(b"a.png", "naïve.png".encode("latin-1")), "not UTF-8"),
    "an extended file name with a stray percent sign": (
        disposition("form-data; name=\"a\"; filename*=utf-8''100%.png"),
        "malformed",
    ),
    "an extended file name that is too long": (
        disposition("form-data; name=\"a\"; filename*=utf-8''" + "a" * 3100),
        "extended file name is malformed",
    ),
    "a header that is too long": (body(FILE, "X-A: " + "b" * 5000), "too long|too large"),
    "too many headers": (body(FILE, *(f"X-{n}: b" for n in range(MAX_HEADERS))), "too many"),
    "a name that is too long": (disposition(f'form-data; name="{"a" * 1025}"'), "too long"),
    "too many parts": (part(FIELD) * 1001 + b"--BOUND--\r\n", "more parts"),
}


@pytest.mark.parametrize(("sent", "shape"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.parametrize("memory", [10**8, 0], ids=["in memory", "on disk"])
def test_an_ambiguous_shape_is_refused_by_its_name(sent: bytes, shape: str, memory: int) -> None:
    with pytest.raises(MultipartShapeError, match=shape):
        read(sent, memory=memory)


BOUNDARIES = {
    "a token": (b"multipart/form-data; boundary=abc-123", "abc-123"),
    "in quotation marks": (b'multipart/form-data; boundary="abc 123"', "abc 123"),
    "of a browser": (b"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW", None),
    "of Java": (b"multipart/form-data; boundary=----=_Part_1_123.456", "----=_Part_1_123.456"),
    "in capitals": (b"Multipart/Form-Data; BOUNDARY=abc", "abc"),
    "with a charset": (b"multipart/form-data; boundary=abc; charset=UTF-8", "abc"),
    "behind a charset": (b"multipart/form-data;charset=UTF-8;boundary=abc", "abc"),
    "of 70 characters": (b"multipart/form-data; boundary=" + b"a" * 70, "a" * 70),
}


@pytest.mark.parametrize(("type_", "expected"), BOUNDARIES.values(), ids=BOUNDARIES.keys())
def test_a_boundary_is_found(type_: bytes, expected: str | None) -> None:
    assert boundary(type_) == (expected or "----WebKitFormBoundary7MA4YWxkTrZu0gW")


NO_BOUNDARIES = {
    "missing": (b"multipart/form-data", "missing"),
    "missing beside another parameter": (b"multipart/form-data; charset=utf-8", "missing"),
    "twice": (b"multipart/form-data; boundary=a; boundary=b", "twice"),
    "twice in two cases": (b"multipart/form-data; boundary=a; Boundary=a", "twice"),
    "continued": (b"multipart/form-data; boundary*0=a; boundary*1=b", "continued"),
    "encoded": (b"multipart/form-data; boundary*=utf-8''a", "continued"),
    "encoded beside a plain one": (b"multipart/form-data; boundary=a; boundary*=utf-8''b", "continued"),
    "empty": (b"multipart/form-data; boundary=", "malformed"),
    "empty in quotation marks": (b'multipart/form-data; boundary=""', "malformed"),
    "with a space at its end": (b'multipart/form-data; boundary="a "', "malformed"),
    "with a comma": (b"multipart/form-data; boundary=a,b", "malformed"),
    "with an escape": (b'multipart/form-data; boundary="a\\b"', "backslash"),
    "with a quotation mark that is not closed": (b'multipart/form-data; boundary="a', "malformed"),
    "of 71 characters": (b"multipart/form-data; boundary=" + b"a" * 71, "malformed"),
    "with spaces around the sign": (b"multipart/form-data; boundary = a", "malformed"),
    "separated by a comma": (b"multipart/form-data, boundary=a", "another kind"),
    "not ASCII": ("multipart/form-data; boundary=é".encode(), "ASCII"),
    "of another multipart": (b"multipart/mixed; boundary=a", "another kind"),
}


@pytest.mark.parametrize(("type_", "reason"), NO_BOUNDARIES.values(), ids=NO_BOUNDARIES.keys())
def test_an_ambiguous_boundary_is_refused(type_: bytes, reason: str) -> None:
    with pytest.raises(MultipartShapeError, match=reason):
        boundary(type_)


@given(st.binary(max_size=300), st.sampled_from([b"", part(FIELD), b"--BOUND\r\n", b"--BOUND\r\n" + FILE.encode()]))
def test_any_bytes_are_read_or_refused(data: bytes, start: bytes) -> None:
    for end in (b"", b"\r\n--BOUND--\r\n"):
        try:
            read(start + data + end)
        except MultipartShapeError as error:
            assert str(error)  # noqa: PT017 - either outcome is right, a refusal says why


WHOLE = part(FIELD, content=b"1") + body(FILE, "Content-Type: image/png", content=b"2")


@given(
    st.integers(0, len(WHOLE)),
    st.integers(0, 3),
    st.sampled_from(list(b'\r\n\t "\\;:=-*ABOUND%\x00')),
    st.integers(0, 3),
)
@settings(deadline=None, max_examples=400)
def test_what_is_accepted_another_parser_reads_in_the_same_way(at: int, less: int, more: int, times: int) -> None:
    changed = WHOLE[:at] + bytes([more]) * times + WHOLE[at + less :]
    try:
        found = read(changed)
    except MultipartShapeError:
        return
    parser = FormDataParser(silent=False)
    _, form, files = parser.parse(io.BytesIO(changed), "multipart/form-data", len(changed), {"boundary": "BOUND"})
    theirs = [(name, text.encode()) for name, text in form.items(multi=True)]
    uploads = list(files.items(multi=True))
    theirs += [(name, file.read()) for name, file in uploads]
    names = [file.filename for _, file in uploads]
    for _, file in uploads:
        file.close()
    assert sorted((name, content) for name, _, _, content in found) == sorted(theirs)
    assert names == [name for _, name, _, _ in found if name is not None]


def test_an_old_package_that_hides_the_parser_is_named(tmp_path: Path) -> None:
    (tmp_path / "multipart").mkdir()
    (tmp_path / "multipart" / "__init__.py").write_text("class FormParser: ...", encoding="utf-8")
    command = [sys.executable, "-c", "import aupgate.inspection.multipart"]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, check=False)
    assert b"install python-multipart>=0.0.18" in done.stderr.splitlines()[-1]
