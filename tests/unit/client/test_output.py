"""What workers print and log, as the client's user sees it."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import pytest

from jetbridge import JobConfig

DEADLINE = 60.0


def test_prints_come_as_they_happen(jet, pipeline, gate, capsys, until):
    def show(item):
        print("item", item)
        return gate(item)

    job = jet.submit(pipeline(show))
    shown = []
    until(lambda: shown.append(capsys.readouterr().out) or "item 1\n" in "".join(shown))
    assert not job.is_terminal()
    gate.open()
    job.join(DEADLINE)


def test_all_of_it_is_there_when_join_returns(jet, pipeline, capfd):
    def show(item):
        print("żółw", item)
        print("no newline", end="", file=sys.stderr)
        return item

    jet.submit(pipeline(show, items=range(2000))).join(DEADLINE)
    shown = capfd.readouterr()
    assert shown.out == "".join(f"żółw {item}\n" for item in range(2000))
    assert shown.err.count("no newline") == 2000


def test_what_a_child_of_a_function_prints(jet, pipeline, capfd):
    jet.submit(pipeline(lambda item: subprocess.run(["echo", f"child {item}"], check=True).returncode)).join(DEADLINE)
    assert capfd.readouterr().out == "child 1\nchild 2\nchild 3\n"


def test_a_replaced_stdout_gets_it(jet, pipeline, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    jet.submit(pipeline(lambda item: print(item))).join(DEADLINE)
    assert sys.stdout.getvalue() == "1\n2\n3\n"


def test_a_stdout_that_cannot_show_it(jet, pipeline, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    jet.submit(pipeline(lambda item: print("ż"), items=[1])).join(DEADLINE)
    assert raw.getvalue() == b"\\u017c\n"


@pytest.mark.parametrize("stdout", [None, "closed"])
def test_without_a_stdout_the_job_goes_on(client, jet, pipeline, monkeypatch, stdout):
    stream = None
    if stdout == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    jet.submit(pipeline(lambda item: print(item) or item)).join(DEADLINE)
    assert client.get_list("results").get_all() == [1, 2, 3]


def test_it_is_kept_in_a_log_file(client, jet, pipeline, capsys):
    def speak(item):
        print("out", item)
        print("err", item, file=sys.stderr)
        logging.getLogger("shop").warning("log %s", item)
        return item

    job = jet.submit(pipeline(speak, items=[1]))
    job.join(DEADLINE)
    log = client.settings.home / "logs" / f"{job.id}.log"
    text = log.read_text()
    assert "out 1\n" in text
    assert "err 1\n" in text
    assert "WARNING shop: log 1\n" in text
    assert log.parent.stat().st_mode & 0o077 == 0


def test_logging_goes_to_the_clients_loggers(jet, pipeline, caplog):
    def speak(item):
        logger = logging.getLogger("shop.orders")
        logger.debug("debug")
        logger.info("100%% of %s", item)
        try:
            raise ValueError("no milk")
        except ValueError:
            logger.exception("failed")
        return item

    caplog.set_level(logging.INFO)
    jet.submit(pipeline(speak, items=[1])).join(DEADLINE)
    records = [record for record in caplog.records if record.name == "shop.orders"]
    assert [(record.levelname, record.getMessage().splitlines()[0]) for record in records] == [
        ("INFO", "100% of 1"),
        ("ERROR", "failed"),
    ]
    assert records[1].getMessage().endswith("ValueError: no milk")


def test_a_level_that_the_client_has_set_holds_in_the_worker(jet, pipeline, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("noisy"), "level", logging.ERROR)
    caplog.set_level(logging.DEBUG)
    jet.submit(pipeline(lambda item: logging.getLogger("noisy.part").warning("w") or item)).join(DEADLINE)
    assert "noisy.part" not in caplog.text


def test_a_worker_looks_like_the_client(jet, pipeline, tmp_path, monkeypatch):
    import os

    monkeypatch.setenv("SHOP", "corner")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["shop.py", "--open"])
    (tmp_path / "shelf.py").write_text("def milk(): return 'milk'")
    seen = tmp_path / "seen"

    def look(item):
        import shelf

        seen.write_text(repr((os.environ["SHOP"], os.getcwd(), sys.argv, shelf.milk(), sys.stdin.read())))
        return item

    jet.submit(pipeline(look, items=[1])).join(DEADLINE)
    assert seen.read_text() == repr(("corner", str(tmp_path), ["shop.py", "--open"], "milk", ""))


def test_a_jobs_own_messages_are_shown_without_any_logging_of_the_script(begin, gate):
    gate.open()
    script = begin("""
        with jetbridge.connect() as client:
            pipeline = Pipeline.create()
            pipeline.read_from(Pipeline.from_list("items", ["milk"])).write_to(Pipeline.to_logger())
            client.get_jet().submit(pipeline, JobConfig(name="orders")).join()
        """)
    out, err = script.communicate(timeout=DEADLINE)
    assert out == ""
    assert err.endswith(" INFO jetbridge.orders: milk\n")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("setup", "shown"),
    [
        ("pass", ["INFO:jetbridge.orders:milk"]),
        ("logging.getLogger('jetbridge').setLevel(logging.WARNING)", []),
        ("logging.basicConfig(format='%(message)s', force=True)", []),
    ],
    ids=["nothing", "a level", "a format"],
)
def test_importing_beam_first_configures_no_logging(script, setup, shown):
    # Importing Beam logs a warning, which configures logging, unless all packages are there that it looks for.
    done = script(f"""
        import apache_beam
        import logging
        logging.warning("as importing Beam does")
        import jetbridge
        from jetbridge import JobConfig, Pipeline
        {setup}
        with jetbridge.connect() as client:
            pipeline = Pipeline.create()
            pipeline.read_from(Pipeline.from_list("items", ["milk"])).write_to(Pipeline.to_logger())
            client.get_jet().submit(pipeline, JobConfig(name="orders")).join()
        """)
    assert [line for line in done.stderr.splitlines() if "milk" in line] == shown


def test_numbers_at_random_differ_between_jobs(client, jet, pipeline):
    import random

    for name in ("a", "b"):
        jet.submit(pipeline(lambda item: random.random(), to=name), JobConfig(name=name)).join(DEADLINE)
    assert client.get_list("a").get_all() != client.get_list("b").get_all()
