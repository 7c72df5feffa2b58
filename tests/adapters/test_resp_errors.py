"""What an error tells its reader to do, which depends on what the reader has given."""

from copy import copy
from functools import partial

import pytest

from papyra_streams.endpoint import Credentials, Endpoint
from papyra_streams.errors import AuthenticationFailed, UnsupportedOperation
from papyra_streams.urls import parse_url
from papyra_streams_adapters._resp.errors import Nameless, server_error, unreachable

login = partial(Credentials, password="one")


@pytest.mark.parametrize(
    ("endpoint", "login_place", "address_place"),
    [
        (parse_url("redis://:one@h"), "`url`", "`url`"),
        (parse_url("redis://h", credentials=login), "what `credentials` returns", "`url`"),
        (Endpoint(host="h", password="one", given_as="`client`"), "`client`", "`client`"),
        (Endpoint(host="h", credentials=login, given_as="`client`"), "`client`", "`client`"),
    ],
)
def test_the_place_is_named_where_something_is_to_be_corrected(
    endpoint: Endpoint, login_place: str, address_place: str
) -> None:
    refused = server_error("WRONGPASS invalid username-password pair", endpoint=endpoint.at("h", 1))

    assert str(refused).endswith(f"pair. Check the user name and the password in {login_place}.")
    assert str(unreachable(endpoint, "no route")).endswith(f"Check {address_place}, and that the server runs.")


def test_a_driver_of_a_third_party_need_not_say_whose_reply_it_is() -> None:
    assert str(server_error("NOAUTH Authentication required.")) == (
        "The server answered NOAUTH: Authentication required. Check the user name and the password in `url`."
    )


def test_a_copy_says_the_same() -> None:
    error = server_error("WRONGPASS no", endpoint=Endpoint(given_as="`client`"))

    assert str(copy(error)) == str(error)
    assert str(copy(AuthenticationFailed("No."))) == "No. Check the user name and the password in `url`."


@pytest.mark.parametrize(
    "text",
    [
        "ERR unknown command 'XADD', with args beginning with: 's' '*' ",
        "ERR unknown command `EVALSHA`, with args beginning with: `1`, ",
        "unknown command 'select', with args beginning with: '2' ",
        "ERR unknown command 'CLUSTER', with args beginning with: 'SLOTS' ",
    ],
)
def test_what_only_sentinels_do_not_know_hints_at_one(text: str) -> None:
    error = server_error(text)

    assert isinstance(error, UnsupportedOperation)
    assert str(error).endswith("If that is a Sentinel, write redis+sentinel://host:port/service in `url`.")


@pytest.mark.parametrize(
    "text", ["MOVED 3999 127.0.0.1:6381", "ERR unknown command 'XADD', with args beginning with: 's'"]
)
def test_whoever_gave_a_client_is_told_to_give_another(text: str) -> None:
    said = str(server_error(text, endpoint=Endpoint(given_as="`client`")))

    assert "give a client" in said
    assert "`url`" not in said


@pytest.mark.parametrize("text", ["ERR unknown command 'WAITAOF'", "ERR unknown subcommand 'X'. Try XGROUP HELP."])
def test_what_older_servers_do_not_know_hints_at_nothing(text: str) -> None:
    assert "Sentinel" not in str(server_error(text))


@pytest.mark.parametrize("text", ["MOVED 3999 ?:6381", "ASK 3999 ?:6381"])
def test_a_redirection_to_nobody_in_particular_says_what_is_missing(text: str) -> None:
    error = server_error(text)

    assert isinstance(error, Nameless)
    assert error.code == text.partition(" ")[0]
    assert "Set `cluster-announce-hostname` on each node" in str(error)
