"""Connection URLs, which every driver understands alike."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from papyra_streams import RedisStreamsConfig
from papyra_streams.endpoint import (
    ClusterNodes,
    Credentials,
    EmbeddedDirectory,
    Endpoint,
    SentinelService,
    Server,
    Tls,
)
from papyra_streams.errors import ConfigurationError, InvalidUrl
from papyra_streams.urls import parse_url

# -- what is understood


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("redis://localhost", Endpoint(host="localhost")),
        ("redis://localhost/", Endpoint(host="localhost")),
        ("valkey://localhost:6380", Endpoint(host="localhost", port=6380)),
        ("rediss://server.example:6380/3", Endpoint(host="server.example", port=6380, tls=Tls(), database=3)),
        ("valkeys://server.example", Endpoint(host="server.example", tls=Tls())),
        ("redis://localhost?db=4", Endpoint(host="localhost", database=4)),
        ("redis://localhost/4?db=4", Endpoint(host="localhost", database=4)),
        ("redis://localhost?", Endpoint(host="localhost")),
        ("redis://localhost:", Endpoint(host="localhost")),
        ("REDIS://LocalHost", Endpoint(host="localhost")),
        ("redis://10.0.0.1:7000/0", Endpoint(host="10.0.0.1", port=7000)),
        ("redis://[::1]:6380/2", Endpoint(host="::1", port=6380, database=2)),
        ("redis://[2001:DB8::7]", Endpoint(host="2001:db8::7")),
        ("redis://:[s3]cret@[::1]", Endpoint(host="::1", password="[s3]cret")),
        ("redis://:s3+cret@localhost", Endpoint(host="localhost", password="s3+cret")),
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


def nodes(*ports: int, **common: Any) -> tuple[Endpoint, ...]:
    """Return servers of one host."""
    return tuple(Endpoint(host="h", port=port, **common) for port in ports)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis+cluster://h:7000,h:7001", ClusterNodes(nodes=nodes(7000, 7001))),
        ("valkey+cluster://h/0", ClusterNodes(nodes=nodes(6379))),
        ("valkeys+cluster://h,h:1", ClusterNodes(nodes=nodes(6379, 1, tls=Tls()))),
        (
            "redis+cluster://[::1]:7000,[::1]:7001",
            ClusterNodes(nodes=(Endpoint(host="::1", port=7000), Endpoint(host="::1", port=7001))),
        ),
        (
            "redis+cluster://h,[::1],i:1",
            ClusterNodes(nodes=(Endpoint(host="h"), Endpoint(host="::1"), Endpoint(host="i", port=1))),
        ),
        (
            "rediss+cluster://o%40ps:s%2C%40@[::1]:7000,h:1",
            ClusterNodes(
                nodes=(
                    Endpoint(host="::1", port=7000, tls=Tls(), username="o@ps", password="s,@"),
                    Endpoint(host="h", port=1, tls=Tls(), username="o@ps", password="s,@"),
                )
            ),
        ),
        (
            "redis+sentinel://h,h:7001/orders",
            SentinelService(name="orders", sentinels=nodes(26379, 7001), primary=Endpoint()),
        ),
        (
            "rediss+sentinel://ops:one@h:1/my%20orders/3?sentinel_username=watch&sentinel_password=t%26w+o",
            SentinelService(
                name="my orders",
                sentinels=nodes(1, tls=Tls(), username="watch", password="t&w+o"),
                primary=Endpoint(tls=Tls(), database=3, username="ops", password="one"),
            ),
        ),
        (
            "valkey+sentinel://h:1/orders?db=2",
            SentinelService(name="orders", sentinels=nodes(1), primary=Endpoint(database=2)),
        ),
    ],
)
def test_a_url_names_a_cluster_or_a_service(url: str, server: Server) -> None:
    assert parse_url(url) == server


@pytest.fixture
def files(tmp_path: Path) -> Tls:
    """Return files for TLS that are there."""
    paths = [tmp_path / name for name in ("ca", "cert", "key")]
    for path in paths:
        path.touch()
    ca, cert, key = map(str, paths)
    return Tls(ca=ca, cert=cert, key=key)


def test_files_for_tls_stand_in_the_url_or_in_the_settings(files: Tls) -> None:
    options = f"ca={files.ca}&cert={files.cert}&key={files.key}"

    assert parse_url(f"rediss://h?{options}") == Endpoint(host="h", tls=files)
    assert parse_url("rediss://h", files=files) == Endpoint(host="h", tls=files)
    assert parse_url(f"rediss+cluster://h?{options}") == ClusterNodes(nodes=nodes(6379, tls=files))
    assert parse_url("rediss+sentinel://h/orders", files=files) == SentinelService(
        name="orders", sentinels=nodes(26379, tls=files), primary=Endpoint(tls=files)
    )
    config = RedisStreamsConfig("rediss://h", driver="redis", ca=files.ca, cert=Path(str(files.cert)), key=files.key)
    assert config.target() == Endpoint(host="h", tls=files)


def test_files_for_tls_are_refused_where_they_cannot_be_used(files: Tls) -> None:
    for url, chosen, message in (
        ("redis://h", files, "which `url` does not ask for; write rediss://."),
        (f"redis://h?ca={files.ca}", Tls(), "which `url` does not ask for"),
        (f"rediss://h?ca={files.ca}", files, "leave one out"),
        (f"rediss://h?key={files.key}", Tls(), "name its file as `cert`"),
        ("rediss://h?ca=/nowhere/at/all", Tls(), "`ca` names a file that cannot be read: '/nowhere/at/all'"),
        ("unix:///run/redis.sock", files, "which `url` does not ask for"),
        ("embedded://", files, "takes neither `credentials` nor TLS"),
    ):
        with pytest.raises(InvalidUrl, match=re.escape(message)):
            parse_url(url, files=chosen)


@pytest.mark.parametrize(("name", "value"), [("ca", b"file"), ("cert", ""), ("key", 3), ("credentials", "secret")])
def test_settings_for_tls_and_credentials_have_their_types(name: str, value: object) -> None:
    settings: dict[str, Any] = {name: value}

    with pytest.raises(ConfigurationError, match=f"`{name}` must be"):
        RedisStreamsConfig("rediss://h", driver="redis", **settings)


def login() -> Credentials:
    """Return who we are."""
    return Credentials(username="ops", password="s3cret")


def test_credentials_may_be_asked_for_each_time() -> None:
    assert parse_url("redis://h", credentials=login) == Endpoint(host="h", credentials=login)
    assert parse_url("redis+cluster://h", credentials=login) == ClusterNodes(nodes=nodes(6379, credentials=login))
    with pytest.raises(InvalidUrl, match="leave one out"):
        parse_url("redis://ops@h", credentials=login)
    with pytest.raises(InvalidUrl, match="takes neither"):
        parse_url("embedded://", credentials=login)
    assert "s3cret" not in repr(login())


def test_what_asks_for_credentials_is_not_shown_with_what_it_was_made_of() -> None:
    config = RedisStreamsConfig("redis://h", driver="redis", credentials=partial(Credentials, password="s3cret"))

    assert "credentials=<class 'functools.partial'>" in repr(config)
    assert "s3cret" not in repr(config)


def test_a_password_is_part_of_what_is_compared() -> None:
    assert parse_url("redis://:one@localhost") != parse_url("redis://:two@localhost")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://ops:s3cret@localhost", "redis://localhost:6379/0"),
        ("valkeys://ops:s3cret@[::1]:7000/2", "rediss://[::1]:7000/2"),
        ("unix://ops:s3cret@/run/redis.sock", "unix:///run/redis.sock"),
        ("redis+cluster://ops:s3cret@h,[::1]:1", "redis+cluster://h:6379,[::1]:1"),
        (
            "valkeys+sentinel://ops:s3cret@h,i/orders?sentinel_password=two",
            "rediss+sentinel://h:26379,i:26379/orders/0",
        ),
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
        ("memory://", "rediss://, valkeys://, redis+cluster://, redis+sentinel://, unix://, embedded://"),
        ("redis://", "names no host"),
        ("redis:///0", "names no host"),
        ("redis:localhost", "names no host"),
        ("redis+sentinels://h", "redis+cluster://"),
        ("unix+cluster:///run/redis.sock", "unix+cluster://"),
        ("redis://h,i", "names several hosts; write redis+cluster:// or redis+sentinel://."),
        ("redis+cluster://", "names no host; write redis+cluster://host,host."),
        ("redis+cluster://h,", "names no host"),
        ("redis+cluster://h:1, i:2", "names no host"),
        ("redis+cluster://u:p@h:1,u:p@i:2", "name the user and the password once, before the first host"),
        ("redis+sentinel://u:p@h:1,u:p@i:2/orders", "name the user and the password once"),
        ("redis+cluster://h,:7000", "names no host"),
        ("redis+cluster://h:1,h:port", "malformed"),
        ("redis+cluster://h/1", "a cluster has number 0 alone; use `prefix`"),
        ("redis+cluster://h?db=1", "a cluster has number 0 alone"),
        ("redis+cluster://h/first", "a cluster has number 0 alone"),
        ("redis+cluster://h?sentinel_password=two", "an unknown option"),
        ("redis+sentinel://h", "names no service; write redis+sentinel://host,host/service"),
        ("redis+sentinel:///orders", "names no host"),
        ("redis+sentinel://h/orders/first", "names a database that is no number"),
        ("redis+sentinel://h/orders?db=1&db=2", "an option twice"),
        ("redis+sentinel://h/orders/2?db=3", "two databases, one in its path and one as `db`; leave one out."),
        ("redis://h/2?db=3", "two databases"),
        ("redis+cluster://h,[::1", "malformed"),
        ("redis+cluster://[h],i", "malformed"),
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
        ("redis://[]", "malformed"),
        ("redis://[::1]7000", "malformed"),
        ("redis://[127.0.0.1]", "malformed"),
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

    assert isinstance(understood, Server | EmbeddedDirectory)
