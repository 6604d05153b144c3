import tomllib

from bench.configurations import example, grown, off, to_toml, without_uploads


def test_the_examples_limits_are_out_of_reach_and_nothing_is_logged() -> None:
    config = example()
    rates = [limit["rate"] for limit in config["policies"]["rate_limits"]["limits"]]
    assert all(part.startswith("1000000000/") for rate in rates for part in rate.split(";"))
    assert config["log"] == {"audit": "off", "access": "off"}


def test_a_grown_configuration_has_as_much_as_was_asked_for() -> None:
    config = grown(limits=100, ranges=300, routes=10)
    policies = config["policies"]
    assert len(policies["rate_limits"]["limits"]) == 100
    assert len(set(config["client"]["trusted_proxies"])) == 300
    assert len(policies["interfaces"]["allow"]) == len(example()["policies"]["interfaces"]["allow"]) + 10


def test_a_configuration_reads_back_from_toml_as_it_was() -> None:
    for config in (grown(limits=10, ranges=2), without_uploads(example()), off()):
        assert tomllib.loads(to_toml(config)) == config
