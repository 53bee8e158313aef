"""Light and weather. A condition changes what a camera sees and how far a LiDAR reaches, never what stands where."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vpr_core.errors import VprError
from vpr_core.synthetic.facades import Colour


@dataclass(frozen=True)
class Condition:
    """Colours are linear RGB radiance; 1 is a white wall in full noon sky light."""

    name: str
    sun: Colour
    """Direct light; black where clouds or the horizon hide the sun."""
    sun_elevation_rad: float
    sky_zenith: Colour
    sky_horizon: Colour
    glow: Colour
    """Added to the sky around the sun, and to what faces it."""
    ambient: Colour
    """Light from the whole sky onto an open horizontal surface."""
    fog_per_m: float
    """Extinction; the share exp(-fog_per_m * distance) of a surface's light arrives."""
    clouds: float
    """Share of the sky under clouds, 0 to 1."""
    lit_windows: float
    """Share of windows with a lamp on behind them."""
    window_glow: float
    lamps: float
    """Strength of street lamps."""
    headlights: float
    exposure: float
    noise: float
    """Standard deviation of the sensor noise in a mid-grey, as a share of full scale."""
    lidar_range_share: float = 1.0
    """How much of its range a LiDAR keeps."""


CONDITIONS = {
    condition.name: condition
    for condition in (
        Condition(
            name="noon",
            sun=(2.9, 2.75, 2.45),
            sun_elevation_rad=math.radians(48),
            sky_zenith=(0.22, 0.42, 0.85),
            sky_horizon=(0.68, 0.80, 0.98),
            glow=(0.5, 0.45, 0.35),
            ambient=(0.72, 0.82, 1.0),
            fog_per_m=0.0004,
            clouds=0.35,
            lit_windows=0.0,
            window_glow=0.0,
            lamps=0.0,
            headlights=0.0,
            exposure=1.05,
            noise=0.008,
        ),
        Condition(
            name="dusk",
            sun=(0.0, 0.0, 0.0),
            sun_elevation_rad=math.radians(3),
            sky_zenith=(0.06, 0.09, 0.20),
            sky_horizon=(0.42, 0.27, 0.22),
            glow=(0.85, 0.36, 0.10),
            ambient=(0.17, 0.16, 0.22),
            fog_per_m=0.0012,
            clouds=0.5,
            lit_windows=0.35,
            window_glow=0.8,
            lamps=0.25,
            headlights=0.5,
            exposure=2.6,
            noise=0.02,
        ),
        Condition(
            name="night",
            sun=(0.0, 0.0, 0.0),
            sun_elevation_rad=math.radians(-30),
            sky_zenith=(0.002, 0.003, 0.007),
            sky_horizon=(0.014, 0.011, 0.010),
            glow=(0.0, 0.0, 0.0),
            ambient=(0.006, 0.007, 0.011),
            fog_per_m=0.001,
            clouds=0.4,
            lit_windows=0.28,
            window_glow=0.75,
            lamps=0.35,
            headlights=10.0,
            exposure=3.2,
            noise=0.035,
        ),
        Condition(
            name="fog",
            sun=(0.0, 0.0, 0.0),
            sun_elevation_rad=math.radians(35),
            sky_zenith=(0.62, 0.65, 0.69),
            sky_horizon=(0.60, 0.63, 0.66),
            glow=(0.05, 0.05, 0.05),
            ambient=(0.66, 0.70, 0.74),
            fog_per_m=0.032,
            clouds=0.0,
            lit_windows=0.04,
            window_glow=0.5,
            lamps=0.0,
            headlights=0.0,
            exposure=1.3,
            noise=0.012,
            lidar_range_share=0.6,
        ),
    )
}


def condition_named(name: str) -> Condition:
    """Raises VprError on a name that is not one of CONDITIONS."""
    if name not in CONDITIONS:
        raise VprError(f"unknown condition {name!r}; the town knows {', '.join(CONDITIONS)}")
    return CONDITIONS[name]
