"""Light and weather. A condition changes what a camera sees and how well a LiDAR does, never what stands where.

Leaves are the one exception: bare trees let rays through that their leaves stop in summer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

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
    glare: float = 0.0
    """Light that the lens scatters over the picture when the sun stands in front of it; also draws the sun's disc."""
    wetness: float = 0.0
    """0 dry, 1 soaked: how much darker the ground and walls are, and how much the ground mirrors."""
    rain: float = 0.0
    """Falling rain: streaks in the air and drops on the lens; 1 is a downpour."""
    snow: float = 0.0
    """Share of what lies open to the sky that is under snow."""
    snowfall: float = 0.0
    """Flakes in the air; 1 is a snowstorm."""
    leaves: float = 1.0
    """Share of the leaves of broadleaved trees that still hang: the others let rays of light and LiDAR through."""
    sun_turn_rad_s: float = -math.radians(0.25) / 60
    """How fast the sun's azimuth changes; negative is clockwise from above, as it goes north of the tropics."""
    sun_climb_rad_s: float = 0.0
    """How fast the sun's elevation changes."""
    lidar_range_share: float = 1.0
    """How much of its range a LiDAR keeps."""
    lidar_drop_share: float = 0.0
    """Share of returns lost at the far end of the range; it grows from 0 at the sensor."""
    lidar_backscatter_share: float = 0.0
    """Share of beams that return early, from drops, flakes or fog near the sensor."""
    lidar_noise_factor: float = 1.0
    """How much larger the noise of a range is than in clear air."""


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
            lidar_drop_share=0.45,
            lidar_backscatter_share=0.04,
            lidar_noise_factor=1.6,
        ),
        Condition(
            name="low_sun",
            sun=(2.9, 1.75, 0.85),
            sun_elevation_rad=math.radians(8),
            sky_zenith=(0.14, 0.24, 0.48),
            sky_horizon=(0.75, 0.58, 0.42),
            glow=(1.3, 0.75, 0.32),
            ambient=(0.36, 0.38, 0.46),
            fog_per_m=0.0012,
            clouds=0.2,
            lit_windows=0.04,
            window_glow=0.5,
            lamps=0.0,
            headlights=0.0,
            exposure=1.35,
            noise=0.01,
            glare=1.0,
            sun_climb_rad_s=-math.radians(0.15) / 60,
        ),
        Condition(
            name="rain",
            sun=(0.0, 0.0, 0.0),
            sun_elevation_rad=math.radians(35),
            sky_zenith=(0.30, 0.33, 0.37),
            sky_horizon=(0.47, 0.50, 0.53),
            glow=(0.03, 0.03, 0.03),
            ambient=(0.40, 0.43, 0.47),
            fog_per_m=0.0055,
            clouds=0.75,
            lit_windows=0.16,
            window_glow=0.6,
            lamps=0.0,
            headlights=0.6,
            exposure=1.4,
            noise=0.015,
            wetness=1.0,
            rain=0.5,
            lidar_range_share=0.85,
            lidar_drop_share=0.25,
            lidar_backscatter_share=0.015,
            lidar_noise_factor=1.3,
        ),
        Condition(
            name="winter",
            sun=(0.0, 0.0, 0.0),
            sun_elevation_rad=math.radians(14),
            sky_zenith=(0.40, 0.44, 0.52),
            sky_horizon=(0.52, 0.535, 0.56),
            glow=(0.22, 0.19, 0.14),
            ambient=(0.68, 0.72, 0.79),
            fog_per_m=0.0025,
            clouds=0.5,
            lit_windows=0.05,
            window_glow=0.5,
            lamps=0.0,
            headlights=0.0,
            exposure=1.32,
            noise=0.01,
            wetness=0.35,
            snow=1.0,
            snowfall=0.12,
            leaves=0.0,
            lidar_drop_share=0.05,
            lidar_backscatter_share=0.004,
            lidar_noise_factor=1.1,
        ),
    )
}


def condition_named(name: str) -> Condition:
    """Raises VprError on a name that is not one of CONDITIONS."""
    if name not in CONDITIONS:
        raise VprError(f"unknown condition {name!r}; the town knows {', '.join(CONDITIONS)}")
    return CONDITIONS[name]


def sun_at(condition: Condition, sun_azimuth_rad: float, time_s: float) -> tuple[Condition, float]:
    """The condition and the sun's azimuth a time after the start of a drive, when the azimuth was the one given."""
    elevation_rad = condition.sun_elevation_rad + condition.sun_climb_rad_s * time_s
    return replace(condition, sun_elevation_rad=elevation_rad), sun_azimuth_rad + condition.sun_turn_rad_s * time_s
