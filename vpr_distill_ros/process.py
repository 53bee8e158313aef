"""Running one node as a process: clean ends, one line for what the user can mend, exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import Executor, ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.logging import get_logger
from rclpy.node import Node

from vpr_core.errors import VprError

InvalidHandle = rclpy_implementation.InvalidHandle
_ENDING = (signal.SIGINT, signal.SIGTERM)


def logger(node: Node) -> Any:
    """The node's logger; after a signal has shut ROS down, one that leaves /rosout alone, which is closed then."""
    return node.get_logger() if rclpy.ok() else get_logger(f"{node.get_name()}.end")


def spin(executor: Executor) -> None:
    """Spin until a signal comes.

    In Humble a subscription that is destroyed while it has a message ends the spin of several threads (rclpy#1206,
    #1355; since Jazzy the executor goes on, rclpy#1150): there it goes on here.
    """
    while rclpy.ok():
        try:
            executor.spin()
            return
        except InvalidHandle:
            if os.environ.get("ROS_DISTRO") != "humble":
                raise


def run(body: Callable[[], None], args: Sequence[str] | None = None) -> int:
    """Initialise ROS, call `body`, shut down; 0 after its end, SIGINT or SIGTERM, 1 after an error of the user's.

    `body` makes its node and spins it.
    """
    # Python's own handler would raise KeyboardInterrupt anywhere, a second Ctrl-C even while ending. rclpy's handlers
    # are installed above these, shut the context down, and every spin returns.
    early: list[int] = []
    for number in _ENDING:
        signal.signal(number, lambda came, _: early.append(came))
    rclpy.init(args=list(args) if args is not None else None)
    try:
        if not early:
            body()
    except ExternalShutdownException:
        return 0
    except (VprError, ParameterException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        if error.name != "vpr_distill_msgs":
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:  # of the disk, never of ROS
        print(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}", file=sys.stderr)
        return 1
    except Exception:
        # Whatever a call to ROS raises once a signal has shut the context down is no error.
        if rclpy.ok():
            raise
        return 0
    finally:
        rclpy.try_shutdown()
        for number in _ENDING:
            signal.signal(number, signal.SIG_IGN)
    return 0
