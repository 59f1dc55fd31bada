"""Many Pods at once and little room: the webhook refuses those that do not fit, and no others."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from tests import process as server
from tests.e2e.balancer import balanced
from tests.e2e.client import PATIENCE, Client, Json, Reply, path_of
from tests.e2e.controlplane.processes import ControlPlane
from tests.e2e.installed import POLICY, Accounts, Installed, called, reachable, shipped
from tests.e2e.pods import FLYTE_1, pod
from tests.e2e.recorder import recording
from tests.e2e.test_quota import limited
from webhook.server import tls

CREATES, ROOM, CLIENTS = 300, 100, 40
OURS = {1: 99, 2: 93}  # percent of the refusals, at least, by the number of replicas
OURS_OF_TURNOVER = {1: 99, 2: 70}  # the same, where others end meanwhile
SLOTS, TASKS = 10, 60  # in a quota where a task ends every RUN seconds, and a refused one asks again after RETRY
RUN, RETRY = 0.15, 1.0
RUNS = 3  # at most
TIMES = 20  # that three Pods of exactly the quota are created


def test_a_pod_has_its_name_when_it_is_validated(admin: Client, namespace: str, tmp_path: Path) -> None:
    """What reservations are kept by: before, a Pod with a generateName has none."""
    with recording(admin, tmp_path) as recorder:
        recorder.reviews.clear()
        stored = admin.created(pod(namespace, "task-", FLYTE_1), dry_run=True)
        asked = {endpoint: review["request"] for endpoint, review in recorder.reviews.items()}
    assert [asked[endpoint].get("name", "") for endpoint in ("/mutate", "/validate")] == [
        "",
        stored["metadata"]["name"],
    ]
    assert "name" not in asked["/mutate"]["object"]["metadata"]
    assert asked["/validate"]["object"]["metadata"]["name"] == stored["metadata"]["name"]


@contextmanager
def replicas(admin: Client, folder: Path, kubeconfig: Path, count: int) -> Iterator[None]:
    """So many webhooks behind one address; on a slow machine, too, the API server waits for them."""
    certificate, key = tls.make_self_signed(folder, ["127.0.0.1"])
    options = f"--tls-cert-file={certificate}", f"--tls-private-key-file={key}", f"--kubeconfig={kubeconfig}"
    with ExitStack() as stack:
        running = [stack.enter_context(server.running("--policy", POLICY, *options)) for _ in range(count)]
        found = [Installed(each) for each in running]
        for each in running:
            each.wait_for("quotas synced")
        url = stack.enter_context(balanced([each.listening["webhook"] for each in running]))
        configurations = reachable(shipped(), url, certificate, timeoutSeconds=int(PATIENCE))
        stack.enter_context(called(admin, configurations, lambda: set().union(*(each.requests() for each in found))))
        yield
        assert min(each.requests()["/validate"] for each in found) > ROOM, "a replica was hardly asked"


@pytest.fixture(scope="module", params=[1, 2], ids=["one-replica", "two-replicas"])
def count(
    request: pytest.FixtureRequest, admin: Client, accounts: Accounts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """The number of replicas that are asked."""
    with replicas(admin, tmp_path_factory.mktemp("replicas"), accounts("flyte-admission"), request.param):
        yield request.param


def at_once(plane: ControlPlane, clients: int, asked: Sequence[Callable[[Client], Reply]]) -> list[Reply]:
    """The replies to all of them, of so many clients, each connected before the first one begins."""
    local, connected = threading.local(), list[Client]()
    ready = threading.Barrier(clients, timeout=PATIENCE)

    def connect() -> None:
        local.client = plane.client()
        connected.append(local.client)
        local.client.must("GET", path_of("Namespace", name="default"))
        ready.wait()

    with ThreadPoolExecutor(clients, initializer=connect) as pool:
        replies = list(pool.map(lambda ask: ask(local.client), asked))
    for client in connected:
        client.close()
    return replies


def created(made: Json) -> Callable[[Client], Reply]:
    return lambda client: client.create(made)


def is_ours(reply: Reply) -> bool:
    """Whether the webhook refused it, and not the API server's own check."""
    return "admission webhook" in reply.message


@pytest.mark.parametrize("named", [True, False], ids=["named", "generate-name"])
def test_of_a_burst_as_many_get_in_as_there_is_room_for_and_we_refuse_the_others(
    control_plane: ControlPlane,
    admin: Client,
    count: int,
    named: bool,  # noqa: FBT001
) -> None:
    assert_ours(lambda: burst(control_plane, admin, named=named), OURS[count])


