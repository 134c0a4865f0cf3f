from __future__ import annotations

import io
import re
import zipfile

import pytest

from jetbridge_flink import jars


@pytest.fixture(scope="module")
def files():
    return jars.fetch()


def test_the_table_is_complete():
    table = jars.table()
    assert len({jar.coordinates for jar in table}) == len(table) == 35
    assert all(re.fullmatch(r"[0-9a-f]{64}", jar.sha256) and jar.coordinates.count(":") == 2 for jar in table)
    assert not any("java-harness" in jar.file for jar in table)  # it has older copies of the runner's classes


def test_all_jars_come_in_the_order_of_the_class_path(files):
    assert [path.name for path in files] == [jar.file for jar in jars.table()]
    assert all(zipfile.is_zipfile(path) for path in files)


def read(jar):
    return zipfile.ZipFile(io.BytesIO(jar))


def test_a_thin_job_jar_has_the_pipeline_and_what_must_come_with_it(files, tmp_path):
    jar = jars.job_jar(b'{"pipeline": 1}', b'{"option": 2}')
    assert len(jar) < 60_000
    entries = read(jar)
    assert entries.read("BEAM-PIPELINE/pipeline/pipeline.json") == b'{"pipeline": 1}'
    assert entries.read("BEAM-PIPELINE/pipeline/pipeline-options.json") == b'{"option": 2}'
    assert entries.read("BEAM-PIPELINE/pipeline-manifest.json") == b'{"defaultJobName": "pipeline"}'
    assert f"Main-Class: {jars.ENTRY_CLASS}\n".encode() in entries.read("META-INF/MANIFEST.MF")
    classes = {name for name in entries.namelist() if name.endswith(".class")}
    assert f"{jars.ENTRY_CLASS.replace('.', '/')}.class" in classes
    assert all(re.search("FlinkPipelineRunner|FlinkPortableRunnerResult|PortablePipelineJarUtils", c) for c in classes)
    jars.thin_jar(tmp_path / "thin.jar")
    assert not any("BEAM-PIPELINE" in name for name in zipfile.ZipFile(tmp_path / "thin.jar").namelist())


def test_a_fat_job_jar_has_the_runner_in_it(files, tmp_path):
    entries = read(jars.job_jar(b"{}", b"{}", fat=True))
    for path in files:
        assert entries.read(f"lib/{path.name}") == path.read_bytes()
    assert any("InetSocketAddressServerFactory" in name for name in entries.namelist())
    jars.fat_jar(tmp_path / "fat.jar")
    assert (tmp_path / "fat.jar").stat().st_size > 50 << 20
