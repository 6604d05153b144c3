"""What is made to cost time costs none: each input here took minutes to ages with an expression that tried every way.

Each runs in a process of its own, which is ended when it hangs; a regular expression cannot be stopped otherwise.
"""

import subprocess
import sys

import pytest

START = """
import struct, sys, zlib
from aupgate.inspection.bounds import Allowance, ArchiveError, Bounds
from aupgate.inspection.multipart import MultipartShapeError, boundary, parts
from aupgate.inspection.signatures import detect
from aupgate.inspection.structure import damage
from aupgate.inspection.tars import members
from aupgate.inspection.trailing import end_of_zip
from aupgate.inspection.zips import Zip
from tests.gateway.inspection.files import spooled, tarred, zipped

def form(line):
    return b"--BOUND\\r\\n" + line + b"\\r\\n\\r\\n\\r\\n"

def read(body):
    try:
        list(parts(spooled(body + b"--BOUND--\\r\\n"), b"multipart/form-data; boundary=BOUND", 1000))
    except MultipartShapeError:
        pass

NAME = b'Content-Disposition: form-data; name="a"'
"""

HOSTILE = {
    "an extended file name": "read(form(NAME + b\"; filename*=utf-8''\" + b'a' * 2000 + b'('))",
    "an extended file name of percent signs": "read(form(NAME + b\"; filename*=utf-8''\" + b'%41' * 900 + b'%'))",
    "header fields of spaces": "read(form(NAME + b'\\r\\nx: a' + b' ' * 3900 + b'b') * 1000)",
    "a header field of spaces and a control character": (
        "[read(form(NAME + b'\\r\\nx: ' + b' ' * 4000 + b'\\x01')) for _ in range(300)]"
    ),
    "a quoted name without end": "read(form(NAME + b'; filename=\"' + b'a' * 3900))",
    "a JPEG of fill bytes": "damage(spooled(b'\\xff\\xd8\\xff\\xda\\x00\\x02' + b'\\xff' * 4_000_000), 'image/jpeg')",
    "a JPEG of tiny markers": "damage(spooled(b'\\xff\\xd8' + b'\\xff\\x01' * 4_000_000), 'image/jpeg')",
    "a PDF of many dictionaries": "damage(spooled(b'%PDF-' + b'/Linearized' * 9000 + b'%%EOF'), 'application/pdf')",
    "markup of one long name": "detect(spooled(b'<' + b'a' * 4090)), detect(spooled(b'<a' * 2000))",
    "end records that lead nowhere": "end_of_zip(spooled(b'PK\\x05\\x06' * 20_000))",
}
REFUSED = {
    "a tar with countless records": """
header = bytearray(tarred({"a": b""}, 0)[:512])
header[156:157], header[124:136] = b"x", b"%011o\\x00" % 1_000_000
header[148:156] = b" " * 8
header[148:156] = b"%06o\\x00 " % sum(header)
data = bytes(header) + (b"2 " * 500_000).ljust(1_000_448, b"\\x00") + bytes(1024)
list(members(spooled(data), Allowance(Bounds(), len(data))))
""",
    "a ZIP with countless extra fields": """
extra = b"\\x01\\x90\\x00\\x00" * 16_000
local = struct.pack("<4s5H3I2H", b"PK\\x03\\x04", 20, 0, 0, 0, 0, 0, 0, 0, 1, len(extra))
central = struct.pack("<4s6H3I5H2I", b"PK\\x01\\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, len(extra), 0, 0, 0, 0, 0)
data = local + b"a" + extra + central + b"a" + extra
end = struct.pack("<4s4H2IH", b"PK\\x05\\x06", 0, 0, 1, 1, 47 + len(extra), 31 + len(extra), 0)
Zip(spooled(data + end), Allowance(Bounds(), len(data)))
""",
}


def run(script: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", START + script], capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_input_made_to_cost_time_is_judged(script: str) -> None:
    done = run(script)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", REFUSED.values(), ids=REFUSED.keys())
def test_an_archive_made_to_cost_time_is_refused(script: str) -> None:
    assert b"ArchiveError" in run(script).stderr
