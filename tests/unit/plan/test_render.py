"""The pictures of pipelines."""

from __future__ import annotations

from xml.etree import ElementTree

from jetbridge import Pipeline

SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_of_a_notebook_has_a_box_for_each_stage_and_a_line_for_each_step():
    pipeline = Pipeline.create()
    numbers = pipeline.read_from(Pipeline.from_list("numbers", [1])).set_name("1 < 2 & more")
    numbers.map(str).set_name("a name that is far too long for a box").write_to(Pipeline.to_list("texts"))
    numbers.write_to(Pipeline.to_list("copies"))
    picture = ElementTree.fromstring(pipeline._repr_svg_())
    assert picture.tag == f"{SVG}svg"
    labels = [text.text for text in picture.iter(f"{SVG}text")]
    assert len(labels) == len(list(picture.iter(f"{SVG}rect"))) == 4
    assert any("1 < 2 & more" in label for label in labels)
    assert any("a name that" in label and label.endswith("…") for label in labels)
    assert len(list(picture.iter(f"{SVG}path"))) == 3
    heights = {text.text: int(text.get("y")) for text in picture.iter(f"{SVG}text")}
    assert min(heights, key=heights.get) == labels[0], "sources are on top"
