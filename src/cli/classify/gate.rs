//! What an audit asks of a quantized classifier.

use clap::Args;

use lowbit::internals::audit::{Options, Part, Parts};

#[derive(Args, Debug)]
pub struct Gate {
    /// The largest drop of the AUC that passes
    #[arg(long, value_name = "X", default_value_t = Options::default().max_drop, allow_negative_numbers = true)]
    max_drop: f64,
    /// A drop of F1 at the threshold as large as this fails
    #[arg(long, value_name = "X", default_value_t = Options::default().max_f1_drop, allow_negative_numbers = true)]
    max_f1_drop: f64,
    /// The largest drop of the recall at the threshold that passes
    #[arg(long, value_name = "X", default_value_t = Options::default().max_recall_drop, allow_negative_numbers = true)]
    max_recall_drop: f64,
    /// The largest share of a tensor's codes that its range may cut off
    #[arg(long, value_name = "X", default_value_t = Options::default().max_saturated, allow_negative_numbers = true)]
    max_saturated: f64,
    /// The largest share of decisions that may differ, at the threshold, at 0.5 and at 0.85; and of classes, where there are more
    /// than two
    #[arg(long, value_name = "X", default_value_t = Options::default().max_flipped, allow_negative_numbers = true)]
    max_flipped: f64,
    /// Fail an INT8 model whose recall at the threshold is smaller, whatever that of the f32 model is
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    min_recall: Option<f64>,
    /// Let these parts of the gate alone decide, such as auc,recall: auc, f1, recall, saturation, flips
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    only: Vec<Part>,
    /// The confidence of the drops' upper bounds
    #[arg(long, default_value_t = Options::default().confidence, allow_negative_numbers = true)]
    confidence: f64,
    /// A probability above it is a positive: F1 and recall are those at it
    #[arg(long, default_value_t = Options::default().threshold, allow_negative_numbers = true)]
    threshold: f32,
    /// Gate on the drops alone, however uncertain they are
    #[arg(long)]
    point: bool,
}

impl Gate {
    /// The same for the library, checked.
    ///
    /// # Errors
    /// Those of [`Options::check`].
    pub fn options(&self) -> lowbit::internals::Result<Options> {
        let options = Options {
            max_drop: self.max_drop,
            max_f1_drop: self.max_f1_drop,
            max_recall_drop: self.max_recall_drop,
            max_saturated: self.max_saturated,
            max_flipped: self.max_flipped,
            min_recall: self.min_recall,
            only: if self.only.is_empty() { Parts::ALL } else { Parts::of(&self.only) },
            confidence: self.confidence,
            threshold: self.threshold,
            point: self.point,
            ..Options::default()
        };
        options.check()?;
        Ok(options)
    }
}