def assert_ours(run: Callable[[], Counter[bool]], bar: float) -> None:
    """Require that a run has `bar` percent of its refusals from us.

    A reservation lasts as long as an API server takes to charge a Pod. On a busy machine it takes longer now and then,
    and the run is repeated.
    """
    shares = list[float]()
    while not shares or (shares[-1] < bar and len(shares) < RUNS):
        refusals = run()
        shares.append(refusals[True] * 100 / refusals.total())
        print(f"{refusals[True]} of {refusals.total()} refusals are ours")
    assert shares[-1] >= bar, shares


def burst(control_plane: ControlPlane, admin: Client, *, named: bool) -> Counter[bool]:
    """The refusals of a burst into an empty quota, by whether they are ours."""
    namespace = made_namespace(admin)
    limited(admin, namespace, {"pods": str(ROOM)})
    pods = [pod(namespace, f"task-{number if named else ''}", FLYTE_1) for number in range(CREATES)]
    replies = at_once(control_plane, CLIENTS, [created(each) for each in pods])
    assert Counter(reply.code for reply in replies) == {201: ROOM, 403: CREATES - ROOM}
    assert all("exceeded quota: q" in reply.message for reply in replies if reply.code == 403)
    assert len(admin.items("Pod", namespace)) == ROOM
    assert admin.must("GET", path_of("ResourceQuota", namespace, "q"))["status"]["used"] == {"pods": str(ROOM)}
    return Counter(is_ours(reply) for reply in replies if reply.code == 403)


def made_namespace(admin: Client) -> str:
    name: str = admin.created({"kind": "Namespace", "metadata": {"generateName": "test-"}})["metadata"]["name"]
    return name


def test_pods_of_exactly_the_quota_at_once_all_get_in(control_plane: ControlPlane, admin: Client, count: int) -> None:
    assert count
    for _ in range(TIMES):
        namespace = made_namespace(admin)
        limited(admin, namespace, {"limits.cpu": "6"})
        pods = [pod(namespace, f"task-{number}", FLYTE_1, {"limits": {"cpu": "2"}}) for number in range(3)]
        replies = at_once(control_plane, len(pods), [created(each) for each in pods])
        assert [(reply.code, reply.message) for reply in replies] == [(201, "")] * len(pods)
        assert len(admin.items("Pod", namespace)) == len(pods)


def test_in_a_full_quota_where_tasks_end_while_others_begin_we_refuse_what_does_not_fit(
    control_plane: ControlPlane, admin: Client, count: int
) -> None:
    assert_ours(lambda: turnover(control_plane, admin), OURS_OF_TURNOVER[count])


def turnover(control_plane: ControlPlane, admin: Client) -> Counter[bool]:
    """The refusals of tasks that wait for others to end, by whether they are ours."""
    namespace = made_namespace(admin)
    limited(admin, namespace, {"pods": str(SLOTS)})
    running, ended = deque[str](), Event()

    def until_it_runs(name: str) -> Callable[[Client], Reply]:
        """Create the task until it is stored, with a pause after each refusal."""

        def ask(client: Client) -> Reply:
            while (reply := client.create(pod(namespace, name, FLYTE_1))).code == 403 and not ended.wait(RETRY):
                refusals[is_ours(reply)] += 1
            running.append(name)
            return reply

        return ask

    def end_one_after_the_other() -> None:
        with closing(control_plane.client()) as client:
            while not ended.wait(RUN):
                if running:
                    path = f"{path_of('Pod', namespace, running.popleft())}/status"
                    client.must("PATCH", path, {"status": {"phase": "Succeeded"}})

    refusals = Counter[bool]()
    ending = Thread(target=end_one_after_the_other)
    ending.start()
    try:
        replies = at_once(control_plane, CLIENTS, [until_it_runs(f"task-{number}") for number in range(TASKS)])
    finally:
        ended.set()
        ending.join()
    assert {reply.code for reply in replies} == {201}
    return refusals


def test_of_resizes_at_once_as_many_are_made_as_there_is_room_for(
    control_plane: ControlPlane, admin: Client, namespace: str, count: int
) -> None:
    for number in range(10):
        admin.created(pod(namespace, f"task-{number}", FLYTE_1, resources("100m")))
    limited(admin, namespace, {"limits.cpu": "2"})

    def resized(name: str) -> Callable[[Client], Reply]:
        grown = {"spec": {"containers": [{"name": "main", "resources": resources("300m")}]}}
        path = f"{path_of('Pod', namespace, name)}/resize"
        return lambda client: client.ask("PATCH", path, grown, patch="strategic-merge-patch")

    replies = at_once(control_plane, 10, [resized(f"task-{number}") for number in range(10)])
    assert Counter(reply.code for reply in replies) == {200: 5, 403: 5}
    assert count > 1 or sum(map(is_ours, replies)) == 5


def resources(cpu: str) -> Json:
    amounts = {"cpu": cpu, "memory": "1Gi", "ephemeral-storage": "1Gi"}
    return {"requests": amounts, "limits": amounts}
