//! The colours of a picture, by k-means in Oklab (B. Ottosson, 2020): there, equal distances look equally different.

use serde::Serialize;

use super::fitted::Fitted;
use super::options::{Init, KMeans};
use super::progress::Progress;
use crate::gpu::Context;
use crate::io::npy::Matrix;
use crate::io::picture::Picture;
use crate::{Error, Result};

/// One colour of a palette.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Swatch {
    /// `#rrggbb`, sRGB.
    pub hex: String,
    /// Red, green and blue, 0 to 255.
    pub rgb: [u8; 3],
    /// Its part of the picture's visible pixels.
    pub share: f64,
}

/// A palette and the picture drawn with it.
#[derive(Clone, Debug, Serialize)]
pub struct Palette {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Colours, the most frequent first; those that no pixel has are left out.
    pub colours: Vec<Swatch>,
    /// Root mean square distance between a pixel's colour and its replacement, in Oklab (black to white is 1).
    pub rms_error: f64,
    /// The clustering behind it.
    pub clustering: Fitted,
    /// The picture in the palette's colours; transparency is as it was.
    #[serde(skip)]
    pub picture: Picture,
}

/// Draws `picture` in `k` colours. Pixels that cannot be seen (alpha 0) do not take part.
///
/// # Errors
/// [`Error::Input`] for a picture without a visible pixel, or with fewer than `k`; the device's errors.
pub fn palette(
    gpu: &Context,
    picture: &Picture,
    k: usize,
    seed: u64,
    progress: impl FnMut(Progress),
) -> Result<Palette> {
    let visible: Vec<[u8; 4]> = picture.rgba.iter().copied().filter(|pixel| pixel[3] > 0).collect();
    if visible.is_empty() {
        return Err(Error::Input("the picture has no visible pixel: all are fully transparent".into()));
    }
    if k > visible.len() {
        let pixels = visible.len();
        return Err(Error::Input(format!(
            "there are fewer visible pixels in it, {pixels}, than the {k} colours that were asked for: ask for at most {pixels}"
        )));
    }
    let linear: Vec<f64> = (0..=255u8).map(to_linear).collect();
    let values = visible.iter().flat_map(|&[r, g, b, _]| {
        to_oklab([linear[usize::from(r)], linear[usize::from(g)], linear[usize::from(b)]]).map(|x| x as f32)
    });
    let data = Matrix { rows: visible.len(), cols: 3, values: values.collect() };
    let clustering = KMeans::new(k).init(Init::PlusPlus).seed(seed).fit(gpu, &data, progress)?;

    let colours: Vec<[u8; 3]> = clustering
        .cluster_centers
        .values
        .chunks(3)
        .map(|c| from_oklab([c[0], c[1], c[2]].map(f64::from)))
        .collect();
    let mut counts = vec![0u64; k];
    let mut labels = clustering.labels.iter().map(|&label| label as usize);
    let mut drawn = picture.clone();
    // What cannot be seen must not keep colours that are not in the palette.
    drawn.rgba.iter_mut().filter(|pixel| pixel[3] == 0).for_each(|pixel| *pixel = [0; 4]);
    for pixel in drawn.rgba.iter_mut().filter(|pixel| pixel[3] > 0) {
        // There is a label for each visible pixel.
        let Some(label) = labels.next() else { break };
        counts[label] += 1;
        pixel[..3].copy_from_slice(&colours[label]);
    }
    let mut swatches: Vec<Swatch> = colours
        .iter()
        .zip(&counts)
        .filter(|(_, count)| **count > 0)
        .map(|(&rgb, &count)| Swatch {
            hex: format!("#{:02x}{:02x}{:02x}", rgb[0], rgb[1], rgb[2]),
            rgb,
            share: count as f64 / visible.len() as f64,
        })
        .collect();
    swatches.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.hex.cmp(&b.hex)));
    let rms_error = (clustering.inertia / visible.len() as f64).sqrt();
    let (width, height) = (picture.width, picture.height);
    Ok(Palette { width, height, colours: swatches, rms_error, clustering, picture: drawn })
}

/// An 8-bit sRGB component as linear light, 0 to 1.
fn to_linear(component: u8) -> f64 {
    let x = f64::from(component) / 255.0;
    if x <= 0.040_45 { x / 12.92 } else { ((x + 0.055) / 1.055).powf(2.4) }
}

/// Linear light as an 8-bit sRGB component; light outside the gamut is clipped.
fn from_linear(light: f64) -> u8 {
    let x = light.clamp(0.0, 1.0);
    let encoded = if x <= 0.003_130_8 { 12.92 * x } else { 1.055 * x.powf(1.0 / 2.4) - 0.055 };
    (encoded * 255.0).round() as u8
}

/// Linear sRGB to Oklab.
fn to_oklab([r, g, b]: [f64; 3]) -> [f64; 3] {
    let l = (0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b).cbrt();
    let m = (0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b).cbrt();
    let s = (0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b).cbrt();
    [
        0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s,
        1.977_998_495_1 * l - 2.428_592_205_0 * m + 0.450_593_709_9 * s,
        0.025_904_037_1 * l + 0.782_771_766_2 * m - 0.808_675_766_0 * s,
    ]
}

/// Oklab to 8-bit sRGB.
fn from_oklab([lightness, a, b]: [f64; 3]) -> [u8; 3] {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    [
        from_linear(4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s),
        from_linear(-1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s),
        from_linear(-0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oklab_agrees_with_its_definition_and_comes_back() {
        // Ottosson's own table: XYZ white is (1, 0, 0).
        let white = to_oklab([1.0, 1.0, 1.0]);
        assert!((white[0] - 1.0).abs() < 1e-6 && white[1].abs() < 1e-6 && white[2].abs() < 1e-6);
        // The red primary, as published for CSS Color 4: oklab(0.62796 0.22486 0.12585).
        let red = to_oklab([1.0, 0.0, 0.0]);
        for (got, want) in red.iter().zip([0.627_96, 0.224_86, 0.125_85]) {
            assert!((got - want).abs() < 1e-4, "{red:?}");
        }
        for rgb in [[0, 0, 0], [255, 255, 255], [12, 200, 77], [255, 0, 128], [1, 2, 3]] {
            assert_eq!(from_oklab(to_oklab(rgb.map(to_linear))), rgb);
        }
    }
}
