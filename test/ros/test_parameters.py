"""The localizer's parameters: described, bounded, checked before they apply, and documented by the shipped file."""

from __future__ import annotations

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

from vpr_distill_ros import parameters

SHIPPED = Path(__file__).parents[2] / "config" / "nodes" / "localizer.yaml"


def make_node(context: Context, **overrides: Any) -> Node:
    given = [Parameter(name, value=value) for name, value in overrides.items()]
    node = rclpy.create_node("parameters", context=context, parameter_overrides=given, start_parameter_services=False)
    node.add_on_set_parameters_callback(lambda changes: parameters.check_change(changes, False, ""))
    parameters.declare(node)
    return node


@pytest.fixture
def context(ros_environment: None) -> Iterator[Context]:
    made = Context()
    made.init()
    yield made
    made.try_shutdown()


@pytest.fixture
def descriptors(context: Context) -> dict[str, ParameterDescriptor]:
    node = make_node(context)
    names = [name for name in node._parameters if name not in ("use_sim_time", "start_type_description_service")]
    return dict(zip(names, node.describe_parameters(names), strict=True))


def test_every_parameter_is_described_and_every_number_bounded(descriptors: dict[str, ParameterDescriptor]) -> None:
    assert set(parameters.LocalizerParameters.__dataclass_fields__) <= set(descriptors)
    for name, descriptor in descriptors.items():
        assert len(descriptor.description) > 20, name
        bounds = {Parameter.Type.DOUBLE.value: "floating_point_range", Parameter.Type.INTEGER.value: "integer_range"}
        if descriptor.type in bounds:
            assert getattr(descriptor, bounds[descriptor.type]), name


def test_the_shipped_file_gives_every_parameter_its_default(
    context: Context, descriptors: dict[str, ParameterDescriptor]
) -> None:
    shipped = yaml.safe_load(SHIPPED.read_text())["/**"]["ros__parameters"]
    node = make_node(context)
    assert shipped == {name: node.get_parameter(name).value for name in descriptors}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("top_k", 0),
        ("top_k", parameters.MAX_TOP_K + 1),
        ("min_similarity", 1.01),
        ("min_similarity", -1.5),
        ("stale_s", 0.0),
        ("position_stddev_m", -1.0),
        ("diagnostics_period_s", 1000.0),
        ("modality", "radar"),
        ("image_transport", "theora"),
        ("device", "tpu"),
        ("image_topic", ""),
        ("image_topic", "two words"),
        ("cloud_topic", "two words"),
        ("top_k", 2.5),
        ("top_k", "five"),
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


@pytest.mark.parametrize("name", ["autostart", "diagnostics_period_s"])
def test_what_is_read_once_is_read_only(descriptors: dict[str, ParameterDescriptor], name: str) -> None:
    assert descriptors[name].read_only


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("top_k", 9, True),
        ("stale_s", 1.0, True),
        ("bundle", "/b", False),
        ("device", "cuda", False),
        ("image_topic", "/other", False),
        ("cloud_topic", "/other", False),
        ("min_similarity", 0.5, False),
        ("map", "/other", False),
        ("map", "/loaded", True),
    ],
)
def test_what_configuring_has_read_cannot_change_afterwards(name: str, value: object, allowed: bool) -> None:
    change = [Parameter(name, value=value)]
    assert parameters.check_change(change, configured=True, loaded_map="/loaded").successful is allowed
    assert parameters.check_change(change, configured=False, loaded_map="").successful


def test_minus_one_stands_for_the_threshold_of_the_bundle(context: Context) -> None:
    assert parameters.read(make_node(context)).threshold is None
    assert parameters.read(make_node(context, min_similarity=0.25)).threshold == 0.25
