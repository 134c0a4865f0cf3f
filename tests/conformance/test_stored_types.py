"""Items of the user's own classes, of the script's ``__main__`` and of a module beside it."""

from __future__ import annotations

import textwrap

import pytest

SAMPLE = 1  # each script starts a cluster of its own

SHAPES = """
    import enum
    from dataclasses import dataclass
    from typing import NamedTuple

    class Colour(enum.Enum):
        RED = "r"
        GREEN = "g"

    class Point(NamedTuple):
        x: int
        y: int

    @dataclass(frozen=True)
    class Shape:
        name: str
        colour: Colour
        at: Point = Point(0, 0)
    """

RUN = """
    import sys
    import jetbridge
    from jetbridge import Pipeline, ListSource
    {shapes}

    shapes = [Shape("a", Colour.RED), Shape("b", Colour.GREEN, Point(1, 2)), Shape("a", Colour.RED)]
    with jetbridge.connect() as client:
        pipeline = Pipeline.create()
        source = pipeline.read_from(Pipeline.from_list("shapes", shapes))
        source.map(lambda shape: Shape(shape.name * 2, shape.colour, shape.at)).write_to(
            Pipeline.to_list("moved", clear=True))
        source.group_by(lambda shape: shape.colour).write_to(Pipeline.to_map("by colour"))
        source.map(lambda shape: shape.at).distinct().write_to(Pipeline.to_list("points", clear=True))
        client.get_jet().submit(pipeline).join(timeout=60)
        moved = client.get_list("moved").get_all()
        assert moved == [Shape("aa", Colour.RED), Shape("bb", Colour.GREEN, Point(1, 2)), Shape("aa", Colour.RED)]
        assert all(type(shape) is Shape and type(shape.at) is Point for shape in moved)
        assert moved[0].colour is Colour.RED
        assert dict(client.get_map("by colour").entry_set()) == {{
            Colour.RED: [shapes[0], shapes[2]], Colour.GREEN: [shapes[1]]}}
        assert sorted(client.get_list("points").get_all()) == [Point(0, 0), Point(1, 2)]

        again = Pipeline.create()
        again.read_from(ListSource("moved")).filter(lambda shape: isinstance(shape, Shape)).map(
            lambda shape: shape.colour is Colour.RED).write_to(Pipeline.to_list("red", clear=True))
        client.get_jet().submit(again).join(timeout=60)
        assert client.get_list("red").get_all() == [True, False, True]
        print("all equal")
    """


def indented(source):
    return textwrap.indent(textwrap.dedent(source), "    ").lstrip()


@pytest.mark.parametrize("parallelism", [1, 2])
def test_classes_of_the_script(script, runner, parallelism):
    env = {"JETBRIDGE_RUNNER": runner, "JETBRIDGE_PARALLELISM": str(parallelism)}
    source = RUN.format(shapes=indented(SHAPES))
    assert script(source, env=env).stdout.endswith("all equal\n")
    assert script(source, env=env).stdout.endswith("all equal\n"), "and in a later run"


def test_classes_of_a_module_beside_the_script(script, runner, tmp_path):
    (tmp_path / "shapes.py").write_text(textwrap.dedent(SHAPES))
    source = RUN.format(
        shapes=indented(
            """
            from shapes import Colour, Point, Shape
            for each in (Colour, Point, Shape):
                jetbridge.register_type(each)
            """
        )
    )
    assert script(source, env={"JETBRIDGE_RUNNER": runner}).stdout.endswith("all equal\n")


def test_another_script_is_told_what_it_lacks(script, runner):
    env = {"JETBRIDGE_RUNNER": runner}
    script(RUN.format(shapes=indented(SHAPES)), env=env)
    done = script(
        """
        import jetbridge
        with jetbridge.connect() as client:
            try:
                client.get_list("moved").get_all()
            except jetbridge.errors.UnknownTypeError as error:
                print(error)
        """,
        env=env,
    )
    assert "Shape" in done.stdout
    assert "move it into a module" in done.stdout


def test_a_class_that_nobody_registered_is_named(script, runner, tmp_path):
    (tmp_path / "shapes.py").write_text(textwrap.dedent(SHAPES))
    env = {"JETBRIDGE_RUNNER": runner}
    registered = "from shapes import Colour, Point, Shape\n    for each in (Colour, Point, Shape):\n"
    registered += "        jetbridge.register_type(each)\n"
    script(RUN.format(shapes=registered), env=env)
    done = script(
        """
        import sys
        import jetbridge
        with jetbridge.connect() as client:
            try:
                client.get_list("moved").get_all()
            except jetbridge.errors.UnknownTypeError as error:
                print(error)
        print("shapes" in sys.modules)
        """,
        env=env,
    )
    assert "shapes" in done.stdout
    assert "register_type" in done.stdout
    assert done.stdout.endswith("False\n"), "nothing of it was imported"
