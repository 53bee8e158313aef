"""Place recognition with one sensor, distilled from many: models, losses, training, evaluation, retrieval. No ROS."""
