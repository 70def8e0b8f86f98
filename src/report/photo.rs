//! The real-input row: photographs drawn in sixteen colours.

use serde::Serialize;

use crate::Result;
use crate::gpu::Context;
use crate::io::picture::{self, Picture};
use crate::kmeans::palette::{Palette, palette};

/// NASA's portrait of Eileen Collins, public domain; see assets/README.md.
static ASTRONAUT: &[u8] = include_bytes!("../../assets/astronaut.png");
/// A cup of coffee by Pikolo Espresso Bar, CC0; see assets/README.md.
static COFFEE: &[u8] = include_bytes!("../../assets/coffee.png");

const COLOURS: usize = 16;

/// A photograph and its palette.
#[derive(Debug, Serialize)]
pub struct PhotoRow {
    /// Which photograph.
    pub name: &'static str,
    /// What became of it.
    #[serde(flatten)]
    pub palette: Palette,
    /// The photograph as PNG.
    #[serde(skip)]
    pub before: Vec<u8>,
    /// The same in its palette's colours.
    #[serde(skip)]
    pub after: Vec<u8>,
}

/// Both photographs.
pub fn rows(gpu: &Context) -> Result<Vec<PhotoRow>> {
    [("astronaut", ASTRONAUT), ("coffee", COFFEE)]
        .into_iter()
        .map(|(name, png)| {
            let picture: Picture = picture::decode(png, name.as_ref())?;
            let palette = palette(gpu, &picture, COLOURS, 0, |_| ())?;
            let after = picture::encode_png(&palette.picture)?;
            Ok(PhotoRow { name, palette, before: png.to_vec(), after })
        })
        .collect()
}

impl PhotoRow {
    /// One line for a terminal.
    pub fn text(&self) -> String {
        let p = &self.palette;
        let most: Vec<&str> = p.colours.iter().take(6).map(|swatch| swatch.hex.as_str()).collect();
        format!(
            "{}: {} x {} pixels in {} colours, Oklab rms error {:.4}, {} iterations of {:.1} ms, {:.2} s in all: {} …\n",
            self.name,
            p.width,
            p.height,
            p.colours.len(),
            p.rms_error,
            p.clustering.n_iter,
            p.clustering.ms_per_iteration,
            p.clustering.seconds,
            most.join(" ")
        )
    }
}
