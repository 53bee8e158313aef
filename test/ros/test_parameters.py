"""Parameters of the lifecycle nodes: described, bounded, checked before they apply, documented by shipped files."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.context import Context
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from vpr_core.data.ingest import ingest
from vpr_core.retrieval.loop_closure import LoopOptions
from vpr_distill_ros import localizer_parameters, map_parameters

SHIPPED = Path(__file__).parents[2] / "config" / "nodes"
NODES = {"localizer": localizer_parameters, "map_builder": map_parameters}
KINDS = {"localizer": localizer_parameters.LocalizerParameters, "map_builder": map_parameters.MapBuilderParameters}


def make_node(context: Context, name: str = "localizer", **overrides: Any) -> Node:
    given = [Parameter(key, value=value) for key, value in overrides.items()]
    node = rclpy.create_node("parameters", context=context, parameter_overrides=given, start_parameter_services=False)
    arguments = (False, "") if name == "localizer" else (False,)
    node.add_on_set_parameters_callback(lambda changes: NODES[name].check_change(changes, *arguments))
    NODES[name].declare(node)
    return node


def describe(node: Node) -> dict[str, ParameterDescriptor]:
    names = [name for name in node._parameters if name not in ("use_sim_time", "start_type_description_service")]
    return dict(zip(names, node.describe_parameters(names), strict=True))


@pytest.fixture
def context(ros_environment: None) -> Iterator[Context]:
    made = Context()
    made.init()
    yield made
    made.try_shutdown()


@pytest.mark.parametrize("name", NODES)
def test_every_parameter_is_described_and_every_number_bounded(context: Context, name: str) -> None:
    descriptors = describe(make_node(context, name))
    assert set(KINDS[name].__dataclass_fields__) <= set(descriptors)
    for parameter, descriptor in descriptors.items():
        assert len(descriptor.description) > 20, parameter
        bounds = {Parameter.Type.DOUBLE.value: "floating_point_range", Parameter.Type.INTEGER.value: "integer_range"}
        if descriptor.type in bounds:
            assert getattr(descriptor, bounds[descriptor.type]), parameter


@pytest.mark.parametrize("name", NODES)
def test_the_shipped_file_gives_every_parameter_its_default(context: Context, name: str) -> None:
    shipped = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())["/**"]["ros__parameters"]
    node = make_node(context, name)
    assert shipped == {parameter: node.get_parameter(parameter).value for parameter in describe(node)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", 0),
        ("top_k", localizer_parameters.MAX_TOP_K + 1),
        ("rerank", -1),
        ("rerank", localizer_parameters.MAX_RERANK + 1),
        ("min_similarity", 1.01),
        ("min_similarity", -1.5),
        ("stale_s", 0.0),
        ("position_stddev_m", -1.0),
        ("diagnostics_period_s", 1000.0),
        ("modality", "radar"),
        ("image_transport", "theora"),
        ("device", "tpu"),
        ("verify", "sometimes"),
        ("verify", 2),
        ("image_topic", ""),
        ("image_topic", "two words"),
        ("cloud_topic", "two words"),
        ("odometry_topic", "two words"),
        ("initialpose_topic", "two words"),
        ("set_initial_pose_service", "two words"),
        ("agreement_of", 0),
        ("refuse", "dark fog"),
        ("refuse", "all"),
        ("refuse", 5),
        ("top_k", 2.5),
        ("top_k", "five"),
        ("stale_s", "three"),
        ("stale_s", True),
        ("stale_s", 0),
        ("stale_s", float("nan")),
    ],
)
def test_a_value_out_of_range_is_refused_at_start_and_later(context: Context, name: str, value: object) -> None:
    with pytest.raises(ParameterException, match=name):
        make_node(context, **{name: value})
    node = make_node(context)
    before = node.get_parameter(name).value
    (result,) = node.set_parameters([Parameter(name, value=value)])
    assert not result.successful and result.reason
    assert node.get_parameter(name).value == before


def test_a_whole_number_is_taken_for_a_number(context: Context) -> None:
    node = make_node(context, stale_s=2)
    (result,) = node.set_parameters([Parameter("position_stddev_m", value=3)])
    assert result.successful, result.reason
    values = localizer_parameters.read(node)
    assert (values.stale_s, values.position_stddev_m) == (2.0, 3.0)
    assert {type(values.stale_s), type(values.position_stddev_m)} == {float}


@pytest.mark.parametrize("name", ["autostart", "diagnostics_period_s"])
@pytest.mark.parametrize("node", NODES)
def test_what_is_read_once_is_read_only(context: Context, node: str, name: str) -> None:
    assert describe(make_node(context, node))[name].read_only


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("top_k", 9, True),
        ("refuse", "dark white", True),
        ("refuse", "", True),
        ("stale_s", 1.0, True),
        ("bundle", "/b", False),
        ("device", "cuda", False),
        ("image_topic", "/other", False),
        ("cloud_topic", "/other", False),
        ("min_similarity", 0.5, False),
        ("rerank", 10, False),
        ("odometry_topic", "", False),
        ("initialpose_topic", "/initialpose", False),
        ("set_initial_pose_service", "/set_initial_pose", False),
        ("global_pose_topic", "", False),
        ("base_frame", "", False),
        ("publish_tf", True, False),
        ("lost_s", 2.0, True),
        ("map", "/other", False),
        ("map", "/loaded", True),
    ],
)
def test_what_configuring_has_read_cannot_change_afterwards(name: str, value: object, allowed: bool) -> None:
    change = [Parameter(name, value=value)]
    assert localizer_parameters.check_change(change, configured=True, loaded_map="/loaded").successful is allowed
    assert localizer_parameters.check_change(change, configured=False, loaded_map="").successful


def test_minus_one_stands_for_the_threshold_of_the_bundle(context: Context) -> None:
    assert localizer_parameters.read(make_node(context)).threshold is None
    assert localizer_parameters.read(make_node(context, min_similarity=0.25)).threshold == 0.25


@pytest.mark.parametrize("name", ["map", "session", "keyframe_m", "odometry_topic", "continue_map", "max_jump_m"])
def test_what_the_map_builder_has_read_cannot_change_afterwards(name: str) -> None:
    change = [Parameter(name, value="/other")]
    assert not map_parameters.check_change(change, configured=True).successful
    assert map_parameters.check_change(change, configured=False).successful


def test_the_map_builder_s_keyframes_are_those_of_ingest(context: Context) -> None:
    keyframe_m = inspect.signature(ingest).parameters["keyframe_m"].default
    assert map_parameters.read(make_node(context, "map_builder")).keyframe_m == keyframe_m


def test_the_shipped_file_for_loop_closure_gives_parameters_that_there_are_their_defaults(context: Context) -> None:
    shipped = yaml.safe_load((SHIPPED / "loop_closure.yaml").read_text())["/**"]["ros__parameters"]
    node = make_node(context, **shipped)
    assert shipped == {name: node.get_parameter(name).value for name in shipped}
    values = localizer_parameters.read(node)
    assert values.mode == "loop_closure" and values.odometry_topic
    options = {name: getattr(values, name) for name in LoopOptions.__dataclass_fields__ if name != "min_similarity"}
    assert LoopOptions(**options, min_similarity=values.threshold) == LoopOptions()
