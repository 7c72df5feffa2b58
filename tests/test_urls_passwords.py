"""The password in a URL, which is shown nowhere."""

from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from papyra_streams import RedisStreamsConfig
from papyra_streams.endpoint import Endpoint
from papyra_streams.errors import InvalidUrl
from papyra_streams.urls import parse_url, without_password

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
        "redis+cluster://{}@server,other:port",
        "rediss+cluster://{}@server,[::1]:7000/1",
        "redis+sentinel://{}@server,other/orders/0",
        "redis+sentinel://{}@server",
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


@given(st.sampled_from(["", "s:3"]), secrets)
def test_the_password_of_the_sentinels_is_never_shown(user: str, secret: str) -> None:
    shape = f"redis+sentinel://{user}@server/orders?db=0&sentinel_password={{}}"
    encoded = quote(secret, safe="")
    said_without = everything_said_about(shape.format("***"))
    assume(secret not in said_without and encoded not in said_without)
    said = everything_said_about(shape.format(encoded))

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
        "redis://[secret]",
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
    assert "secret" not in everything_said_about(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ops:s3cret@server:7000/2", "redis://ops:***@server:7000/2"),
        ("redis://:s3cret@server", "redis://:***@server"),
        ("redis://ops:p@ss@server", "redis://ops:***@server"),
        ("unix://ops:s3cret@/run/redis.sock", "unix://ops:***@/run/redis.sock"),
        ("redis://ops@server", "redis://ops@server"),
        ("redis+cluster://ops:s3cret@h:1,i:2", "redis+cluster://ops:***@h:1,i:2"),
        ("redis+cluster://:s3[cret@[::1]:1,[::1]:2", "redis+cluster://:***@[::1]:1,[::1]:2"),
        (
            "redis+sentinel://h/orders?sentinel_password=two&db=1",
            "redis+sentinel://h/orders?sentinel_password=***&db=1",
        ),
        ("redis+sentinel://:one@h/o?sentinel%5Fpassword=two", "redis+sentinel://:***@h/o?sentinel%5Fpassword=***"),
        ("embedded:///data", "embedded:///data"),
    ],
)
def test_three_stars_stand_for_the_password(url: str, shown: str) -> None:
    assert without_password(url) == shown
