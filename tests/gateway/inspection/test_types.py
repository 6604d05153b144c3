"""What is refused as a disguise, and what passes as the imprecision of everyday."""

import pytest

from aupgate.inspection.types import DISGUISES, agrees, claimed_family, extension, family, missing_signature

ELF, PE = "application/x-elf", "application/vnd.microsoft.portable-executable"
PDF, ZIP, GZIP, OLE = "application/pdf", "application/zip", "application/gzip", "application/x-ole-storage"
WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
JAR, APK = "application/java-archive", "application/vnd.android.package-archive"
HTML, SVG, XML = "text/html", "image/svg+xml", "application/xml"
SCRIPT, PHP = "text/x-script", "application/x-httpd-php"
JPEG, PNG, MP4 = "image/jpeg", "image/png", "video/mp4"
TEXT, DATA = "text/plain", "application/octet-stream"

DISGUISED = [
    ("photo.png", "image/png", ELF),
    ("photo.png", "", PE),
    ("photo.PNG", "", PE),
    ("photo.png. ", "", PE),
    ("invoice.pdf", "application/pdf", PE),
    ("invoice.pdf.exe.pdf", "", PE),
    ("notes.txt", "", ELF),
    ("song.mp3", "", "application/java-vm"),
    ("archive.zip", "", PE),
    ("photo", "image/png", ELF),
    ("photo.unknown", "image/png", ELF),
    ("program.exe", "image/png", PE),
    ("photo.jpg", "image/jpeg", HTML),
    ("photo.jpg", "image/jpeg", SVG),
    ("avatar", "image/png", SVG),
    ("photo.gif", "", PHP),
    ("photo.jpg", "", SCRIPT),
    ("invoice.pdf", "", HTML),
    ("photo.jpg", "", ZIP),
    ("letter.docx", "", ZIP),
    ("notes.txt", "", ZIP),
    ("film.mp4", "", "application/vnd.rar"),
    ("photo.jpg", "", PDF),
    ("photo.png", "", WORD),
    ("notes.txt", "", OLE),
    ("notes.zip", "", PDF),
    ("notes.txt", "", JAR),
    ("report.docx", "", "application/x-dosexec"),
]


@pytest.mark.parametrize(("name", "declared", "detected"), DISGUISED)
def test_a_disguise_is_told(name: str, declared: str, detected: str) -> None:
    assert "its content is" in agrees(name, declared, detected)


HONEST = [
    ("photo.png", "image/png", PNG),
    ("photo.png", "image/png", JPEG),  # renamed by people, and by sites that convert
    ("photo.jpg", "image/jpeg", "image/heic"),
    ("photo.heic", "application/octet-stream", "image/heic"),
    ("film.mov", "video/quicktime", MP4),
    ("song.m4a", "audio/mp4", MP4),
    ("photo.pdf", "application/pdf", JPEG),  # harmless content under a wrong name
    ("letter.docx", "application/octet-stream", WORD),
    ("letter.docx", "application/zip", WORD),
    ("letter.docx", "application/x-zip-compressed", WORD),
    ("letter.zip", "application/zip", WORD),
    ("letter.docx", WORD, OLE),  # protected by a password
    ("letter.doc", "application/msword", "application/rtf"),
    ("letter.doc", "application/msword", HTML),
    ("table.xls", "application/vnd.ms-excel", HTML),
    ("table.xls", "application/vnd.ms-excel", XML),
    ("table.csv", "application/vnd.ms-excel", TEXT),
    ("setup.msi", "application/x-msi", OLE),
    ("drawing.svg", "image/svg+xml", SVG),
    ("drawing.svgz", "image/svg+xml", GZIP),
    ("drawing.ai", "application/postscript", PDF),
    ("drawing.eps", "image/x-eps", "application/postscript"),
    ("feed.xml", "text/xml", XML),
    ("page.html", "text/html", HTML),
    ("page.txt", "text/plain", HTML),
    ("README.md", "", HTML),
    ("install.sh", "text/x-sh", SCRIPT),
    ("script.py", "text/x-python", SCRIPT),
    ("component.ts", "video/mp2t", SCRIPT),
    ("index.php", "", PHP),
    ("notes.txt", "", TEXT),
    ("main.c", "", TEXT),
    ("data.bin", "", ELF),
    ("program", "application/octet-stream", ELF),
    ("program.exe", "application/x-msdownload", PE),
    ("library.so", "", ELF),
    ("lib.jar", "", JAR),
    ("lib.zip", "application/zip", JAR),
    ("app.apk", APK, APK),
    ("logs.tar.gz", "application/gzip", GZIP),
    ("README.md.gz", "text/markdown", GZIP),  # declared as what is in it
    ("manual.pdf.gz", "application/pdf", GZIP),
    ("archive.zip", "text/plain", ZIP),
    ("model.3mf", "", ZIP),
    ("blob", "", ZIP),
    ("blob", "text/plain", PDF),
    (".htaccess", "", TEXT),
    ("data.parquet", "", DATA),
    ("", "", PDF),
]


@pytest.mark.parametrize(("name", "declared", "detected"), HONEST)
def test_everyday_imprecision_passes(name: str, declared: str, detected: str) -> None:
    assert agrees(name, declared, detected) == ""


@pytest.mark.parametrize(
    ("name", "declared", "detected", "missing"),
    [
        ("photo.jpg", "", TEXT, "a JPEG image"),
        ("photo.jpg", "", DATA, "a JPEG image"),
        ("letter.docx", "", DATA, "a Word document"),
        ("archive.zip", "", TEXT, "a ZIP archive"),
        ("data", "application/pdf", "application/json", "a PDF document"),
        ("data.unknown", "image/png", DATA, "a PNG image"),
        ("photo.jpg", "", PNG, ""),
        ("photo.bmp", "", DATA, ""),
        ("notes.txt", "application/pdf", TEXT, ""),
        ("table.csv", "application/vnd.ms-excel", TEXT, ""),
        ("data.bin", "", DATA, ""),
        ("", "", DATA, ""),
    ],
)
def test_formats_that_always_have_a_signature_are_missed(name: str, declared: str, detected: str, missing: str) -> None:
    assert missing in missing_signature(name, declared, detected)
    assert bool(missing) == bool(missing_signature(name, declared, detected))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", "png"),
        ("a.tar.GZ", "gz"),
        ("a.exe. .", "exe"),
        ("a.exe\x00", "exe"),
        (".bashrc", ""),
        ("noext", ""),
        ("dir.d/file", "d/file"),
        ("", ""),
    ],
)
def test_the_extension_is_what_a_system_would_see(name: str, expected: str) -> None:
    assert extension(name) == expected


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        ("image/png", "image"),
        ("image/svg+xml", "markup"),
        ("text/csv", "text"),
        ("text/plain", ""),
        ("application/octet-stream", ""),
        ("application/vnd.oasis.opendocument.text", "document"),
        ("application/x-unheard-of", ""),
        ("", ""),
    ],
)
def test_a_type_has_a_family_or_claims_nothing(type_: str, expected: str) -> None:
    assert family(type_) == expected


def test_no_content_is_a_disguise_of_its_own_family() -> None:
    assert all(content not in claims for content, claims in DISGUISES.items())
    assert claimed_family("a.svg") == "markup"
