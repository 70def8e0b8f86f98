//! What the pictures have in common.

use std::fmt::Display;

use plotters::style::RGBColor;

use crate::Error;

pub const FONT: &str = "sans-serif";
pub const GRID: RGBColor = RGBColor(225, 228, 232);
pub const TEXT: RGBColor = RGBColor(60, 64, 70);
pub const BLUE: RGBColor = RGBColor(31, 97, 181);
pub const RED: RGBColor = RGBColor(200, 30, 60);

/// What plotters could not do.
pub fn fault(error: &dyn Display) -> Error {
    Error::Input(format!("the picture cannot be drawn: {error}"))
}
