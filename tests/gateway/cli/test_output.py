import pytest

from aupgate.cli.output import STYLES, printable, say, table

ROWS = [["protocol", "enforce", "nothing"], ["rate_limits", "off", "a cell that is long enough to be wrapped" * 4]]


class Terminal:
    """A terminal of 80 columns that understands colours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)


def test_in_a_pipe_columns_are_aligned_with_blanks_and_nothing_is_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    table(["policy", "mode", "what it saw"], ROWS)

    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "policy       mode     what it saw"
    assert lines[1] == "protocol     enforce  nothing"
    assert lines[2] == f"rate_limits  off      {ROWS[1][2]}"
    assert len(lines) == 3


def test_a_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    table(["policy", "mode"], [])

    assert capsys.readouterr().out == "policy  mode\n"


def test_on_a_terminal_states_have_colours_and_the_last_column_wraps(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Terminal(monkeypatch)

    table(["policy", "mode", "what it saw"], ROWS)

    lines = capsys.readouterr().out.splitlines()
    assert "\x1b[32menforce\x1b[0m" in lines[1]
    assert "\x1b[2moff " in lines[2]
    assert len(lines) > 3
    assert "rate_limits" in lines[2]


def test_a_line_has_its_style_on_a_terminal_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    say("verdict: allow", "bold green")
    assert capsys.readouterr().out == "verdict: allow\n"

    Terminal(monkeypatch)
    say("verdict: allow", "bold green")
    assert capsys.readouterr().out == "\x1b[1;32mverdict: allow\x1b[0m\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param("GET /café/文 [bold]", "GET /café/文 [bold]", id="what is printed stays"),
        pytest.param("\x1b[2J\x07", "\\x1b[2J\\x07", id="what terminals obey"),
        pytest.param("a\r\nb\tc", "a\\r\\nb\\tc", id="line ends"),
        pytest.param("\u202eexe.gpj", "\\u202eexe.gpj", id="what turns the direction around"),
        pytest.param("\udcff", "\\udcff", id="what is no character"),
    ],
)
def test_what_a_request_brings_cannot_command_the_terminal(
    text: str, shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert printable(text) == shown

    say(text)
    table(["policy"], [[text]])
    assert capsys.readouterr().out == f"{shown}\npolicy\n{shown}\n"

    Terminal(monkeypatch)
    say(text)
    table(["policy"], [[text]])
    assert text == shown or text not in capsys.readouterr().out


def test_styles_are_for_words_that_are_printed() -> None:
    assert {"enforce", "observe", "off", "pass", "refuse", "exempt", "enforced", "observing", "not built"} <= set(
        STYLES
    )
