#!/bin/bash
# Runs a command where ROS 2 and this package are sourced, and `vpr-distill` is on the path.
set -e
source "/opt/ros/${ROS_DISTRO}/setup.bash"
source /ws/install/setup.bash
export PATH=/ws/install/vpr_distill_ros/lib/vpr_distill_ros:$PATH
exec "$@"
