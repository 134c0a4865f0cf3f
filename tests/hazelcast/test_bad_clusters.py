"""Clusters that are not there, do not take the client, or hold something else: each is a named error."""

from __future__ import annotations

import time

import pytest

import jetbridge
from jetbridge import JobConfig, ListSource, Pipeline, StreamSource
from jetbridge.connectors.hazelcast.cluster import HazelcastCluster
from jetbridge.connectors.hazelcast.list_source import ListSource as ClusterList
from jetbridge.errors import ConfigError, ConnectionError, JobFailedError, SourceError
from jetbridge.hazelcast_members import Member
from jetbridge.processes import free_ports

# isort: split
from hazelcast import HazelcastClient


def submit(config, home, pipeline=None, **more):
    if pipeline is None:
        pipeline = Pipeline.create()
        pipeline.read_from(ListSource("l")).write_to(Pipeline.to_list("r"))
    with jetbridge.connect(home=home, parallelism=1, hazelcast=config, **more) as client:
        client.get_jet().submit(pipeline).join(timeout=60)


def test_no_cluster_at_the_address(tmp_path, says):
    [port] = free_ports(1)
    config = {"cluster_members": [f"127.0.0.1:{port}"], "cluster_connect_timeout": 0.5}
    started = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        submit(config, tmp_path / "home")
    assert time.monotonic() - started < 10
    says(caught, f"no Hazelcast cluster 'dev' at 127.0.0.1:{port} answered within 0.5 s", "cluster_members")
    assert caught.value.__cause__ is not None


def test_the_only_member_is_killed(tmp_path, until, says, name, runner):
    """Its connections are cut and then refused; the job fails when the time is over, and says why and where."""
    events, results = name("events"), name("results")
    pipeline = Pipeline.create()
    pipeline.read_from(StreamSource(events)).write_to(Pipeline.to_list(results))
    with Member(memory=256) as member:
        config = {"cluster_members": [member.address], "cluster_connect_timeout": 1}
        with jetbridge.connect(runner=runner, home=tmp_path / "home", parallelism=1, hazelcast=config) as client:
            client.get_stream(events).publish("a")
            job = client.get_jet().submit(pipeline, JobConfig(processing_guarantee="EXACTLY_ONCE"))
            until(lambda: client.get_list(results).size() == 1, "the first item")
            member.kill()
            with pytest.raises(JobFailedError) as caught:
                job.join(timeout=60)
    says(caught, f"Hazelcast cluster 'dev' at {member.address} went away and did not come back within 1 s", "refused")


def test_another_cluster_name(member, tmp_path, says):
    config = {"cluster_members": [member.address], "cluster_name": "prod", "cluster_connect_timeout": 20}
    started = time.monotonic()
    with pytest.raises(ConnectionError) as caught:
        submit(config, tmp_path / "home")
    assert time.monotonic() - started < 10, "there is no use in waiting"
    says(caught, f"Hazelcast cluster 'prod' at {member.address} does not take this client", "cluster_name", "creds")
    assert type(caught.value.__cause__).__name__ == "AuthenticationError"


def test_options_that_the_client_does_not_know(tmp_path):
    with pytest.raises(ConfigError, match="hazelcast: cluster_nmae is not as HazelcastClient takes it: Unrecognized"):
        submit({"cluster_nmae": "x"}, tmp_path / "home")
    with pytest.raises(ConfigError, match="hazelcast: cluster_members is not as HazelcastClient takes it"):
        submit({"cluster_members": 5701}, tmp_path / "home")
    with pytest.raises(ConfigError, match=r"setting hazelcast must be .*dictionary; got 'what is not shown here'"):
        submit("127.0.0.1:5701", tmp_path / "home")


class Locked:
    """Holds what no other process can have."""

    def __init__(self):
        self.lock = __import__("threading").Lock()


def test_an_option_that_cannot_travel():
    from hazelcast.security import BasicTokenProvider

    provider = BasicTokenProvider("token")
    provider.locked = Locked()
    with pytest.raises(ConfigError, match=r"hazelcast: token_provider cannot travel to the workers"):
        HazelcastCluster({"token_provider": provider})


def test_passwords_are_not_shown(member):
    cluster = HazelcastCluster({"cluster_members": [member.address], "creds_password": "hunter2"})
    assert "hunter2" not in f"{cluster!r} {cluster}"


