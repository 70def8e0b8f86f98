//! `lowbit kmeans palette`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Seeded, Session, Terminal, Traced, about, check_outputs, follow, notices};
use lowbit::internals::io::picture;
use lowbit::internals::kmeans::palette::{self, Palette};

#[derive(Args, Debug)]
pub struct Arguments {
    /// The picture: .png or .jpg
    input: PathBuf,
    /// Number of colours
    #[arg(short, long, default_value_t = 16, allow_negative_numbers = true)]
    k: usize,
    /// Write the picture in those colours here
    #[arg(short, long, value_name = "OUT.png")]
    output: PathBuf,
    #[command(flatten)]
    random: Seeded,
    #[command(flatten)]
    traced: Traced,
}

#[derive(Serialize)]
struct PaletteDocument<'a> {
    input: &'a Path,
    output: &'a Path,
    #[serde(flatten)]
    palette: &'a Palette,
}

pub fn run(arguments: &Arguments, session: &Session) -> anyhow::Result<()> {
    picture::check_png_path(&arguments.output)?;
    check_outputs(vec![&arguments.output], &[&arguments.input], &arguments.traced)?;
    arguments.run(session)
}

impl Arguments {
    fn run(&self, session: &Session) -> anyhow::Result<()> {
        let picture = picture::read(&self.input)?;
        session.with_device(&self.traced, |gpu| {
            let (bar, progress) = follow(&session.terminal, 300);
            let palette = palette::palette(gpu, &picture, self.k, self.random.seed, progress);
            bar.finish_and_clear();
            self.finish(&palette.map_err(about(&self.input))?, &session.terminal)?;
            Ok(None)
        })
    }

    fn finish(&self, palette: &Palette, terminal: &Terminal) -> anyhow::Result<()> {
        notices(terminal, &palette.clustering.notices);
        picture::write_png(&self.output, &palette.picture)?;
        terminal.result(&PaletteDocument { input: &self.input, output: &self.output, palette }, || {
            let mut text = String::new();
            for swatch in &palette.colours {
                let [r, g, b] = swatch.rgb;
                let colour = if terminal.colours() {
                    format!("\x1b[48;2;{r};{g};{b}m      \x1b[0m ")
                } else {
                    String::new()
                };
                let bar = "#".repeat((swatch.share * 60.0).round() as usize);
                text += &format!("{colour}{} {:5.1} % {bar}\n", swatch.hex, swatch.share * 100.0);
            }
            text + &format!(
                "{} x {} pixels in {} colours, Oklab rms error {:.4}, {} iterations, {:.2} s: {}",
                palette.width,
                palette.height,
                palette.colours.len(),
                palette.rms_error,
                palette.clustering.n_iter,
                palette.clustering.seconds,
                self.output.display()
            )
        })
    }
}
