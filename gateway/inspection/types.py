"""Whether a file is what it claims to be: its content against its name's extension and its declared type.

Refused is a disguise: content that can act or hide something (a program, a script, markup, an archive, a document)
under a name or type of another, harmless kind. Imprecision is let pass: a JPEG named `.png`, a document declared as
unspecified data, any extension that is not known here. Phones, scanners and office suites are imprecise every day.
"""

from typing import Final

from aupgate.inspection.signatures import PLAIN, UNKNOWN

PROGRAM: Final = "program"
SCRIPT: Final = "script"
MARKUP: Final = "markup"
ARCHIVE: Final = "archive"
DOCUMENT: Final = "document"
IMAGE: Final = "image"
AUDIO: Final = "audio"
VIDEO: Final = "video"
FONT: Final = "font"
TEXT: Final = "text"

MEDIA: Final = frozenset({IMAGE, AUDIO, VIDEO, FONT})
"""Families of content that is shown or played. It may have any name but that of an archive."""

DISGUISES: Final = {
    PROGRAM: MEDIA | {DOCUMENT, ARCHIVE, TEXT, MARKUP},
    SCRIPT: MEDIA | {DOCUMENT, ARCHIVE},
    MARKUP: MEDIA | {DOCUMENT, ARCHIVE},
    ARCHIVE: MEDIA | {DOCUMENT, TEXT, MARKUP},
    DOCUMENT: MEDIA | {ARCHIVE, TEXT, MARKUP},
    **dict.fromkeys((*MEDIA, TEXT), frozenset({ARCHIVE})),
}
"""What each kind of content may not claim to be. Markup and scripts are text, so text they may be called. Nothing may
claim to be an archive: programs that open archives search for one in it, where nobody else looks."""

_TYPES: Final = {
    PROGRAM: """application/x-elf application/x-mach-binary application/vnd.microsoft.portable-executable
        application/x-dosexec application/x-msdownload application/java-vm application/wasm application/x-dex
        application/x-ms-shortcut application/java-archive application/vnd.android.package-archive
        application/x-msdos-program""",
    SCRIPT: "text/x-script application/x-httpd-php application/x-sh text/x-shellscript",
    MARKUP: "text/html application/xhtml+xml image/svg+xml application/xml text/xml",
    ARCHIVE: """application/zip application/x-zip-compressed application/gzip application/x-gzip application/x-tar
        application/x-bzip2 application/x-xz application/zstd application/x-lz4 application/x-7z-compressed
        application/vnd.rar application/x-rar-compressed application/x-rar application/vnd.ms-cab-compressed
        application/x-archive application/x-rpm application/x-xar application/x-iso9660-image""",
    DOCUMENT: """application/pdf application/rtf text/rtf application/msword application/x-ole-storage
        application/postscript application/epub+zip application/vnd.ms-excel application/vnd.ms-powerpoint
        application/x-mobipocket-ebook""",
    AUDIO: "application/ogg",
    TEXT: "application/json",
}
_DOCUMENT_FAMILIES: Final = ("application/vnd.openxmlformats", "application/vnd.oasis.opendocument.")
_NO_CLAIM: Final = frozenset({"", PLAIN, UNKNOWN, "video/mp2t"})
"""Declared types that say nothing: what clients send who do not know, and what systems make of TypeScript's `.ts`."""

_FAMILIES: Final = {type_: family for family, types in _TYPES.items() for type_ in types.split()}

_EXTENSIONS: Final = {
    PROGRAM: "exe dll com scr sys cpl msi so elf class jar war ear apk aab wasm lnk dex ocx",
    SCRIPT: "sh bash bat cmd ps1 vbs php phtml phar cgi",
    MARKUP: "html htm xhtml svg xml",
    ARCHIVE: "zip gz tgz tar bz2 tbz2 xz txz zst 7z rar cab lz4 iso deb rpm",
    DOCUMENT: "pdf doc docx docm dot dotx dotm xls xlsx xlsm xlsb xlt ppt pptx pptm pps ppsx odt ods odp odg rtf epub",
    IMAGE: "png jpg jpeg jpe jfif gif webp bmp tif tiff heic heif avif ico psd jxl jp2",
    AUDIO: "mp3 wav flac ogg oga opus m4a aac aif aiff mid midi amr wma",
    VIDEO: "mp4 m4v mov avi mkv webm mpg mpeg wmv flv 3gp ogv",
    FONT: "woff woff2 ttf otf ttc",
    TEXT: """txt text md rst csv tsv log json jsonl ndjson yaml yml toml ini cfg conf css js mjs py rb go rs c h
        cpp java sql srt vtt""",
}
_EXTENSION_FAMILIES: Final = {name: family for family, names in _EXTENSIONS.items() for name in names.split()}

