"""The user's own modules travel with a job as source, and are what the client had."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from jetbridge.jobs.carrying import carried
from jetbridge.jobs.packing import pack, plan_of

COUNTING = """
    import threading
    from dataclasses import dataclass
    from functools import lru_cache

    import jetbridge
    from own.parts import steps

    LOCK = threading.Lock()

    @jetbridge.register_type
    @dataclass(frozen=True)
    class Total:
        amount: int

    @lru_cache
    def doubled(number):
        import own.lazily
        with LOCK:
            return own.lazily.times(number, steps.STEP)

    def added(total, number):
        assert isinstance(total, Total)
        return Total(total.amount + number)
    """
FIRST = """
    import jetbridge
    import own.lazily
    from beside import Total, added, doubled
    from jetbridge import JobConfig, Pipeline, StreamSource

    pipeline = Pipeline.create()
    numbers = pipeline.read_from(StreamSource("numbers")).map(lambda number: doubled(number))
    numbers.rolling_aggregate(accumulator=added, initial=Total(0)).map(
        lambda total: total.amount).write_to(Pipeline.to_list("totals"))
    with jetbridge.connect() as client:
        client.get_stream("numbers").publish_all([1, 2])
        job = client.get_jet().submit(pipeline, JobConfig(name="sum", processing_guarantee="EXACTLY_ONCE"))
        totals = client.get_list("totals")
        for _ in iter(totals.size, 2):
            assert not job.is_terminal(), job.join()
        job.suspend()
    """
SECOND = """
    import jetbridge

    with jetbridge.connect() as client:
        client.get_stream("numbers").publish_all([4])
        job = client.get_jet().get_job_by_name("sum")
        job.resume()
        totals = client.get_list("totals")
        for _ in iter(totals.size, 3):
            assert not job.is_terminal(), job.join()
        job.cancel()
        print(totals.get_all())
    """


def write(path, source=""):
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(textwrap.dedent(source))
    return path


def test_modules_beside_the_script_are_there_when_their_files_are_not(script, tmp_path):
    files = [
        write(tmp_path / "beside.py", COUNTING),
        write(tmp_path / "own" / "__init__.py"),
        write(tmp_path / "own" / "lazily.py", "def times(number, factor):\n    return number * factor\n"),
        write(tmp_path / "own" / "parts" / "steps.py", "STEP = 2\n"),  # in a namespace package
    ]
    script(FIRST)
    for file in files:
        file.unlink()
    assert script(SECOND).stdout == "[2, 6, 14]\n"


def test_what_modules_need_in_turn_is_taken_along(own):
    own(own_a="import own_b, json", own_b="def late():\n    from own_c import thing", own_c="thing = 1", own_d="")
    assert set(carried(["own_a", "json", "cloudpickle", "jetbridge", "unheard_of"])) == {"own_a", "own_b", "own_c"}
    assert set(carried(["own_b"], leaving=["own_c"])) == {"own_b"}


def test_what_is_installed_stays_behind(own):
    own("site-packages", own_library="")
    assert carried(["own_library"]) == {}


def test_looking_at_a_plan_leaves_no_module_in_the_process(own, pipeline):
    [module] = own(own_functions="def doubled(number):\n    return 2 * number\n")
    payload = pack(pipeline(module.doubled).plan(), "run")
    sys.path.pop(0)
    del sys.modules["own_functions"]
    finders = list(sys.meta_path)
    [node] = [node for node in plan_of(payload).nodes if node.kind == "map"]
    assert node.functions["fn"](2) == 4
    assert "own_functions" not in sys.modules
    assert sys.meta_path == finders


def test_a_worker_gets_the_module_that_the_client_had(own, pipeline, tmp_path):
    [module] = own(own_functions="def doubled(number):\n    return 2 * number\n")
    payload = tmp_path / "payload"
    payload.write_bytes(pack(pipeline(module.doubled).plan(), "run"))
    other = write(tmp_path / "elsewhere" / "own_functions.py", "raise AssertionError('another one of that name')")
    read = (
        "import sys; from jetbridge.jobs.packing import unpack; plan = unpack(open(sys.argv[1], 'rb').read()).plan; "
        "print([node.functions['fn'](2) for node in plan.nodes if node.kind == 'map'])"
    )
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(other.parent)!r}); {read}", str(payload)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[4]\n", done.stderr
