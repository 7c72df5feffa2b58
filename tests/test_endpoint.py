"""Connection URLs, which every driver understands alike, and whose password is shown nowhere."""

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from papyra_streams import RedisStreamsConfig
from papyra_streams.endpoint import EmbeddedDirectory, Endpoint, parse_url, without_password
from papyra_streams.errors import ConfigurationError, InvalidUrl

# -- what is understood


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("redis://localhost", Endpoint(host="localhost")),
        ("redis://localhost/", Endpoint(host="localhost")),
        ("valkey://localhost:6380", Endpoint(host="localhost", port=6380)),
        ("rediss://server.example:6380/3", Endpoint(host="server.example", port=6380, tls=True, database=3)),
        ("valkeys://server.example", Endpoint(host="server.example", tls=True)),
        ("redis://localhost?db=4", Endpoint(host="localhost", database=4)),
        ("REDIS://LocalHost", Endpoint(host="localhost")),
        ("redis://10.0.0.1:7000/0", Endpoint(host="10.0.0.1", port=7000)),
        ("redis://[::1]:6380/2", Endpoint(host="::1", port=6380, database=2)),
        ("redis://[2001:db8::7]", Endpoint(host="2001:db8::7")),
        ("redis://ops:s3cret@localhost", Endpoint(host="localhost", username="ops", password="s3cret")),
        ("redis://:s3cret@localhost", Endpoint(host="localhost", password="s3cret")),
        ("redis://ops@localhost", Endpoint(host="localhost", username="ops")),
        ("redis://o%3Aps:p%40ss%2Fw%25rd@localhost", Endpoint(host="localhost", username="o:ps", password="p@ss/w%rd")),
        ("redis://ops:p@ss@localhost", Endpoint(host="localhost", username="ops", password="p@ss")),
        ("redis://ops:%C3%A9@localhost", Endpoint(host="localhost", username="ops", password="é")),
        ("unix:///run/redis.sock", Endpoint(path="/run/redis.sock")),
        ("unix:///run/my%20redis.sock?db=2", Endpoint(path="/run/my redis.sock", database=2)),
        ("unix://ops:s3cret@/run/redis.sock", Endpoint(path="/run/redis.sock", username="ops", password="s3cret")),
        ("embedded://", EmbeddedDirectory(path=None)),
        ("embedded:///var/lib/orders", EmbeddedDirectory(path="/var/lib/orders")),
        ("embedded:///var/lib/my%20orders", EmbeddedDirectory(path="/var/lib/my orders")),
    ],
)
def test_a_url_names_a_server(url: str, endpoint: Endpoint | EmbeddedDirectory) -> None:
    assert parse_url(url) == endpoint


def test_a_password_is_part_of_what_is_compared() -> None:
    assert parse_url("redis://:one@localhost") != parse_url("redis://:two@localhost")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ops:s3cret@localhost", "redis://localhost:6379/0"),
        ("valkeys://ops:s3cret@[::1]:7000/2", "rediss://[::1]:7000/2"),
        ("unix://ops:s3cret@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_a_server_is_shown_without_user_and_password(url: str, shown: str) -> None:
    assert str(parse_url(url)) == shown


# -- what is not


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (None, "`url` must be a string, not NoneType."),
        (b"redis://localhost", "`url` must be a string, not bytes."),
        ("", "no scheme"),
        ("localhost", "no scheme"),
        ("localhost:6379", "localhost://"),
        ("http://localhost", "http://"),
        ("memory://", "redis://, valkey://, rediss://, valkeys://, unix://, embedded://"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis:localhost", "names no host"),
        ("redis://:6379/0", "names no host"),
        ("redis://localhost:port", "malformed"),
        ("redis://localhost\n", "control character"),
        ("redis://:pass\tword@localhost", "control character"),
        ("redis://:pass\x85word@localhost", "control character"),
        (" redis://localhost", "begins or ends with a blank"),
        ("redis://localhost/0 ", "begins or ends with a blank"),
        ("redis://localhost/0\u00a0", "begins or ends with a blank"),
        ("redis://localhost:65536", "malformed"),
        ("redis://[::1", "malformed"),
        ("redis://localhost/first", "names a database that is no number; write redis://host/0."),
        ("redis://localhost/-1", "names a database"),
        ("redis://localhost/1/2", "names a database"),
        ("redis://localhost/\u0661", "names a database"),
        ("redis://localhost/" + "9" * 5000, "names a database"),
        ("redis://localhost?db=", "names a database"),
        ("redis://localhost?timeout=5", "an unknown option"),
        ("redis://localhost?db=1&ssl=true", "an unknown option"),
        ("redis://localhost#0", "#"),
        ("unix://", "absolute path"),
        ("unix:///", "absolute path"),
        ("unix://run/redis.sock", "absolute path"),
        ("unix:run/redis.sock", "absolute path"),
        ("unix://:6379/run/redis.sock", "absolute path"),
        ("unix:///run/redis.sock?db=a", "write unix:///path?db=0."),
        ("unix:///run/redis.sock?timeout=1", "Write unix:///path?db=0."),
        ("embedded:///", "root directory"),
        ("embedded:////", "root directory"),
        ("embedded:///%2F.", "root directory"),
        ("embedded://data", "absolute/directory"),
        ("embedded:data", "absolute/directory"),
        ("embedded:///data?db=1", "absolute/directory"),
        ("embedded:///data#1", "absolute/directory"),
    ],
)
def test_any_other_url_is_refused_with_the_reason(url: Any, message: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        parse_url(url)

    assert message in str(caught.value)


def test_a_wrong_url_is_a_wrong_setting() -> None:
    assert issubclass(InvalidUrl, ConfigurationError)
    assert issubclass(ConfigurationError, ValueError)


@given(st.text() | st.text("redis:/@?#[]%05").map("redis://".__add__) | st.from_regex(r"(unix|embedded):/*[@:a?#]*"))
def test_a_string_is_understood_or_refused_and_nothing_else(url: str) -> None:
    try:
        understood = parse_url(url)
    except InvalidUrl:
        return

    assert isinstance(understood, Endpoint | EmbeddedDirectory)


# -- the password


secrets = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=4) | st.text(
    "0123456789/?#@:[]%&=", min_size=4, max_size=12
)
shapes = st.sampled_from(
    [
        "redis://{}@server:6379/0",
        "rediss://{}@server/1?db=1",
        "valkey://{}@[::1]:7000",
        "redis://{}@server:port/0",
        "redis://{}@server/nought",
        "redis://{}@server?timeout=1",
        "redis://{}@",
        "http://{}@server",
        "unix://{}@/run/redis.sock",
        "unix://{}@",
        "embedded://{}@/data",
    ]
)


