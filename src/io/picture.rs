//! Pictures: PNG and JPEG in, PNG out, always as RGBA with 8 bits per channel.

use std::io::{Cursor, Read};
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits,
};

use super::output::{check_ending, write_whole};
use crate::{Error, Result};

/// The most that one picture may take while it is decoded, in bytes, and again as RGBA.
const MAX_BYTES: u64 = 2 << 30;

/// A picture, row after row from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The width in pixels.
    pub width: u32,
    /// The height in pixels.
    pub height: u32,
    /// The pixels, `[height, width]`: red, green, blue and alpha, as the file has them (mostly sRGB, alpha not
    /// premultiplied).
    pub rgba: Vec<[u8; 4]>,
}

/// Reads a PNG or a JPEG, whichever it is by its content, turned the way up that its EXIF data says.
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened, [`Error::File`] if it is not a PNG or JPEG, is damaged or
/// truncated, or takes more than 2 GiB.
pub fn read(path: &Path) -> Result<Picture> {
    let (mut file, size) = super::open(path)?;
    if size > MAX_BYTES {
        return Err(Error::file(path, "this file is larger than 2 GiB"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|e| Error::io(path, e))?;
    decode(&bytes, path)
}

/// The picture in the bytes of a PNG or JPEG file; errors call it `path`.
///
/// # Errors
/// [`Error::File`], as [`read`].
pub fn decode(bytes: &[u8], path: &Path) -> Result<Picture> {
    let (format, name) = match image::guess_format(bytes) {
        Ok(ImageFormat::Png) => (ImageFormat::Png, "PNG"),
        Ok(ImageFormat::Jpeg) => (ImageFormat::Jpeg, "JPEG"),
        _ => return Err(Error::file(path, "this is neither a PNG nor a JPEG picture")),
    };
    let damaged = |e: ImageError| match e {
        ImageError::IoError(_) => Error::file(path, format!("the {name} picture is truncated")),
        ImageError::Limits(_) => Error::file(path, format!("the {name} picture takes more than 2 GiB")),
        e => {
            let reason = e.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
            Error::file(path, format!("the {name} picture cannot be decoded: {reason}"))
        }
    };
    // The decoder would fill what is missing with grey.
    if format == ImageFormat::Jpeg && !jpeg_has_end(bytes) {
        return Err(Error::file(path, "the JPEG picture is truncated: it has no end marker"));
    }

    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_BYTES);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let rgba = (u64::from(width) * u64::from(height)).saturating_mul(4);
    if rgba.max(decoder.total_bytes()) > MAX_BYTES {
        return Err(Error::file(
            path,
            format!("the {width} x {height} {name} picture takes more than 2 GiB"),
        ));
    }
    // The pixels matter, so EXIF data that cannot be read only means that nothing is turned.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    image.apply_orientation(orientation);
    let image = image.into_rgba8();
    let (width, height) = image.dimensions();
    Ok(Picture { width, height, rgba: image.pixels().map(|pixel| pixel.0).collect() })
}

/// Whether the end-of-image marker is there. Segments are skipped by their length, because a thumbnail inside
/// one has an end of its own; in the compressed data between them `ff` is always followed by `00` or by the
/// number of a restart.
fn jpeg_has_end(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    loop {
        rest = match rest {
            [] => return false,
            [0xff, 0xd9, ..] => return true,
            [0xff, 0x00 | 0x01 | 0xd0..=0xd8, after @ ..] => after,
            [0xff, 0x02..=0xfe, length @ ..] => match length {
                [high, low, ..] => {
                    length.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default()
                }
                _ => return false,
            },
            [_, after @ ..] => after,
        };
    }
}

/// Writes a picture as PNG.
///
/// # Errors
/// Those of [`check_png_path`], [`encode_png`] and [`write_whole`].
pub fn write_png(path: &Path, picture: &Picture) -> Result<()> {
    check_png_path(path)?;
    let png = encode_png(picture)?;
    write_whole(path, |out| out.write_all(&png))
}

/// The bytes of a PNG file.
///
/// # Errors
/// [`Error::Input`] if the picture has no pixels, or not `width * height` of them.
pub fn encode_png(picture: &Picture) -> Result<Vec<u8>> {
    let Picture { width, height, rgba } = picture;
    let pixels = u64::from(*width) * u64::from(*height);
    if pixels == 0 || pixels != rgba.len() as u64 {
        let found = rgba.len();
        return Err(Error::Shape(format!("a {width} x {height} picture cannot have {found} pixels")));
    }
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(rgba.as_flattened(), *width, *height, ExtendedColorType::Rgba8)
        .map_err(|e| Error::Input(format!("the picture cannot be written as PNG: {e}")))?;
    Ok(png)
}

/// Refuses an output path that does not end in `.png`, because PNG is what is written.
///
/// # Errors
/// [`Error::File`].
pub fn check_png_path(path: &Path) -> Result<()> {
    check_ending(path, "png", "pictures are written as PNG")
}
