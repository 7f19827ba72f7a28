"""What supervisord is told."""

import configparser
from pathlib import Path

from sardeenz.run import services
from sardeenz.run.services import Service

PLACE = Path("/a place/100%")


def _read(service: Service) -> configparser.SectionProxy:
    text = services.section(service, data_dir_tag="tag", directory=PLACE, log_dir=PLACE / "logs")
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return parser[parser.sections()[0]]


def test_whatever_ends_a_service_it_is_started_again() -> None:
    for service in (*services.node_services(["GPU-1"]), *_control()):
        assert _read(service)["autorestart"] == "true"


def test_every_gpu_has_a_worker_of_its_own() -> None:
    names = [service.name for service in services.node_services(["GPU-1", "GPU-2"])]
    assert names == ["gpu-GPU-1", "gpu-GPU-2", "node"]
    assert "gpu.GPU-1" in services.node_services(["GPU-1"])[0].argv


def test_gateways_share_one_socket() -> None:
    gateway = next(service for service in _control() if service.name == services.GATEWAY)
    section = _read(gateway)
    assert section.name == "fcgi-program:gateway"
    assert section["socket"] == "tcp://127.0.0.1:8001"
    assert section["numprocs"] == "3"


def test_servers_start_first_and_stop_last() -> None:
    servers = services.servers(Path("/data"), postgres=True, valkey=True)
    assert max(each.priority for each in servers) < min(each.priority for each in _control())


def test_a_server_elsewhere_is_not_started() -> None:
    assert services.servers(Path("/data"), postgres=False, valkey=False) == []


def test_a_service_carries_the_mark_of_its_data_directory() -> None:
    assert _read(Service("web", ("x",), 1))["environment"] == 'SARDEENZ_SERVICE="tag:web"'


def test_words_that_supervisord_would_read_otherwise_are_quoted() -> None:
    assert _read(Service("a", ("/a place/x", "50%", ""), 1))["command"] == "'/a place/x' 50%% ''"


def _control() -> list[Service]:
    return services.control_services(host="127.0.0.1", web_port=8000, gateway_port=8001, gateways=3)