def chain(error: BaseException | None) -> list[BaseException]:
    """Return an exception and every other one it leads to, hidden or not."""
    return [] if error is None else [error, *chain(error.__cause__), *chain(error.__context__)]


def everything_said_about(url: str) -> str:
    """Return every text that may reach a log: of the settings and of what they lead to, or of the refusal."""
    try:
        config = RedisStreamsConfig(url, driver="redis")
        target = parse_url(url)
    except InvalidUrl as error:
        return " ".join(f"{link} {link!r}" for link in chain(error))
    return f"{config} {config!r} {target} {target!r} {without_password(url)}"


@given(shapes, st.sampled_from(["ops", "", "6379"]), secrets)
def test_a_raw_password_is_never_shown(shape: str, user: str, secret: str) -> None:
    said_without = everything_said_about(shape.format(f"{user}:***"))
    assume(secret not in said_without)

    assert secret not in everything_said_about(shape.format(f"{user}:{secret}"))


@given(shapes, st.sampled_from(["ops", "", "6379"]), secrets)
def test_an_encoded_password_is_never_shown(shape: str, user: str, secret: str) -> None:
    encoded = quote(secret, safe="")
    said_without = everything_said_about(shape.format(f"{user}:***"))
    assume(secret not in said_without and encoded not in said_without)
    said = everything_said_about(shape.format(f"{user}:{encoded}"))

    assert secret not in said
    assert encoded not in said


@given(secrets, st.sampled_from(["redis://ops:{}@server:7000/2", "unix://ops:{}@/run/redis.sock"]))
def test_an_encoded_password_arrives_as_it_is(secret: str, shape: str) -> None:
    endpoint = parse_url(shape.format(quote(secret, safe="")))

    assert isinstance(endpoint, Endpoint)
    assert endpoint.password == secret


@pytest.mark.parametrize(
    "url",
    [
        "redis://ops:12/secret@server/0",
        "redis://ops:12?db=secret@server/0",
        "redis://ops:12?secret@server/0",
        "redis://ops:12#secret@server/0",
        "unix://:12/secret@/run/redis.sock",
        "unix://ops:12?db=secret@/run/redis.sock",
    ],
)
def test_a_raw_password_that_reads_like_the_end_of_an_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidUrl, match="percent-encode"):
        parse_url(url)

    assert "secret" not in everything_said_about(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:secret#x@host",
        "redis://:secret/x@host",
        "redis://:sec[ret@host",
        "redis://secret\u2100:x@host",
        "redis://host:secret",
        "redis://ops:secret/0",
        "redis://host/secret",
        "redis://host/0?secret",
        "redis://host?db=secret",
        "unix:///path?db=secret",
        "unix:///path?secret=1",
    ],
)
def test_a_refusal_repeats_nothing_that_may_be_a_password(url: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        parse_url(url)

    assert len(chain(caught.value)) == 1
    assert not any(piece in everything_said_about(url) for piece in ("secret", "sec[", "ret@"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ops:s3cret@server:7000/2", "redis://ops:***@server:7000/2"),
        ("redis://:s3cret@server", "redis://:***@server"),
        ("redis://ops:p@ss@server", "redis://ops:***@server"),
        ("unix://ops:s3cret@/run/redis.sock", "unix://ops:***@/run/redis.sock"),
        ("redis://ops@server", "redis://ops@server"),
        ("embedded:///data", "embedded:///data"),
    ],
)
def test_three_stars_stand_for_the_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
