"""No password of a generated URL is left, however it is written and whatever is around it."""

import shlex
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sweeps.records.redact import redact, redact_command, redact_url

MARK = "Zq7"  # in no other part of a URL
SECRETS = st.text(st.sampled_from("aB3 '\"`$%&=+;:,()[]{}<>|\\~!é"), max_size=6).map(
    lambda text: f"{MARK}{text}{MARK}"
)
IN_PARTS = SECRETS | st.tuples(SECRETS, st.sampled_from("/@#")).map(
    lambda two: two[1].join([two[0], MARK])
)
SCHEMES = st.sampled_from(
    ["http", "https", "postgresql", "postgresql+psycopg2", "mysql+pymysql", "mssql+pyodbc", "ray"]
)
KEYS = st.sampled_from(
    ["password", "passwd", "PASSWORD", "token", "sslpassword", "PWD", "api_key", "anything"]
)


@st.composite
def urls(draw: st.DrawFn) -> str:
    """Draw a URL with a secret as its password, in its query, or in an ODBC string."""
    scheme, secret = draw(SCHEMES), draw(IN_PARTS)
    written = draw(st.sampled_from([secret, quote(secret, safe=""), quote(secret)]))
    host = draw(st.sampled_from(["host", "127.0.0.1:5000", "[::1]:5432"]))
    kind = draw(st.sampled_from(["user", "query", "odbc"]))
    if kind == "user":
        return f"{scheme}://me:{written}@{host}/db"
    if kind == "query":
        key = draw(KEYS)
        return f"{scheme}://{host}/db?user=me&{key}={written}&sslmode=require"
    odbc = quote(f"DRIVER={{x}};UID=me;PWD={secret};Server=h")
    return f"mssql+pyodbc:///?odbc_connect={odbc}"


@given(urls())
@example(f"postgresql://me:{MARK}?{MARK}@host/db")
@example(f"postgresql://me:{MARK}@{MARK}@host/db?password={MARK}@{MARK}")
@example(f"http://host:5000/db?password={MARK}@{MARK}")
@example(f"ray://me:{MARK} {MARK}@host:10001")
def test_a_url_shows_no_secret_and_is_redacted_once(url: str) -> None:
    shown = redact_url(url)
    assert MARK not in shown and "***" in shown
    assert redact_url(shown) == shown
    assert shown.partition("://")[0] == url.partition("://")[0]


@given(urls(), st.sampled_from(["--study-url {}", "--study-url={}", "DSN={}", "{}"]))
def test_a_command_shows_no_secret_and_reads_back(url: str, form: str) -> None:
    words = ["hcl", "sweep", *form.format("\0").split(" "), "--num-trials", "3"]
    words = [word.replace("\0", url) for word in words]
    shown = redact_command(words)
    assert MARK not in shown
    again = shlex.split(shown)
    assert len(again) == len(words) and again[:2] == words[:2] and again[-2:] == words[-2:]


@given(urls(), st.sampled_from(["{}", "cannot reach {}: 'refused'", "(at {}, in 3 s)", "'{}'"]))
def test_a_message_about_a_known_url_shows_no_secret(url: str, form: str) -> None:
    assert MARK not in redact(form.format(url), url)


@given(SECRETS)
def test_a_message_with_the_password_alone_shows_no_secret(secret: str) -> None:
    url = f"postgresql://me:{quote(secret, safe='')}@host/db?sslpassword={quote(secret, safe='')}"
    for spelled in (secret, quote(secret, safe=""), repr(secret)[1:-1]):
        assert MARK not in redact(f"no role with password ({spelled}) at host", url)


@pytest.mark.parametrize(
    "text",
    [
        "sqlite:////home/me@uni/mlflow.db?mode=ro",
        "http://127.0.0.1:5000/a/b",
        "postgresql://host:5432/db?sslmode=require&application_name=hcl",
        "see http://127.0.0.1:5000, or mail a@b.org",
        "train/lr=0.1 method/hidden_sizes=[25, 25]",
    ],
)
def test_what_holds_no_secret_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DRIVER={x};UID=me;PWD=two words;Server=h", "DRIVER={x};UID=me;PWD=***;Server=h"),
        ("host=h password=two words user=me", "host=h password=*** user=me"),
        ("me:pw@host", "***@host"),
    ],
)
def test_a_connection_string_that_is_no_url(text: str, shown: str) -> None:
    assert redact_url(text) == shown