def test_options_from_the_environment(member, hz, monkeypatch, tmp_path, name):
    listed = name("listed")
    monkeypatch.setenv("JETBRIDGE_HAZELCAST", f'{{"cluster_members": ["{member.address}"]}}')
    with jetbridge.connect(home=tmp_path / "home") as client:
        client.get_list(listed).add(1)
    assert hz.get_list(listed).get_all().result() == [1]
    monkeypatch.setenv("JETBRIDGE_HAZELCAST", "{secret")
    with pytest.raises(ConfigError, match="setting hazelcast must be a valid dictionary") as caught:
        jetbridge.connect(home=tmp_path / "home")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "there", "hint"),
    [
        (lambda n: ListSource(n), "map", "has no list '{0}', but a map of that name: read it with Pipeline.from_map"),
        (lambda n: Pipeline.from_map(n), "list", "has no map '{0}', but a list of that name: read it with ListSource"),
        (lambda n: StreamSource(n), "queue", "has no ringbuffer or reliable topic '{0}', but a queue of that name"),
    ],
)
def test_a_name_that_means_another_structure(member, hz, tmp_path, name, make, there, hint):
    other = name("other")
    {"map": hz.get_map, "list": hz.get_list, "queue": hz.get_queue}[there](other)
    pipeline = Pipeline.create()
    pipeline.read_from(make(other)).write_to(Pipeline.to_list("r"))
    with pytest.raises(SourceError) as caught:
        submit({"cluster_members": [member.address]}, tmp_path / "home", pipeline)
    assert hint.format(other) in str(caught.value)


def test_a_client_that_is_shut_down(member, tmp_path):
    client = HazelcastClient(cluster_members=[member.address])
    jet = client.get_jet(home=tmp_path / "home")
    client.shutdown()
    with pytest.raises(ConnectionError, match="this HazelcastClient is shut down"):
        client.get_jet()
    with pytest.raises(jetbridge.JetbridgeError, match="the client is shut down"):
        jet.submit(Pipeline.create())


def test_get_jet_again_gives_the_same_service(member, tmp_path):
    client = HazelcastClient(cluster_members=[member.address])
    try:
        client.get_jet(home=tmp_path / "home", parallelism=1)
        assert client.get_jet().get_jobs() == []
        assert client.get_jet(home=tmp_path / "home", parallelism=1).get_jobs() == []
        with pytest.raises(ConfigError, match="give the settings at the first call"):
            client.get_jet(home=tmp_path / "other")
    finally:
        client.shutdown()


def test_bad_items_are_named_with_their_stage(member, tmp_path, says):
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(Pipeline.from_list("n", [1, 2]))
    numbers.map(lambda n: None if n == 2 else n).write_to(Pipeline.to_list("no-none"))
    with pytest.raises(JobFailedError) as caught:
        submit({"cluster_members": [member.address]}, tmp_path / "home", pipeline)
    says(caught, "no-none", "a hazelcast list cannot hold None", "filter it out")


def test_a_client_captured_by_a_function(member, hz, tmp_path, says):
    """The guide's client stays where it is: what a function needs it opens itself."""
    pipeline = Pipeline.create()
    pipeline.read_from(Pipeline.from_list("n", [1])).map(lambda n: hz.get_map("m").get(n)).write_to(
        Pipeline.to_list("r")
    )
    with pytest.raises(jetbridge.errors.SerializationError) as caught:
        submit({"cluster_members": [member.address]}, tmp_path / "home", pipeline)
    says(caught, "map 'map'", "uses 'hz', a HazelcastClient that cannot travel")


def test_a_connector_of_its_own_cluster(member, hz, tmp_path, name):
    listed, results = name("listed"), name("results")
    hz.get_list(listed).add_all([1, 2]).result()
    pipeline = Pipeline.create()
    pipeline.read_from(
        jetbridge.sources.hazelcast_list(listed, cluster={"cluster_members": [member.address]})
    ).write_to(Pipeline.to_list(results))
    with jetbridge.connect(home=tmp_path / "home", parallelism=1) as client:
        client.get_jet().submit(pipeline).join(timeout=60)
        assert client.get_list(results).get_all() == [1, 2], "the other name means a list of the data folder"
    assert hz.get_list(results).size().result() == 0


def test_the_config_of_a_client_is_taken_over(member):
    client = HazelcastClient(cluster_members=[member.address], labels=["a"], lifecycle_listeners=[print])
    try:
        taken = HazelcastCluster.of(client)
        assert taken.config == {"cluster_members": [member.address], "labels": ["a"]}
        assert ClusterList("l", taken).cluster is taken
    finally:
        client.shutdown()
