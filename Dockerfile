# An image with the nodes, the command line and the launch files:
#
#   docker build --tag vpr_distill_ros --build-arg ROS_DISTRO=jazzy .          (or humble, kilted)
#   docker run --rm -it --network host --ipc host --volume "$PWD:/data" vpr_distill_ros \
#       ros2 launch vpr_distill_ros localize.launch.py bundle:=/data/bundle map:=/data/place_map
#
# --network and --ipc host let Fast DDS reach nodes outside by UDP and by shared memory. A camera student needs no torch:
# --build-arg TORCH= leaves it out. On x86_64 PyPI's torch comes with CUDA, several GB: name PyTorch's index of CPU
# wheels by --build-arg TORCH_INDEX=URL where no GPU is to be used.
ARG ROS_DISTRO=jazzy
FROM ros:${ROS_DISTRO}-ros-base

ARG TORCH=torch==2.13.0
ARG TORCH_INDEX=

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /ws

# The manifests alone, so that a change of code does not install everything again.
COPY package.xml src/vpr_distill_ros/package.xml
COPY vpr_distill_msgs/package.xml src/vpr_distill_ros/vpr_distill_msgs/package.xml
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-pip python3-venv "ros-${ROS_DISTRO}-rosbag2-storage-mcap" \
    && rosdep update --rosdistro "${ROS_DISTRO}" \
    && rosdep install --yes --ignore-src --from-paths src src/vpr_distill_ros/vpr_distill_msgs \
    && rm -rf /var/lib/apt/lists/*

# What is not among ROS's packages. NumPy stays below 2, for which ROS's extension modules were compiled.
COPY requirements/runtime.in requirements/base-numpy1.txt requirements/
RUN python3 -m venv --system-site-packages venv \
    && if [ -n "${TORCH}" ]; then \
        venv/bin/pip install --no-cache-dir ${TORCH_INDEX:+--index-url "${TORCH_INDEX}"} "${TORCH}" 'numpy<2'; fi \
    && venv/bin/pip install --no-cache-dir \
        --requirement requirements/runtime.in --constraint requirements/base-numpy1.txt

COPY . src/vpr_distill_ros
# By the environment's Python: executables start with the Python that built them.
RUN source "/opt/ros/${ROS_DISTRO}/setup.bash" \
    && venv/bin/python -m colcon build --base-paths src/vpr_distill_ros src/vpr_distill_ros/vpr_distill_msgs \
        --cmake-args -DBUILD_TESTING=OFF -DCMAKE_BUILD_TYPE=Release -DPython3_EXECUTABLE=/ws/venv/bin/python \
    && source install/setup.bash \
    && venv/bin/python src/vpr_distill_ros/tools/check_install.py install src/vpr_distill_ros \
    && rm -rf build log

COPY docker/entrypoint.sh /entrypoint.sh
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "vpr_distill_ros", "localize.launch.py", "--show-args"]