_ALIASES: Final = frozenset(
    {
        # Exports of web applications and old office suites: tables and letters in HTML and XML under old names.
        ("xls", MARKUP), ("doc", MARKUP), ("ppt", MARKUP), ("dot", MARKUP), ("xlt", MARKUP),
        # Drawings and vector pictures that are compressed by definition, and PostScript under a picture's type.
        ("svgz", ARCHIVE), ("emz", ARCHIVE), ("wmz", ARCHIVE), ("eps", DOCUMENT), ("ai", DOCUMENT),
    }
)  # fmt: skip
"""Honest pairs of extension and content; whatever type was declared with them counts no more."""

_ZIPPED: Final = ("application/java-archive", "application/vnd.android.package-archive", "application/epub+zip")
_ZIP_CLAIMS: Final = frozenset({"zip", "application/zip", "application/x-zip-compressed"})

_SIGNED: Final = {
    "png": "a PNG image", "jpg": "a JPEG image", "jpeg": "a JPEG image", "gif": "a GIF image", "webp": "a WebP image",
    "pdf": "a PDF document", "docx": "a Word document", "xlsx": "an Excel workbook", "pptx": "a presentation",
    "odt": "an OpenDocument text", "ods": "an OpenDocument spreadsheet", "odp": "an OpenDocument presentation",
    "zip": "a ZIP archive", "gz": "a gzip file", "tgz": "a gzip file", "bz2": "a bzip2 file", "xz": "an xz file",
    "tar": "a tar archive", "tbz2": "a bzip2 file", "txz": "an xz file", "zst": "a zstd file", "lz4": "an lz4 file",
    "rar": "a RAR archive", "cab": "a cabinet", "deb": "a Debian package", "rpm": "an RPM package",
    "7z": "a 7z archive", "epub": "an EPUB book",
    "image/png": "a PNG image", "image/jpeg": "a JPEG image", "image/gif": "a GIF image", "image/webp": "a WebP image",
    "application/pdf": "a PDF document", "application/zip": "a ZIP archive", "application/gzip": "a gzip file",
    "application/x-zip-compressed": "a ZIP archive", "application/x-gzip": "a gzip file",
    "application/x-tar": "a tar archive", "application/x-bzip2": "a bzip2 file", "application/x-xz": "an xz file",
    "application/zstd": "a zstd file", "application/x-7z-compressed": "a 7z archive",
    "application/vnd.rar": "a RAR archive", "application/x-rar-compressed": "a RAR archive",
    "application/x-rar": "a RAR archive",
}  # fmt: skip
"""Formats that cannot be without a signature: what has none is damaged, or nothing of the kind."""


def family(type_: str) -> str:
    """Return the family of a media type; empty when the type claims nothing that is known here."""
    if type_ in _NO_CLAIM:
        return ""
    if type_ in _FAMILIES:
        return _FAMILIES[type_]
    if type_.startswith(_DOCUMENT_FAMILIES):
        return DOCUMENT
    major = type_.partition("/")[0]
    return major if major in MEDIA or major == TEXT else ""


def extension(name: str) -> str:
    """Return what follows a file name's last dot, in lower case and without the dots and spaces that systems drop."""
    stem, dot, last = name.rstrip(". \x00").rpartition(".")
    return last.lower() if dot and stem else ""


def claimed_family(name: str) -> str:
    """Return the family that a file name's extension claims; empty when it claims nothing that is known here."""
    return _EXTENSION_FAMILIES.get(extension(name), "")


def agrees(name: str, declared: str, detected: str) -> str:
    """Return an empty string, or what is wrong when content of type `detected` is disguised as `name` or `declared`.

    `declared` is a media type without parameters, in lower case. The sentence is for the uploader.
    """
    ending, content = extension(name), family(detected)
    if (ending, content) in _ALIASES:
        return ""
    disguises = DISGUISES.get(content, frozenset())
    if claimed_family(name) in disguises and not _is_zipped(detected, ending):
        return f"the file is named .{ending}, but its content is {_article(content)}"
    if content in (ARCHIVE, DOCUMENT) and claimed_family(name) == content:
        return ""  # some clients declare what is in the archive: `text/markdown` for README.md.gz
    if family(declared) in disguises and not _is_zipped(detected, declared):
        return f"the file is declared as {declared}, but its content is {_article(content)}"
    return ""


def _is_zipped(detected: str, claim: str) -> bool:
    """Return True for a ZIP with a more exact type, called a ZIP."""
    return claim in _ZIP_CLAIMS and (detected in _ZIPPED or detected.startswith(_DOCUMENT_FAMILIES))


def _article(content: str) -> str:
    return "markup" if content == MARKUP else f"an {content}" if content[0] in "ai" else f"a {content}"


def missing_signature(name: str, declared: str, detected: str) -> str:
    """Return what is missing when a format that always has a signature is claimed and none was found; else empty."""
    if detected not in (UNKNOWN, PLAIN, "application/json"):
        return ""
    ending = extension(name)
    claim = ending if ending in _SIGNED or ending in _EXTENSION_FAMILIES else declared
    return f"the file does not begin as {_SIGNED[claim]} does" if claim in _SIGNED else ""
