"""The log: what it says, and above all what it never says."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading
import warnings

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from hub.log import configure, get_log
from hub.message import Part
from hub.outcome import Reason
from tests import saying

NAME = "Erika Mustermann"


@pytest.fixture(name="said")
def _said():
    with saying.said() as lines:
        yield lines


def test_an_event_is_one_line_of_json(said):
    get_log("hub.dispatch").info("attempt_settled", delivery="0190-ab", reason=Reason.BUSY, attempts=3, duration_ms=1.5)

    (line,) = said()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "attempt_settled", "level": "info", "log": "hub.dispatch", "delivery": "0190-ab", "reason": "busy",
        "attempts": 3, "duration_ms": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (NAME, "<redacted str len=16>"),
        (NAME.encode(), "<redacted bytes len=16>"),
        ([NAME], "<redacted list len=1>"),
        ({NAME: NAME}, "<redacted dict len=1>"),
        (Part("a", NAME, b""), "<redacted Part>"),
        (ValueError(NAME), "<redacted ValueError>"),
        (7, 7),
        (True, True),
        (None, None),
    ],
)
def test_under_a_key_off_the_list_only_numbers_pass(said, value, shown):
    get_log("hub").info("message_accepted", applicant=value)

    assert said()[0]["applicant"] == shown


@pytest.mark.parametrize("value", [NAME.encode(), [NAME], {NAME: 1}, ValueError(NAME), object()])
def test_a_key_of_the_list_shows_texts_only(said, value):
    get_log("hub").info("message_accepted", sender=value)

    assert said()[0]["sender"].startswith("<redacted")


@pytest.mark.parametrize("key", ["message", "delivery", "error", "cause"])
def test_an_id_or_a_type_is_no_free_text(said, key):
    get_log("hub").info("message_accepted", **{key: f"invalid value '{NAME}'"})

    assert said()[0][key].startswith("<redacted str")


def test_an_exception_given_as_error_is_its_type(said):
    get_log("hub").warning("open_failed", error=ValueError(NAME))

    assert said()[0]["error"] == "ValueError"


def test_an_event_put_together_from_values_is_masked(said):
    get_log("hub").info(f"accepted {NAME}")
    get_log("hub").info("accepted %s", NAME)

    assert [line["event"] for line in said()] == ["<redacted str len=25>"] * 2


def test_a_key_that_comes_from_a_document_is_masked(said):
    get_log("hub").info("message_accepted", **{NAME: 1})

    assert said()[0]["redacted_key"] == "<redacted str len=16>"


def test_an_exception_is_its_type_and_frames_without_message(said):
    try:
        try:
            raise KeyError(NAME)
        except KeyError as error:
            raise ValueError(NAME) from error
    except ValueError:
        get_log("hub").exception("adapter_crashed", stack_info=True)

    (line,) = said()
    assert (line["error"], line["cause"]) == ("ValueError", "KeyError")
    assert line["where"][-1].startswith("unit/test_log.py:")
    assert line["where"][-1].endswith(":test_an_exception_is_its_type_and_frames_without_message")
    assert NAME not in str(said())


def test_an_exception_may_be_handed_over_later(said):
    get_log("hub").error("adapter_crashed", exc_info=ValueError(NAME))

    assert said()[0]["error"] == "ValueError"


# --- libraries


def test_a_library_is_quoted_without_its_arguments(said):
    logging.getLogger("zeep.transports").warning("value %s is bad", NAME)

    (line,) = said()
    assert (line["event"], line["log"], line["level"]) == ("value %s is bad", "zeep.transports", "warning")
    assert line["where"][0].startswith("unit/test_log.py:")


def test_a_library_that_formats_by_itself_is_masked(said):
    text = f"exception=ValueError('{NAME}')"
    logging.getLogger("asyncio").error(text)
    logging.getLogger("urllib3").error(ValueError(NAME))

    assert [line["event"] for line in said()] == [f"<redacted str len={len(NAME) + 24}>", "<redacted ValueError>"]


def test_an_exception_of_a_library_loses_its_message(said):
    try:
        raise ValueError(NAME)
    except ValueError:
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")

    assert said()[0]["error"] == "ValueError"
    assert NAME not in str(said())


@pytest.mark.parametrize("library", ["zeep", "pika", "urllib3", "uvicorn.access", "apscheduler", "sqlalchemy.engine"])
def test_what_libraries_say_while_debugging_is_dropped_even_if_all_is_debug(said, library):
    logging.getLogger().setLevel(logging.DEBUG)
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        logger.debug("envelope %s", NAME)
        logger.info("envelope %s", NAME)
    finally:
        logger.setLevel(level)

    assert said() == []


def test_a_warning_does_not_tell_values(said, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn(f"cannot read {NAME}", stacklevel=1)

    assert said()[0]["log"] == "py.warnings"
    assert NAME not in str(said()) + "".join(capsys.readouterr())


# --- lines


@pytest.mark.parametrize(
    "nasty",
    ["\n", "\r", "\x1b[2J", "\x85", "\x9b", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800", "\x00", "\x7f"],
)
def test_what_steers_a_terminal_or_breaks_a_line_is_written_out(said, nasty):
    get_log("hub").info("message_accepted", source=f"a{nasty}b")

    assert said()[0]["source"] == f"a\\u{ord(nasty[0]):04x}{nasty[1:]}b"


@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=8) | st.integers() | st.floats() | st.none(), max_size=4),
    st.text(),
)
def test_whatever_is_said_is_one_printable_line(keys, text):
    stream = io.StringIO()
    before = structlog.get_config()
    configure(stream, json=True)
    try:
        keys = {key: value for key, value in keys.items() if key not in {"event", "self", "exc_info"}}
        get_log("hub").info("said", **(keys | {"source": text}))
    finally:
        structlog.configure(**before)

    line = stream.getvalue()
    assert line.count("\n") == 1
    assert len(line.splitlines()) == 1
    assert line.encode()


def test_a_long_text_is_cut(said):
    get_log("hub").info("message_accepted", source="x" * 1000)

    assert said()[0]["source"] == "x" * 200


# --- configuration


def test_debug_is_silent_unless_asked_for(said):
    get_log("hub").debug("detail")

    assert said() == []


def test_the_last_configuration_counts_for_logs_that_are_in_use(said):
    log = get_log("hub")
    log.info("first")
    stream = io.StringIO()

    configure(stream, level="DEBUG", json=True)
    log.debug("second")

    assert [line["event"] for line in said()] == ["first"]
    assert json.loads(stream.getvalue())["event"] == "second"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("level", "lines"), [("DEBUG", 3), ("debug", 3), ("INFO", 2), ("LAUT", 2), ("", 2), ("ERROR", 1)]
)
def test_the_environment_says_how_much_is_told(said, monkeypatch, level, lines):
    monkeypatch.setenv("XOEV_HUB_LOG_LEVEL", level)
    stream = io.StringIO()
    configure(stream, json=True)

    get_log("test").debug("detail")
    get_log("test").info("fact")
    get_log("test").error("failure")

    assert len(stream.getvalue().splitlines()) == lines


@pytest.mark.parametrize("no_color", [False, True])
def test_a_terminal_gets_text_for_people(said, monkeypatch, no_color):
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()

    configure(stream)
    get_log("hub").info("message_accepted", source="online", applicant=NAME)

    text = stream.getvalue()
    assert "message_accepted" in text
    assert "online" in text
    assert NAME not in text
    assert ("\x1b[" in text) is not no_color


class Gone(io.StringIO):
    def write(self, _):
        raise BrokenPipeError


def test_a_log_that_cannot_be_written_stops_nobody(said):
    configure(Gone(), json=True)

    get_log("hub").info("message_accepted")


def test_lines_of_many_threads_stay_whole(said):
    def speak():
        for _ in range(50):
            get_log("hub").info("message_accepted", source="x" * 100)

    threads = [threading.Thread(target=speak) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(said()) == 400


CHILD = """
import logging, threading
from hub.log import configure, get_log
get_log("hub").info("before", applicant="{name}")
configure()
logging.getLogger("zeep").warning("%s %s", "{name}")
class Odd:
    def __del__(self): raise ValueError("{name}")
def crash(): raise ValueError("{name}")
thread = threading.Thread(target=crash); thread.start(); thread.join()
odd = Odd(); del odd
crash()
"""


def test_a_process_tells_no_value_when_it_crashes_and_never_writes_to_stdout():
    done = subprocess.run([sys.executable, "-c", CHILD.format(name=NAME)], capture_output=True, text=True, timeout=60)

    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [event["event"] for event in events] == [
        "before",
        "%s %s",
        "thread_crashed",
        "error_while_cleaning_up",
        "crashed",
    ]
    assert [event.get("error") for event in events] == [None, None, "ValueError", "ValueError", "ValueError"]
    assert NAME not in done.stderr
    assert done.stdout == ""
    assert done.returncode == 1
