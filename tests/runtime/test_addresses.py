"""What is an address, and what is said of what is none."""

import pytest

from phalanx.runtime.addresses import fault_of_address, is_address, split_address


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("localhost:7400", ("localhost", 7400)),
        ("127.0.0.1:1", ("127.0.0.1", 1)),
        ("[::1]:65535", ("::1", 65535)),
        ("[fe80::1%eth0]:7400", ("fe80::1%eth0", 7400)),
        ("node-0.phalanx.default.svc.cluster.local.:7400", ("node-0.phalanx.default.svc.cluster.local.", 7400)),
        ("my_node:7400", ("my_node", 7400)),
        ("0123456789ab:7400", ("0123456789ab", 7400)),
    ],
)
def test_a_name_an_ipv4_address_or_an_ipv6_address_in_brackets_and_a_port_are_one(
    text: str, place: tuple[str, int]
) -> None:
    assert is_address(text) and split_address(text) == place


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it has no port"),
        ("host", "it has no port"),
        ("host:", "it has no port"),
        ("[::1]", "it has no port"),
        ("::1", "it has no port: with one it is [::1]:port"),
        ("2001:db8::7400", "it has no port: with one it is [2001:db8::7400]:port"),
        ("::1:1", "an IPv6 address stands in brackets: [::1]:1"),
        (":7400", "it has no host"),
        (":", "it has no host"),
        ("host:http", "'http' is no port, a number from 1 to 65535"),
        ("host:99999", "'99999' is no port, a number from 1 to 65535"),
        ("host:" + "9" * 200, f"'{'9' * 200}' is no port, a number from 1 to 65535"),
        ("host:-1", "'-1' is no port, a number from 1 to 65535"),
        ("host:+1", "'+1' is no port, a number from 1 to 65535"),
        ("host:0", "'0' is no port, a number from 1 to 65535"),
        ("host:\u0661", "'\u0661' is no port, a number from 1 to 65535"),
        (" host:1", "it has a space, or what cannot be printed"),
        ("host :1", "it has a space, or what cannot be printed"),
        ("host: 1", "it has a space, or what cannot be printed"),
        ("host:1\n", "it has a space, or what cannot be printed"),
        ("[::1:1", "its brackets do not enclose the host"),
        ("::1]:1", "its brackets do not enclose the host"),
        ("[host]:1", "no IPv6 address is in the brackets"),
        ("[]:1", "no IPv6 address is in the brackets"),
        ("http://host:1", "no host can have the name 'http://host'"),
        ("user@host:1", "no host can have the name 'user@host'"),
        ("~1:80", "no host can have the name '~1'"),
        ("*:7400", "no host can have the name '*'"),
        ("a,b:1", "no host can have the name 'a,b'"),
        ("1:2:3", "no host can have the name '1:2'"),
        ("a..b:1", "no host can have the name 'a..b'"),
        ("b\u00fccher.example:1", "no host can have the name 'b\u00fccher.example'"),
        ("x" * 64 + ":1", f"no host can have the name '{'x' * 64}'"),
        ("999.1.1.1:80", "999.1.1.1 is no IPv4 address"),
        ("x." * 200 + "x:1", "it has 403 letters, the limit is 300"),
    ],
)
def test_what_is_none_is_told_what_it_lacks(text: str, why: str) -> None:
    assert fault_of_address(text) == why and not is_address(text)
    with pytest.raises(ValueError, match=r"is no address: .*; one looks like host:port or"):
        split_address(text)


def test_port_0_is_any_free_one_where_somebody_listens() -> None:
    assert split_address("[::1]:0", 0) == ("::1", 0)
    assert fault_of_address("host:-1", 0) == "'-1' is no port, a number from 0 to 65535"
